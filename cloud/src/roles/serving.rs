//! The users' side: HTTP for the API, the live stream and the map.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::parts::Stage;
use super::server::Server;
use crate::api::{self, ApiState};
use crate::data_dir::DataDir;
use crate::fleet::control::Control;
use crate::fleet::listener;
use crate::live::LiveFeed;
use crate::store::Store;

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    All,
    Mobile,
}

/// Open before anything is waited for.
pub(super) async fn bind(server: &mut Server) -> anyhow::Result<TcpListener> {
    let listener = listener::bind(server.config.http, "HTTP", "--http").await?;
    let address = listener.local_addr()?;
    server.ready.http = Some(address);
    warn_about_plain_http(address);
    Ok(listener)
}

pub(super) fn serve(
    server: &mut Server,
    side: Side,
    listener: TcpListener,
    data: &DataDir,
    store: Arc<dyn Store>,
    feed: LiveFeed,
    control: Control,
) -> anyhow::Result<()> {
    let settings = server.config.api.clone();
    let state = ApiState::new(data.path(), settings, store, feed, control, server.metrics.clone())?;
    server.parts.start(Stage::Serve, "api", |mut stop| async move {
        let stopped = async move {
            let _ = stop.wait_for(|&stop| stop).await;
        };
        let service = match side {
            Side::All => api::router(state.clone()),
            Side::Mobile => api::mobile_router(state.clone()),
        };
        if let Err(error) = api::serve_routes(listener, state, service, stopped).await {
            tracing::error!(%error, "HTTP stopped");
        }
    });
    Ok(())
}

fn warn_about_plain_http(http: SocketAddr) {
    if !http.ip().is_loopback() {
        tracing::warn!(
            %http, "the API and the map are served without TLS beyond this machine: tokens and positions can be read \
             on the way; put a TLS proxy in front"
        );
    }
}
