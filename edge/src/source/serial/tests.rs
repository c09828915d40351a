use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::{AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_serial::ErrorKind;

use super::super::live::SILENCE;
use super::super::testing::{Running, config_of, epoch, seconds};
use super::super::{Kind, Observed, ReceiverView, SourceError};
use super::open::{OpenError, explain, open};
use super::*;
use crate::health::View;
use crate::receiver::{Counts, Receiver};

/// A line in memory; what is written to `rates` is the rate that was set.
struct Wire {
    stream: DuplexStream,
    rates: mpsc::UnboundedSender<u32>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Line for Wire {
    fn set_rate(&mut self, baud: u32) -> Result<(), String> {
        self.rates.send(baud).map_err(|error| error.to_string())
    }
}

struct Listening {
    line: DuplexStream,
    rates: mpsc::UnboundedReceiver<u32>,
    queue: mpsc::Receiver<Observed>,
    view: View<ReceiverView>,
    task: tokio::task::JoinHandle<(Result<String, ConsumerGone>, Counts)>,
}

fn listening(mut rate: Rate) -> Listening {
    let (line, stream) = tokio::io::duplex(4096);
    let (rates, set) = mpsc::unbounded_channel();
    let (sender, queue) = mpsc::channel(16);
    let view = View::<ReceiverView>::default();
    let shown = view.clone();
    let task = tokio::spawn(async move {
        let around = Surroundings::default();
        let mut intake = Intake::new(Receiver::live(), &sender, &shown, &around);
        let ended = listen(&mut Wire { stream, rates }, &mut rate, &mut intake).await;
        (ended, intake.counts())
    });
    Listening { line, rates: set, queue, view, task }
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_nothing_follows_is_delivered_after_a_silence() {
    let mut listening = listening(Rate::Fixed(9600));
    let sent = Instant::now();
    listening.line.write_all(epoch(1).as_bytes()).await.unwrap();
    assert_eq!(seconds(&mut listening.queue, 1).await, [1]);
    assert_eq!(sent.elapsed(), SILENCE);
    drop(listening.line);
    assert!(listening.task.await.unwrap().0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn once_the_cycle_is_known_a_fix_comes_with_its_last_sentence() {
    let mut listening = listening(Rate::Fixed(9600));
    let mut waits = Vec::new();
    for second in 1..=6 {
        let sent = Instant::now();
        listening.line.write_all(epoch(second).as_bytes()).await.unwrap();
        assert_eq!(seconds(&mut listening.queue, 1).await, [i64::from(second)]);
        waits.push(sent.elapsed());
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(waits, [SILENCE, SILENCE, SILENCE, Duration::ZERO, Duration::ZERO, Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn what_had_arrived_before_the_cable_was_pulled_is_a_fix() {
    let mut listening = listening(Rate::Fixed(9600));
    listening.line.write_all((epoch(1) + "$GPRMC,0214").as_bytes()).await.unwrap();
    drop(listening.line);
    assert_eq!(seconds(&mut listening.queue, 1).await, [1]);
    let (ended, counts) = listening.task.await.unwrap();
    assert_eq!((ended, counts.bad_checksums), (Ok("hung up".to_owned()), 1));
}

fn auto() -> Rate {
    Rate::Auto {
        autobaud: Autobaud::new(None, 0),
        opened: Instant::now(),
        device: PathBuf::from("/dev/receiver"),
        state_dir: None,
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_makes_it_set_the_next_rate_and_say_so() {
    let mut listening = listening(auto());
    let garbage = b"\x00\xfe$\x80GP\xff*".repeat(20);
    for expected in [115_200, 38_400] {
        let set = loop {
            listening.line.write_all(&garbage).await.unwrap();
            sleep(Duration::from_millis(500)).await;
            if let Ok(rate) = listening.rates.try_recv() {
                break rate;
            }
        };
        assert_eq!(set, expected);
        let shown = listening.view.read();
        assert_eq!((shown.state, shown.baud), (SourceState::Probing, Some(expected)));
    }
    listening.line.write_all(epoch(1).as_bytes()).await.unwrap();
    assert_eq!(seconds(&mut listening.queue, 1).await, [1]);
    let shown = listening.view.read();
    assert_eq!((shown.state, shown.baud), (SourceState::Reading, Some(38_400)));
    assert!(listening.rates.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_line_without_sentences_is_shown_as_silent_until_they_come() {
    let mut listening = listening(Rate::Fixed(4800));
    let mut changes = listening.view.watch();
    changes.wait_for(|view| view.state == SourceState::Silent).await.unwrap();
    listening.line.write_all(epoch(1).as_bytes()).await.unwrap();
    changes.wait_for(|view| view.state == SourceState::Reading).await.unwrap();
    assert_eq!(seconds(&mut listening.queue, 1).await, [1]);
    assert!(listening.rates.try_recv().is_err());
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

fn config(path: PathBuf, baud: Baud) -> SourceConfig {
    SourceConfig { path: Some(path), baud, ..config_of(Kind::Serial) }
}

#[tokio::test]
async fn a_pseudo_terminal_is_read_and_read_again_after_it_was_unplugged() -> Result<(), SourceError> {
    let directory = tempfile::tempdir().unwrap();
    let device = directory.path().join("receiver");
    let (mut line, path) = terminal();
    std::os::unix::fs::symlink(path, &device).unwrap();
    let mut running = Running::start(config(device.clone(), Baud::Fixed(9600)), Surroundings::default());
    Write::write_all(&mut line, epoch(1).as_bytes()).unwrap();
    assert_eq!(running.seconds(1).await, [1]);

    std::fs::remove_file(&device).unwrap();
    drop(line);
    let cause = running.is_absent().await;
    let (mut line, path) = terminal();
    std::os::unix::fs::symlink(path, &device).unwrap();
    running.shows(|view| view.state == SourceState::Reading).await;
    Write::write_all(&mut line, epoch(2).as_bytes()).unwrap();
    assert_eq!(running.seconds(1).await, [2], "after {cause}");
    assert_eq!(running.end().await.fixes, 2);
    Ok(())
}

/// A receiver on a pseudo-terminal that speaks one rate: whoever listens at another gets what a UART makes of it.
fn speak_at(rate: u32, mut line: File, stop: &std::sync::mpsc::Receiver<()>) {
    let mut second = 0;
    while stop.recv_timeout(Duration::from_millis(200)).is_err() {
        second = (second + 1) % 60;
        let heard = tcgetattr(&line).map_or(0, |attributes| attributes.input_speed());
        let mut bytes = epoch(second).into_bytes();
        if heard != rate {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = byte.rotate_left(3) ^ u8::try_from(at % 251).unwrap() | 0x80;
            }
        }
        // Nobody there yet, or no more: a real line does not wait either.
        let _ = Write::write_all(&mut line, &bytes);
    }
}

#[tokio::test]
async fn the_rate_of_a_receiver_is_found_and_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let (line, path) = terminal();
    let (stop, stopped) = std::sync::mpsc::channel();
    let receiver = thread::spawn(move || speak_at(115_200, line, &stopped));
    let around = Surroundings { state_dir: Some(directory.path().to_owned()), trusted_utc: None };

    let mut running = Running::start(config(path.clone(), Baud::Auto), around.clone());
    running.shows(|view| view.state == SourceState::Probing && view.baud == Some(115_200)).await;
    running.seconds(2).await;
    assert_eq!(running.view.read().baud, Some(115_200));
    while memory::recall(directory.path(), &path).is_none() {
        running.seconds(1).await;
    }
    running.end().await;

    // The next start begins with it, so that nothing has to be looked for.
    let recalled = open_with_memory(&path, &around).await;
    assert_eq!(recalled, 115_200);
    stop.send(()).unwrap();
    receiver.join().unwrap();
}

/// The rate that the next start sets, once the port is free again (closing happens on a thread of its own).
async fn open_with_memory(path: &Path, around: &Surroundings) -> u32 {
    loop {
        match connect(path, Baud::Auto, around).await {
            Ok((_port, rate)) => return rate.baud(),
            Err(OpenError::Busy { .. }) => sleep(Duration::from_millis(20)).await,
            Err(other) => panic!("{other}"),
        }
    }
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
