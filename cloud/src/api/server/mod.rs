//! The accept loop: HTTP/1.1 on a listener, with bounds on connections, headers and waiting, and a graceful end.

mod stall;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use self::stall::StallGuard;
use super::state::{ApiState, drained};

/// From the first byte of a connection, or the end of the last answer, to the end of the next request's headers:
/// slow-loris ends here, and so does an idle connection.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// A client that takes none of what is sent to it for so long is gone.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Request line and headers; a browser sends some 2 KiB.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// What is still being answered when the server shuts down gets so long.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// When the process is out of file descriptors, accepting again at once only burns a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The address of ours that a client reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddress(pub(crate) SocketAddr);

/// Serves these routes until `shutdown` completes, then lets answers that have begun come to their end.
///
/// # Errors
/// When the listener is not bound.
pub async fn serve_routes(
    listener: TcpListener,
    state: ApiState,
    service: axum::Router,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "HTTP is served");
    let hub = {
        let state = state.clone();
        let feed = state.feed.subscribe();
        let draining = state.draining.subscribe();
        tokio::spawn(async move { state.hub.run(feed, draining).await })
    };
    let connections = Arc::new(Semaphore::new(state.settings.max_connections));
    let mut at_work = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            () = &mut shutdown => break,
        };
        while at_work.try_join_next().is_some() {}
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        at_work.spawn(connection(stream, service.clone(), state.draining.subscribe(), permit));
    }
    drop(listener);
    state.draining.send_replace(true);
    let drained = async {
        while at_work.join_next().await.is_some() {}
        // Viewers left their connections' tasks at the upgrade; each holds a permit until it has said goodbye.
        let viewers = u32::try_from(state.settings.max_viewers).unwrap_or(u32::MAX);
        let _ = state.viewers.acquire_many(viewers).await;
        let _ = hub.await;
    };
    if tokio::time::timeout(DRAIN_WITHIN, drained).await.is_err() {
        tracing::warn!("some clients did not finish in time and were cut off");
    }
    Ok(())
}

/// A place first, then a connection: over the bound, clients wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(
    stream: TcpStream,
    service: axum::Router,
    mut draining: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let service = service.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(LocalAddress(local));
        request
    });
    let stream = StallGuard::new(stream, TAKEN_WITHIN, permit);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drained(&mut draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}
