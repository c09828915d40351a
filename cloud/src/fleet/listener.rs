//! HTTP for enrolment (by TLS) and health: strangers from the whole internet come to the first, so everything is bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Both are rare. Further connections wait in the kernel's queue, and each ends within [`CONNECTION_WITHIN`].
const MAX_CONNECTIONS: usize = 64;
/// From accept to the last byte of the answer: a gateway on a poor link needs a few seconds.
const CONNECTION_WITHIN: Duration = Duration::from_secs(20);
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// When the process is out of file descriptors, accepting again at once only burns a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// Serves until `stop` becomes true; without `tls` in plain text. A new TLS configuration (a renewed certificate) holds from the next connection on.
pub async fn serve(
    listener: TcpListener,
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    service: Router,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut at_work = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|&stop| stop) => break,
            Some(_) = at_work.join_next() => continue,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await.map_err(std::io::Error::other)?;
                listener.accept().await.map(|(stream, address)| (stream, address, place))
            } => accepted,
        };
        match accepted {
            Ok((stream, address, place)) => {
                let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow())));
                let service = service.clone();
                at_work.spawn(async move {
                    let served = timeout(CONNECTION_WITHIN, connection(stream, acceptor, service)).await;
                    match served {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            tracing::debug!(%address, error, "connection ended early");
                        }
                        Err(_) => tracing::debug!(%address, "connection took too long"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(DRAIN_WITHIN, async { while at_work.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, service: Router) -> Result<(), String> {
    let _ = stream.set_nodelay(true);
    match acceptor {
        Some(acceptor) => {
            answer(acceptor.accept(stream).await.map_err(|error| error.to_string())?, service).await
        }
        None => answer(stream, service).await,
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Router,
) -> Result<(), String> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await
        .map_err(|error| error.to_string())
}

/// # Errors
/// Names the address, the cause and the cure.
pub async fn bind(address: SocketAddr, what: &str, flag: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| BindError {
        what: what.to_owned(),
        address,
        cure: if error.kind() == std::io::ErrorKind::AddrInUse {
            format!("another process has it: stop that, or choose another with {flag}")
        } else {
            format!("choose another with {flag}")
        },
        error,
    })
}

#[derive(Debug, thiserror::Error)]
#[error("{what} cannot listen on {address}: {error}; {cure}")]
pub struct BindError {
    what: String,
    address: SocketAddr,
    pub error: std::io::Error,
    cure: String,
}
