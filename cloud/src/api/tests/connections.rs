//! The accept loop under clients that behave badly, and its graceful end.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn talk(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer))
        .await
        .expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let huge = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answer = talk(server.address, huge.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let fine =
        talk(server.address, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
    server.stop().await;
}

#[tokio::test]
async fn garbage_is_answered_400_and_harms_nobody() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let answer = talk(server.address, b"\x16\x03\x01\x02\x00 hello\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let fine =
        talk(server.address, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
    server.stop().await;
}

#[tokio::test]
async fn connections_over_the_bound_wait_for_a_place() {
    let fixture = Fixture::with(ApiSettings { max_connections: 1, ..ApiSettings::default() });
    let server = fixture.serve().await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut part = [0; 12];
    first.read_exact(&mut part).await.unwrap();
    assert_eq!(&part, b"HTTP/1.1 200");
    let address = server.address;
    let second = tokio::spawn(async move {
        talk(address, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished(), "the first still holds the place");
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_lets_an_export_finish_and_is_not_ready_any_more() {
    let fixture = Fixture::new();
    fixture.commit(vec![fixes("van-1", 0..9_000)]).await;
    let server = fixture.serve().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /api/v1/vehicles/demo/van-1/positions?format=csv HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        fixture.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    let (_, ()) = tokio::join!(stream.read_to_end(&mut answer), server.stop());
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{}", &answer[..200]);
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "the last chunk came");
    assert!(answer.contains("5f3a09c1,8999,"), "the last row came");
    let ready = fixture.send(bare("GET", "/readyz", &[])).await;
    assert_eq!((ready.status, ready.problem().0.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "draining"));
}
