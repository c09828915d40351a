use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::super::testing::{Running, config_of, epoch};
use super::super::{Kind, SourceConfig, Surroundings};
use super::*;

fn source(kind: Kind, address: SocketAddr) -> Running {
    let config = SourceConfig { address: Some(address.to_string()), ..config_of(kind) };
    Running::start(config, Surroundings::default())
}

#[tokio::test]
async fn a_tcp_server_is_read_and_read_again_when_it_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut running = source(Kind::Tcp, address);
    let (mut server, _) = listener.accept().await.unwrap();
    let whole = epoch(1) + &epoch(2) + "$GPRMC,0214";
    server.write_all(whole.as_bytes()).await.unwrap();
    drop(server);
    assert_eq!(running.seconds(2).await, [1, 2]);

    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(epoch(3).as_bytes()).await.unwrap();
    assert_eq!(running.seconds(1).await, [3]);
    drop((server, listener));
    let cause = running.is_absent().await;
    assert!(cause.contains(&address.to_string()), "{cause}");
    let counts = running.end().await;
    // The sentence that was cut off did not become part of the next connection's first one.
    assert_eq!((counts.fixes, counts.bad_checksums), (3, 1));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_its_cure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let running = source(Kind::Tcp, address);
    let cause = running.is_absent().await;
    assert!(cause.contains(&address.to_string()) && cause.contains("source.address"), "{cause}");
    assert_eq!(running.end().await.fixes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_connected_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut running = source(Kind::Tcp, listener.local_addr().unwrap());
    let (mut silent, _) = listener.accept().await.unwrap();
    silent.write_all(epoch(1).as_bytes()).await.unwrap();
    assert_eq!(running.seconds(1).await, [1]);
    let began = Instant::now();
    let (mut again, _) = listener.accept().await.unwrap();
    assert!(began.elapsed() >= IDLE - Duration::from_secs(1), "{:?}", began.elapsed());
    again.write_all(epoch(2).as_bytes()).await.unwrap();
    assert_eq!(running.seconds(1).await, [2]);
}

async fn sender_to(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    socket
}

#[tokio::test]
async fn datagrams_of_one_sender_are_taken_and_a_second_sender_is_not() {
    let mut running = source(Kind::Udp, "127.0.0.1:0".parse().unwrap());
    let local = running.shows(|view| view.from.starts_with("127.0.0.1:")).await.from;
    let (first, second) = (sender_to(&local).await, sender_to(&local).await);
    first.send(epoch(1).as_bytes()).await.unwrap();
    assert_eq!(running.seconds(1).await, [1]);
    second.send(epoch(40).as_bytes()).await.unwrap();
    first.send(epoch(2).as_bytes()).await.unwrap();
    assert_eq!(running.seconds(1).await, [2]);
    assert_eq!(running.end().await.fixes, 2);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_cure() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let mut running = source(Kind::Udp, address);
    let cause = running.is_absent().await;
    assert!(cause.contains(&address.to_string()) && cause.contains("no other program"), "{cause}");
    drop(taken);
    running.shows(|view| view.state == super::super::SourceState::Reading).await;
    let sender = sender_to(&address.to_string()).await;
    sender.send(epoch(1).as_bytes()).await.unwrap();
    assert_eq!(running.seconds(1).await, [1]);
}

#[test]
fn a_sender_that_falls_silent_gives_its_place_to_another() {
    let [first, second]: [SocketAddr; 2] = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| text.parse().unwrap());
    let start = Instant::now();
    let mut senders = Senders::default();
    assert_eq!(senders.admit(first, start), Admission::New);
    assert_eq!(senders.admit(second, start), Admission::Refused { first: true });
    assert_eq!(senders.admit(second, start), Admission::Refused { first: false });
    assert_eq!(senders.admit(first, start + SENDER_SILENT / 2), Admission::Known);
    assert_eq!(senders.admit(second, start + SENDER_SILENT), Admission::Refused { first: false });
    assert_eq!(senders.admit(second, start + SENDER_SILENT * 2), Admission::New);
}
