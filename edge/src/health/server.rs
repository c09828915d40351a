//! The status socket: HTTP/1.1 on a unix socket, so that `curl --unix-socket` serves as well as our own tools.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | the [document](super::Report::document) |
//! | `GET /watch` | one document a second, each on a line of its own, until the client hangs up |
//! | `GET /log?after=N` | the log's last lines behind number N, as JSON |
//! | `GET /metrics` | for Prometheus; also on `health.metrics`, and there alone |
//!
//! At most [`MAX_CLIENTS`] at a time, the next is turned away with 503; a client that takes nothing for [`PATIENCE`]
//! is dropped. One request a connection.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Report, Seen, metrics};

/// A monitor, a doctor, a scraper and a script, twice over. Each costs some 20 KiB.
pub const MAX_CLIENTS: usize = 8;
/// Nothing on this machine takes so long to read a few kilobytes, unless it has stopped.
pub const PATIENCE: Duration = Duration::from_secs(10);
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Reading and writing for the owner and its group, which may be the technicians'.
const SOCKET_MODE: u32 = 0o660;
/// After the system refused a connection (out of descriptors): not at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error(
        "cannot make the status socket {path} ({cause}): 'avl-edge status' and 'monitor' will not find this agent; check health.socket and who owns its folder",
        path = path.display()
    )]
    Bind { path: PathBuf, cause: io::Error },
}

/// The socket while it is there; dropping it removes the file.
#[derive(Debug)]
pub struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    /// Takes the place of a socket that a killed agent left. The caller holds the buffer's lock, so there is no other
    /// agent on this state directory.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |cause| SocketError::Bind { path: path.to_owned(), cause };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers for ever.
    pub async fn serve(self, report: Report) {
        let places = Arc::new(Semaphore::new(MAX_CLIENTS));
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => admit(stream, &report, &places, Doors::All),
                Err(error) => {
                    tracing::warn!(%error, "the status socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers `GET /metrics` on TCP, and nothing else: the other documents say more than a network should hear.
pub(super) async fn serve_metrics(listener: TcpListener, report: Report) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(stream, &report, &places, Doors::Metrics),
            Err(error) => {
                tracing::warn!(%error, "the metrics port cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doors {
    All,
    Metrics,
}

/// Serves one client in a task of its own, for as long as it takes what it is given.
pub(super) fn admit(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    report: &Report,
    places: &Arc<Semaphore>,
    doors: Doors,
) {
    let permit = Arc::clone(places).try_acquire_owned();
    let report = report.clone();
    tokio::spawn(async move {
        let turned_away = permit.is_err();
        let (alive, mut deadline) = watch::channel(Instant::now() + PATIENCE);
        let alive = Arc::new(alive);
        let service = service_fn(|request| {
            let answer = if turned_away {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("{MAX_CLIENTS} clients are here already\n"))
            } else {
                answer(&request, &report, &alive, doors)
            };
            async { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        loop {
            let until = *deadline.borrow_and_update();
            tokio::select! {
                // A client that hung up in the middle has what it wanted.
                _ = &mut connection => return,
                Ok(()) = deadline.changed() => {}
                () = sleep_until(until) => {
                    tracing::debug!("a client of the status socket takes nothing: dropped");
                    return;
                }
            }
        }
    });
}

type Alive = Arc<watch::Sender<Instant>>;

fn answer(request: &Request<Incoming>, report: &Report, alive: &Alive, doors: Doors) -> Response<Answer> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => match Seen::read(report.document().as_bytes()) {
            Ok(seen) => whole(StatusCode::OK, metrics::CONTENT_TYPE, metrics::page(seen)),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        other if doors == Doors::Metrics => {
            text(StatusCode::NOT_FOUND, format!("no {other} here: /metrics\n"))
        }
        "/" | "/status" => json(&report.document()),
        "/log" => json(&log_after(report, request.uri().query())),
        "/watch" => respond(StatusCode::OK, "application/x-ndjson", watching(report.clone(), alive)),
        other => text(StatusCode::NOT_FOUND, format!("no {other} here: /status, /watch, /log, /metrics\n")),
    }
}

/// One document a second, as long as the client takes them.
fn watching(report: Report, alive: &Alive) -> Answer {
    // One document waits for the client, one for its turn: a slow client gets fewer, never old ones.
    let (lines, body) = mpsc::channel(1);
    let alive = Arc::clone(alive);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Ok(place) = lines.reserve().await else { return };
            place.send(Bytes::from(report.document() + "\n"));
            alive.send_replace(Instant::now() + PATIENCE);
        }
    });
    Answer::Lines(body)
}

fn log_after(report: &Report, query: Option<&str>) -> String {
    let number = query.and_then(|query| query.strip_prefix("after=")?.parse().ok()).unwrap_or(0);
    serde_json::to_string(&report.log().ring.after(number)).unwrap_or_default()
}

fn json(document: &str) -> Response<Answer> {
    whole(StatusCode::OK, "application/json", format!("{document}\n"))
}

fn text(status: StatusCode, words: String) -> Response<Answer> {
    whole(status, "text/plain; charset=utf-8", words)
}

fn whole(status: StatusCode, content_type: &'static str, body: String) -> Response<Answer> {
    respond(status, content_type, Answer::Whole(Some(Bytes::from(body))))
}

fn respond(status: StatusCode, content_type: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

enum Answer {
    Whole(Option<Bytes>),
    Lines(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Lines(lines) => lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
