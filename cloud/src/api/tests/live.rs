//! The live stream through real sockets.

use std::time::{Duration, SystemTime};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::live::LiveUpdate;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(server: &Server, headers: &[(&str, &str)]) -> Result<Socket, Error> {
    let mut request = format!("ws://{}/api/v1/live", server.address).into_client_request().unwrap();
    for (name, value) in headers {
        let name: axum::http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

async fn viewer(fixture: &Fixture, server: &Server) -> Socket {
    connect(server, &[("authorization", &format!("Bearer {}", fixture.token))]).await.unwrap()
}

async fn next(socket: &mut Socket) -> Value {
    loop {
        let message =
            tokio::time::timeout(Duration::from_secs(20), socket.next()).await.expect("no message").unwrap();
        match message.unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// (vehicle, sequence) of each vehicle of a message.
fn vehicles(message: &Value) -> Vec<(String, u64)> {
    let row = |row: &Value| (row["vehicle"].as_str().unwrap().to_owned(), row["sequence"].as_u64().unwrap());
    message["vehicles"].as_array().unwrap().iter().map(row).collect()
}

/// As the processor does it: first the store, then the feed.
async fn process(fixture: &Fixture, changes: Vec<Change>) {
    let committed = fixture.commit(changes).await;
    let updates = committed.newest.into_iter().map(|(vehicle, position)| LiveUpdate { vehicle, position });
    fixture.feed.publish(updates.collect());
}

#[tokio::test]
async fn a_viewer_gets_a_snapshot_and_then_what_changes() {
    let fixture = Fixture::new();
    fixture.commit(vec![fixes("van-1", 0..10), fixes("van-2", 0..3)]).await;
    fixture.commit(vec![Change::Known { vehicle: van("van-3"), epoch: EPOCH, next_sequence: 0 }]).await;
    let server = fixture.serve().await;
    let mut socket = viewer(&fixture, &server).await;

    let snapshot = next(&mut socket).await;
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(
        vehicles(&snapshot),
        [("van-1".to_owned(), 9), ("van-2".to_owned(), 2)],
        "van-3 has no position"
    );
    let latest = fixture.get("/api/v1/vehicles/demo/van-1/latest").await.json();
    for (field, value) in latest.as_object().unwrap() {
        assert_eq!(&snapshot["vehicles"][0][field], value, "{field}");
    }
    assert_eq!(snapshot["vehicles"][0]["fleet"], "demo");

    process(&fixture, vec![fixes("van-2", 3..5)]).await;
    let update = next(&mut socket).await;
    assert_eq!((update["type"].as_str(), vehicles(&update)), (Some("update"), vec![("van-2".to_owned(), 4)]));
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_between_snapshot_and_updates() {
    let fixture = Arc::new(Fixture::new());
    let server = fixture.serve().await;
    let writer = Arc::clone(&fixture);
    // A fix a millisecond while viewers come: whenever they come, they see number 299 in the end.
    let writing = tokio::spawn(async move {
        for n in 0..300 {
            process(&writer, vec![fixes("van-1", n..n + 1)]).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(viewer(&fixture, &server).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for socket in &mut sockets {
        let mut newest = None;
        while newest != Some(299) {
            newest = vehicles(&next(socket).await).first().map(|(_, sequence)| *sequence).or(newest);
        }
    }
    writing.await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_viewer_that_fell_behind_gets_a_new_snapshot() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let mut socket = viewer(&fixture, &server).await;
    assert_eq!(next(&mut socket).await["type"], "snapshot");
    // More commits at once than the feed holds: no await between them, so the hub cannot keep up.
    let committed = fixture.commit(vec![fixes("van-1", 0..50)]).await;
    let update = |(vehicle, position)| LiveUpdate { vehicle, position };
    let updates: Vec<LiveUpdate> = committed.newest.into_iter().map(update).collect();
    for _ in 0..5000 {
        fixture.feed.publish(updates.clone());
    }
    loop {
        let message = next(&mut socket).await;
        if message["type"] == "resync" {
            break;
        }
    }
    let snapshot = next(&mut socket).await;
    assert_eq!(
        (snapshot["type"].as_str(), vehicles(&snapshot)),
        (Some("snapshot"), vec![("van-1".to_owned(), 49)])
    );
    server.stop().await;
}

fn refusal(outcome: Result<Socket, Error>) -> (u16, String) {
    match outcome {
        Err(Error::Http(response)) => {
            let body: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap();
            (response.status().as_u16(), body["type"].as_str().unwrap().to_owned())
        }
        other => panic!("not refused: {:?}", other.map(|_| ())),
    }
}

#[tokio::test]
async fn strangers_and_pages_of_other_sites_are_refused() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let (cookie, _) = fixture.state.sessions.issue(SystemTime::now()).unwrap();
    let cookie = ("cookie", format!("avl_session={cookie}"));
    let cookie = (cookie.0, cookie.1.as_str());

    let (status, kind) = refusal(connect(&server, &[]).await);
    assert_eq!((status, kind.as_str()), (401, "urn:avl:problem:no-credentials"));
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let (status, kind) = refusal(connect(&server, &[cookie, ("origin", origin)]).await);
        assert_eq!((status, kind.as_str()), (403, "urn:avl:problem:cross-origin"), "{origin}");
    }
    let (status, _) = refusal(connect(&server, &[cookie, ("host", "rebound.example")]).await);
    assert_eq!(status, 421);

    let own = format!("http://{}", server.address);
    let mut socket = connect(&server, &[cookie, ("origin", &own)]).await.unwrap();
    assert_eq!(next(&mut socket).await["type"], "snapshot");
    server.stop().await;
}

#[tokio::test]
async fn viewers_are_bounded_and_give_their_place_back() {
    let fixture = Fixture::with(ApiSettings { max_viewers: 1, ..ApiSettings::default() });
    let server = fixture.serve().await;
    let token = format!("Bearer {}", fixture.token);
    let mut socket = viewer(&fixture, &server).await;
    assert_eq!(next(&mut socket).await["type"], "snapshot");
    let (status, kind) = refusal(connect(&server, &[("authorization", &token)]).await);
    assert_eq!((status, kind.as_str()), (503, "urn:avl:problem:busy"));
    socket.close(None).await.unwrap();
    let _freed =
        tokio::time::timeout(Duration::from_secs(10), fixture.state.viewers.acquire()).await.unwrap();
    drop(_freed);
    let mut socket = viewer(&fixture, &server).await;
    assert_eq!(next(&mut socket).await["type"], "snapshot");
    server.stop().await;
}

#[tokio::test]
async fn a_viewer_that_sends_too_much_is_let_go() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let mut socket = viewer(&fixture, &server).await;
    assert_eq!(next(&mut socket).await["type"], "snapshot");
    let _ = socket.send(Message::text("x".repeat(100_000))).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        while let Some(Ok(message)) = socket.next().await {
            assert!(!message.is_text(), "{message:?}");
        }
    });
    ended.await.expect("the server lets go");
    server.stop().await;
}

#[tokio::test]
async fn a_viewer_that_does_not_read_is_let_go_and_others_go_on() {
    let settings = ApiSettings { viewer_patience: Duration::from_millis(200), ..ApiSettings::default() };
    let fixture = Fixture::with(settings);
    // Snapshots larger than the kernel's buffers of one connection.
    let changes = (0..2000).map(|n| fixes(&format!("van-{n}"), 0..1)).collect();
    fixture.commit(changes).await;
    let server = fixture.serve().await;
    let places = fixture.state.viewers.available_permits();
    let _stuck = viewer(&fixture, &server).await;
    let mut reading = viewer(&fixture, &server).await;
    assert_eq!(next(&mut reading).await["vehicles"].as_array().map(Vec::len), Some(2000));
    assert_eq!(fixture.state.viewers.available_permits(), places - 2);
    // The feed overruns the hub again and again, so that each viewer is sent one snapshot after another.
    let update = LiveUpdate {
        vehicle: van("van-1"),
        position: fixture.store.vehicle(&van("van-1")).await.unwrap().unwrap().newest.unwrap(),
    };
    let freed = async {
        while fixture.state.viewers.available_permits() < places - 1 {
            for _ in 0..5000 {
                fixture.feed.publish(vec![update.clone()]);
            }
            next(&mut reading).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), freed).await.expect("the stuck viewer is let go");
    assert_eq!(fixture.state.viewers.available_permits(), places - 1);
    drop(reading);
    server.stop().await;
}

async fn close_code(socket: &mut Socket) -> Option<CloseCode> {
    let closing = tokio::time::timeout(Duration::from_secs(10), async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                return frame.map(|frame| frame.code);
            }
        }
        None
    });
    closing.await.expect("the server closes")
}

#[tokio::test]
async fn a_viewer_stays_no_longer_than_its_session() {
    let fixture =
        Fixture::with(ApiSettings { session_lifetime: Duration::from_secs(2), ..ApiSettings::default() });
    let server = fixture.serve().await;
    let (cookie, _) = fixture.state.sessions.issue(SystemTime::now()).unwrap();
    let mut socket = connect(&server, &[("cookie", &format!("avl_session={cookie}"))]).await.unwrap();
    assert_eq!(next(&mut socket).await["type"], "snapshot");
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Policy));
    server.stop().await;
}

#[tokio::test]
async fn viewers_are_told_when_the_server_shuts_down() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let mut socket = viewer(&fixture, &server).await;
    assert_eq!(next(&mut socket).await["type"], "snapshot");
    let (code, ()) = tokio::join!(close_code(&mut socket), server.stop());
    assert_eq!(code, Some(CloseCode::Away));
}
