use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use super::super::testing::{Running, config_of, epoch};
use super::super::{Kind, SourceConfig, Surroundings};
use super::*;

fn source(address: SocketAddr) -> Running {
    let config = SourceConfig { address: Some(address.to_string()), ..config_of(Kind::Gpsd) };
    Running::start(config, Surroundings::default())
}

/// Accepts the agent and reads what it asks.
async fn accept(listener: &TcpListener) -> (BufReader<TcpStream>, String) {
    let mut server = BufReader::new(listener.accept().await.unwrap().0);
    let mut asked = String::new();
    server.read_line(&mut asked).await.unwrap();
    (server, asked)
}

fn tpv(second: u32) -> String {
    format!(
        "{{\"class\":\"TPV\",\"mode\":3,\"time\":\"2020-02-07T02:14:{second:02}.000Z\",\"lat\":37.4,\"lon\":-122.1,\"altMSL\":4.4,\"speed\":6.2,\"track\":65.1}}\r\n"
    )
}

#[tokio::test(start_paused = true)]
async fn sentences_are_used_as_long_as_there_are_any() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut running = source(listener.local_addr().unwrap());
    let (mut server, asked) = accept(&listener).await;
    assert_eq!(asked, "?WATCH={\"enable\":true,\"json\":true,\"nmea\":true};\n");
    let version = "{\"class\":\"VERSION\",\"release\":\"3.22\"}\r\n";
    let mixed = format!("{version}{}{}{}{}", epoch(1), tpv(1), epoch(2), tpv(2));
    server.write_all(mixed.as_bytes()).await.unwrap();
    assert_eq!(running.seconds(2).await, [1, 2]);
    let counts = running.end().await;
    assert_eq!((counts.sentences, counts.fixes, counts.bad_checksums), (4, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn without_sentences_its_reports_are_used() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut running = source(listener.local_addr().unwrap());
    let (mut server, _) = accept(&listener).await;
    for second in 1..=8 {
        server.write_all(tpv(second).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Those of the first seconds, while sentences could still have come, are left out.
    assert_eq!(running.seconds(3).await, [6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_answer_is_connected_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _running = source(listener.local_addr().unwrap());
    let (mut server, _) = accept(&listener).await;
    let mut asked = String::new();
    server.read_line(&mut asked).await.unwrap();
    assert_eq!(asked, "?DEVICES;\n");
    server.write_all(b"{\"class\":\"DEVICES\",\"devices\":[]}\r\n").await.unwrap();
    asked.clear();
    server.read_line(&mut asked).await.unwrap();
    assert_eq!(asked, "?DEVICES;\n");
    let (_again, asked) = accept(&listener).await;
    assert!(asked.starts_with("?WATCH="), "{asked}");
}

#[test]
fn one_of_several_devices_can_be_asked_for() {
    let request = watch_request(Some(Path::new("/dev/ttyACM0")));
    assert_eq!(
        request,
        "?WATCH={\"enable\":true,\"json\":true,\"nmea\":true,\"device\":\"/dev/ttyACM0\"};\n"
    );
}

#[test]
fn lines_are_cut_wherever_they_arrive_and_endless_ones_cost_no_memory() {
    let mut lines = Lines::default();
    let mut got = Vec::new();
    for chunk in ["$GP", "GGA\r\n{\"class", "\":1}\n\n"] {
        lines.push(chunk.as_bytes());
        got.extend(std::iter::from_fn(|| lines.next()));
    }
    assert_eq!(got, [&b"$GPGGA\r\n"[..], b"{\"class\":1}\n", b"\n"]);
    for _ in 0..1000 {
        lines.push(&[b'x'; 4096]);
        assert_eq!(lines.next(), None);
        assert!(lines.pending.len() <= MAX_LINE + 4096);
    }
    lines.push(b"x\n$GPRMC\n");
    assert_eq!(lines.next().unwrap(), b"$GPRMC\n");
}
