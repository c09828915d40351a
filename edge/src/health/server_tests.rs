use std::os::unix::fs::PermissionsExt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::health::Board;
use crate::health::client::{self, AskError};
use crate::health::document::tests::report;

struct Agent {
    _folder: tempfile::TempDir,
    path: PathBuf,
    board: Board,
}

fn agent() -> Agent {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("avl-edge.sock");
    let board = Board::default();
    tokio::spawn(StatusSocket::bind(&path).unwrap().serve(report(&board)));
    Agent { _folder: folder, path, board }
}

#[tokio::test]
async fn the_status_is_one_document_and_only_owner_and_group_may_ask() {
    let agent = agent();
    agent.board.link.update(|link| link.connections = 5);
    let document: serde_json::Value =
        serde_json::from_slice(&client::ask(&agent.path, "/status").await.unwrap()).unwrap();
    assert_eq!(document["link"]["connections"], 5);
    assert_eq!(fs::metadata(&agent.path).unwrap().permissions().mode() & 0o777, 0o660);
}

#[tokio::test(start_paused = true)]
async fn watching_brings_a_fresh_document_each_second() {
    let agent = agent();
    let mut watch = client::watch(&agent.path).await.unwrap();
    for connections in [1, 2, 3] {
        agent.board.link.update(|link| link.connections = connections);
        // The first may have been taken before the change.
        while watch.next().await.unwrap().unwrap().link.connections != connections {}
    }
}

#[tokio::test]
async fn a_client_too_many_is_told_so_and_a_place_that_was_left_is_free_again() {
    let agent = agent();
    let mut watchers = Vec::new();
    for _ in 0..MAX_CLIENTS {
        let mut watch = client::watch(&agent.path).await.unwrap();
        watch.next().await.unwrap();
        watchers.push(watch);
    }
    match client::ask(&agent.path, "/status").await {
        Err(AskError::Refused { status, .. }) => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
        other => panic!("{other:?}"),
    }
    watchers.pop();
    let deadline = Instant::now() + Duration::from_secs(30);
    while client::ask(&agent.path, "/status").await.is_err() {
        assert!(Instant::now() < deadline, "the place is not given back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_or_takes_nothing_is_dropped() {
    let agent = agent();
    let mut silent = UnixStream::connect(&agent.path).await.unwrap();
    let mut rest = Vec::new();
    // The server closes it: reading ends.
    silent.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());

    let (mut client, server) = tokio::io::duplex(64);
    let places = Arc::new(Semaphore::new(1));
    admit(server, &report(&agent.board), &places, Doors::All);
    client.write_all(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let started = Instant::now();
    while places.available_permits() == 1 {
        tokio::task::yield_now().await;
    }
    while places.available_permits() == 0 {
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
    assert!(started.elapsed() < 3 * PATIENCE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_socket_that_a_killed_agent_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("avl-edge.sock");
    let left = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(left);
    match client::ask(&path, "/status").await {
        Err(AskError::NotRunning { .. }) => {}
        other => panic!("{other:?}"),
    }
    let socket = StatusSocket::bind(&path).unwrap();
    drop(socket);
    assert!(!path.exists(), "an agent that ends in order leaves none");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_with_what_there_is() {
    let agent = agent();
    match client::ask(&agent.path, "/secrets").await {
        Err(AskError::Refused { status, words }) => {
            assert_eq!(status, StatusCode::NOT_FOUND);
            assert!(words.contains("/status"), "{words}");
        }
        other => panic!("{other:?}"),
    }
    let mut stream = UnixStream::connect(&agent.path).await.unwrap();
    stream.write_all(b"POST /status HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[tokio::test]
async fn the_metrics_port_tells_metrics_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_metrics(listener, report(&Board::default())));
    for (path, status, words) in
        [("/metrics", "200", "avl_edge_uptime_seconds"), ("/status", "404", "/metrics")]
    {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words), "{answer}");
    }
}

#[tokio::test]
async fn the_log_is_told_from_a_number_on() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("avl-edge.sock");
    let report = report(&Board::default());
    writeln!(&report.log().ring, "first\nsecond").unwrap();
    tokio::spawn(StatusSocket::bind(&path).unwrap().serve(report));
    let lines = client::log(&path, 1).await.unwrap();
    assert_eq!((lines.len(), lines[0].number, lines[0].text.as_str()), (1, 2, "second"));
}
