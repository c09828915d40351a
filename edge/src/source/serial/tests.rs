use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::AsyncWriteExt;

use super::super::Kind;
use super::*;
use crate::receiver::sentence_for_tests as sentence;

fn rmc(second: u32) -> String {
    let body = format!("GPRMC,0214{second:02}.00,A,3725.58362,N,12205.61915,W,12.028,65.13,070220,,,A");
    sentence(&body) + "\r\n"
}

fn gga(second: u32) -> String {
    sentence(&format!("GPGGA,0214{second:02}.00,3725.58362,N,12205.61915,W,1,12,0.76,4.4,M,-30.0,M,,"))
        + "\r\n"
}

async fn seconds(queue: &mut mpsc::Receiver<Observed>, count: usize) -> Vec<i64> {
    let mut seconds = Vec::new();
    while seconds.len() < count {
        let observed = queue.recv().await.unwrap();
        assert_eq!(observed.cursor, None);
        assert!(observed.fix.altitude.is_some() && observed.fix.speed.is_some());
        seconds.push(observed.fix.time.unwrap() / 1000 % 60);
    }
    seconds
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_nothing_follows_is_delivered_after_a_silence() {
    let (mut line, mut port) = tokio::io::duplex(256);
    let (sender, mut queue) = mpsc::channel(4);
    let listening = tokio::spawn(async move {
        let started = Instant::now();
        listen(&mut port, &mut Receiver::live(), &sender, started, &View::default()).await
    });
    let sent = Instant::now();
    line.write_all(format!("{}{}", rmc(1), gga(1)).as_bytes()).await.unwrap();
    assert_eq!(seconds(&mut queue, 1).await, [1]);
    assert_eq!(sent.elapsed(), SILENCE);
    drop(line);
    assert!(matches!(listening.await.unwrap(), Ended::Unplugged(_)));
}

#[tokio::test(start_paused = true)]
async fn once_the_cycle_is_known_a_fix_comes_with_its_last_sentence() {
    let (mut line, mut port) = tokio::io::duplex(4096);
    let (sender, mut queue) = mpsc::channel(16);
    tokio::spawn(async move {
        listen(&mut port, &mut Receiver::live(), &sender, Instant::now(), &View::default()).await
    });
    let mut waits = Vec::new();
    for second in 1..=6 {
        let sent = Instant::now();
        line.write_all(format!("{}{}", rmc(second), gga(second)).as_bytes()).await.unwrap();
        assert_eq!(seconds(&mut queue, 1).await, [i64::from(second)]);
        waits.push(sent.elapsed());
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(waits, [SILENCE, SILENCE, SILENCE, Duration::ZERO, Duration::ZERO, Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn what_had_arrived_before_the_cable_was_pulled_is_a_fix() {
    let (mut line, mut port) = tokio::io::duplex(4096);
    let (sender, mut queue) = mpsc::channel(4);
    line.write_all(format!("{}{}$GPRMC,0214", rmc(1), gga(1)).as_bytes()).await.unwrap();
    drop(line);
    let mut receiver = Receiver::live();
    let ended = listen(&mut port, &mut receiver, &sender, Instant::now(), &View::default()).await;
    assert!(matches!(ended, Ended::Unplugged(_)));
    assert_eq!(seconds(&mut queue, 1).await, [1]);
    assert_eq!(receiver.counts().bad_checksums, 1);
}

/// A pseudo-terminal whose other side is called `path`.
fn terminal() -> (File, PathBuf) {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let mut attributes = tcgetattr(&master).unwrap();
    attributes.make_raw();
    tcsetattr(&master, OptionalActions::Now, &attributes).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    (master.into(), path.into())
}

fn config(path: PathBuf) -> SourceConfig {
    SourceConfig { kind: Kind::Serial, path, speed: 0.0, baud: 9600 }
}

#[tokio::test]
async fn a_pseudo_terminal_is_read_and_read_again_after_it_was_unplugged() {
    let directory = tempfile::tempdir().unwrap();
    let device = directory.path().join("receiver");
    let (mut line, path) = terminal();
    std::os::unix::fs::symlink(path, &device).unwrap();
    let (sender, mut queue) = mpsc::channel(4);
    let config = config(device.clone());
    let running = tokio::spawn(async move { run(config, sender, &View::default()).await });
    Write::write_all(&mut line, format!("{}{}", rmc(1), gga(1)).as_bytes()).unwrap();
    assert_eq!(seconds(&mut queue, 1).await, [1]);

    drop(line);
    let (mut line, path) = terminal();
    std::fs::remove_file(&device).unwrap();
    std::os::unix::fs::symlink(path, &device).unwrap();
    Write::write_all(&mut line, format!("{}{}", rmc(2), gga(2)).as_bytes()).unwrap();
    assert_eq!(seconds(&mut queue, 1).await, [2]);

    drop(queue);
    assert_eq!(running.await.unwrap().unwrap().fixes, 2);
}

#[tokio::test]
async fn what_keeps_a_device_from_opening_is_named_with_its_cure() {
    let missing = open(Path::new("/dev/no-such-receiver"), 9600).unwrap_err();
    assert!(matches!(missing, OpenError::NotFound { .. }), "{missing:?}");
    assert!(missing.to_string().contains("/dev/no-such-receiver"));

    let file = tempfile::NamedTempFile::new().unwrap();
    let unusable = open(file.path(), 9600).unwrap_err();
    assert!(matches!(unusable, OpenError::Unusable { .. }), "{unusable:?}");

    let (_line, path) = terminal();
    let _held = open(&path, 9600).unwrap();
    let busy = open(&path, 9600).unwrap_err();
    assert!(matches!(busy, OpenError::Busy { .. }), "{busy:?}");

    let denied =
        tokio_serial::Error::new(ErrorKind::Io(std::io::ErrorKind::PermissionDenied), "Permission denied");
    assert!(explain(&path, 9600, &denied).to_string().contains("dialout"));
}
