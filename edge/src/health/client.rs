//! Asking the running agent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Seen;
use super::log::LogLine;

/// The agent answers in milliseconds unless the gateway is drowning.
const PATIENCE: Duration = Duration::from_secs(5);
/// Far more than a document with 40 satellites and 200 log lines.
const MAX_ANSWER_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "the agent is not running (nobody answers at {socket}): start it with 'systemctl start avl-edge', or 'avl-edge run --config FILE'",
        socket = socket.display()
    )]
    NotRunning { socket: PathBuf },
    #[error(
        "no permission to ask the agent at {socket}: run this as root or as the agent's user ('sudo -u avl-edge …')",
        socket = socket.display()
    )]
    Permission { socket: PathBuf },
    #[error("the agent does not answer at {socket} ({cause}): look at its log", socket = socket.display())]
    NoAnswer { socket: PathBuf, cause: String },
    #[error("the agent refused ({status}): {words}")]
    Refused { status: StatusCode, words: String },
}

/// The answer to one request.
///
/// # Errors
/// See [`AskError`].
pub async fn ask(socket: &Path, path: &str) -> Result<Bytes, AskError> {
    let exchange = async {
        let (response, connection) = send(socket, path).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        connection.abort();
        let body = body.map_err(|error| no_answer(socket, &error))?.to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(AskError::Refused { status, words: String::from_utf8_lossy(&body).trim().to_owned() })
        }
    };
    timeout(PATIENCE, exchange).await.map_err(|_| no_answer(socket, &"time is up"))?
}

/// What the agent says about itself now.
///
/// # Errors
/// See [`AskError`].
pub async fn status(socket: &Path) -> Result<Seen, AskError> {
    let document = ask(socket, "/status").await?;
    Seen::read(&document).map_err(|error| no_answer(socket, &error))
}

/// The log's lines behind `number`.
///
/// # Errors
/// See [`AskError`].
pub async fn log(socket: &Path, number: u64) -> Result<Vec<LogLine>, AskError> {
    let lines = ask(socket, &format!("/log?after={number}")).await?;
    serde_json::from_slice(&lines).map_err(|error| no_answer(socket, &error))
}

/// A document each second.
#[derive(Debug)]
pub struct Watch {
    socket: PathBuf,
    body: Incoming,
    rest: Vec<u8>,
    connection: JoinHandle<()>,
}

/// # Errors
/// See [`AskError`].
pub async fn watch(socket: &Path) -> Result<Watch, AskError> {
    let (response, connection) =
        timeout(PATIENCE, send(socket, "/watch")).await.map_err(|_| no_answer(socket, &"time is up"))??;
    let status = response.status();
    if !status.is_success() {
        connection.abort();
        return Err(AskError::Refused { status, words: "it cannot be watched now".to_owned() });
    }
    Ok(Watch { socket: socket.to_owned(), body: response.into_body(), rest: Vec::new(), connection })
}

impl Watch {
    /// The next document; `None` when the agent has ended. Cancelling it loses nothing.
    ///
    /// # Errors
    /// When the agent sends what is no document.
    pub async fn next(&mut self) -> Result<Option<Seen>, AskError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Seen::read(&line).map(Some).map_err(|error| no_answer(&self.socket, &error));
            }
            if self.rest.len() > MAX_ANSWER_BYTES {
                return Err(no_answer(&self.socket, &"a line without end"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.rest.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn send(socket: &Path, path: &str) -> Result<(Response<Incoming>, JoinHandle<()>), AskError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning { socket: socket.to_owned() }
        }
        io::ErrorKind::PermissionDenied => AskError::Permission { socket: socket.to_owned() },
        _ => no_answer(socket, &error),
    })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| no_answer(socket, &error))?;
    let connection = tokio::spawn(async move {
        // Its errors show up in the exchange as well.
        let _ = connection.await;
    });
    let request = Request::get(path)
        .header("host", "avl-edge")
        .body(Empty::<Bytes>::new())
        .map_err(|error| no_answer(socket, &error))?;
    let response = sender.send_request(request).await.map_err(|error| no_answer(socket, &error))?;
    Ok((response, connection))
}

fn no_answer(socket: &Path, cause: &impl ToString) -> AskError {
    AskError::NoAnswer { socket: socket.to_owned(), cause: cause.to_string() }
}
