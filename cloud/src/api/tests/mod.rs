//! The HTTP side as a client sees it: requests through the whole router, sockets where the socket matters.

mod access;
mod completeness;
mod connections;
mod document;
mod exports;
mod live;
mod mobile;
mod orders;
mod positions;
mod sign_in;

use std::net::SocketAddr;
use std::sync::Arc;

use avl_shared::fix::{Decimal, Fix, Quality, UtcMillis, Verdict};
use avl_shared::identity::VehicleKey;
use avl_shared::sequence::Epoch;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::ServiceExt;

use super::state::ApiState;
use super::{ApiSettings, mobile_openapi, mobile_router, router, serve_routes};
use crate::fleet::control::Control;
use crate::journal::Partition;
use crate::live::LiveFeed;
use crate::store::sqlite::SqliteStore;
use crate::store::{Change, Claim, Commit, Committed, Store};

/// 2026-11-22T08:30:00Z.
const BEGIN: UtcMillis = 1_795_336_200_000;
const RECEIVED: UtcMillis = BEGIN + 3_600_000;
const EPOCH: Epoch = Epoch(0x5f3a_09c1);

fn van(name: &str) -> VehicleKey {
    format!("demo/{name}").parse().unwrap()
}

/// Fix number n, a second after the one before; now and then one as only the real world makes them.
fn fix(n: u64) -> Fix {
    let n = i64::try_from(n).unwrap();
    let plain = Fix {
        time: Some(BEGIN + n * 1000),
        latitude: Some(Decimal::new(224_558_362 + n * 37, 5)),
        longitude: Some(Decimal::new(-732_483_498 - n * 53, 5)),
        altitude: Some(Decimal::new(316 + n % 7, 1)),
        speed: Some(Decimal::new(125 + n % 90, 1)),
        course: Some(Decimal::new((n * 11) % 3600, 1)),
        hdop: Some(Decimal::new(80, 2)),
        satellites: Some(14),
        quality: Quality::Gps,
        ..Fix::default()
    };
    match n % 50 {
        17 => Fix { speed: None, course: None, altitude: None, quality: Quality::Rtk, ..plain },
        23 => Fix { verdict: Verdict::TELEPORT | Verdict::FROZEN, quality: Quality::Dgps, ..plain },
        31 => Fix {
            time: plain.time,
            quality: Quality::NoFix,
            verdict: Verdict::NO_FIX | Verdict::NO_TIME,
            ..Fix::default()
        },
        _ => plain,
    }
}

fn fixes(vehicle: &str, numbers: std::ops::Range<u64>) -> Change {
    let first = numbers.start;
    Change::Fixes {
        vehicle: van(vehicle),
        epoch: EPOCH,
        first,
        fixes: numbers.map(fix).collect(),
        received_at: RECEIVED,
    }
}

/// An API over a store of its own.
struct Fixture {
    dir: tempfile::TempDir,
    store: Arc<dyn Store>,
    feed: LiveFeed,
    state: ApiState,
    token: String,
}

impl Fixture {
    fn new() -> Self {
        Self::with(ApiSettings::default())
    }

    fn with(settings: ApiSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.path().join("store.sqlite")).unwrap());
        let feed = LiveFeed::default();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let control = Control::open(&dir.path().join("store.sqlite")).unwrap();
        let state =
            ApiState::new(dir.path(), settings, Arc::clone(&store), feed.clone(), control, metrics).unwrap();
        let token = std::fs::read_to_string(dir.path().join("api-token")).unwrap().trim_end().to_owned();
        Self { dir, store, feed, state, token }
    }

    async fn commit(&self, changes: Vec<Change>) -> Committed {
        let partition = Partition::FIRST;
        let Claim { next_offset, generation, .. } = self.store.claim(partition, "test").await.unwrap();
        let commit = Commit {
            partition,
            generation,
            changes: changes.into(),
            refused: Vec::new(),
            next_offset: next_offset + 1,
        };
        self.store.commit(commit).await.unwrap()
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = router(self.state.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap().into(),
        }
    }

    /// With the token.
    async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    fn request(&self, method: &str, path: &str) -> Request<Body> {
        bare(method, path, &[("authorization", &format!("Bearer {}", self.token))])
    }

    async fn serve(&self) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let state = self.state.clone();
        let task = tokio::spawn(async move {
            let service = router(state.clone());
            serve_routes(listener, state, service, async {
                let _ = stopped.await;
            })
            .await
        });
        Server { address, stop: Some(stop), task }
    }
}

/// A real listener; stops gracefully on demand.
struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap().unwrap();
    }
}

fn bare(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header(header::HOST, "127.0.0.1:8080");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem's stable name and its detail, after a check of the whole shape.
    #[track_caller]
    fn problem(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.status);
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(!problem["title"].as_str().unwrap().is_empty());
        let name = problem["type"].as_str().unwrap().strip_prefix("urn:avl:problem:").unwrap();
        (name.to_owned(), problem["detail"].as_str().unwrap().to_owned())
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
