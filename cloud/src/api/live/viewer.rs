//! One viewer of the live stream.

use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::hub::Frame;
use super::messages::LiveMessage;
use crate::api::auth::Caller;
use crate::api::state::{ApiState, drained};

/// Keeps mappings of home routers and proxies open; most let go after 30 s or more.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Two pings unanswered, and time for the second to come back.
const SILENCE_LIMIT: Duration = Duration::from_secs(50);

/// Why a viewer is let go.
#[derive(Debug)]
enum Leave {
    /// It went, or its connection failed.
    Gone,
    Slow,
    Silent,
    Expired,
    Draining,
    Failed,
}

/// Serves until the viewer goes or must go; the permit frees its place then.
pub(super) async fn serve(socket: WebSocket, state: ApiState, caller: Caller, permit: OwnedSemaphorePermit) {
    let viewers = metrics::gauge!("avl_live_viewers");
    viewers.increment(1.0);
    let mut viewer = Viewer { socket, heard: Instant::now(), patience: state.settings.viewer_patience };
    let leave = viewer.serve(&state, caller).await;
    tracing::debug!(?leave, "viewer leaves");
    if matches!(leave, Leave::Slow | Leave::Silent) {
        metrics::counter!("avl_live_viewers_shed_total").increment(1);
    }
    viewer.say_goodbye(&leave).await;
    viewers.decrement(1.0);
    drop(permit);
}

struct Viewer {
    socket: WebSocket,
    /// When the viewer last said anything, a pong included.
    heard: Instant,
    /// How long its buffers may stay full.
    patience: Duration,
}

impl Viewer {
    async fn serve(&mut self, state: &ApiState, caller: Caller) -> Leave {
        let mut draining = state.draining.subscribe();
        let expired = sleep(time_left(caller, SystemTime::now()));
        tokio::pin!(expired);
        loop {
            // Subscribe first: what is committed from here on comes as a frame, what was before is in the store.
            let mut frames = state.hub.subscribe();
            if let Err(leave) = self.send_snapshot(state).await {
                return leave;
            }
            let fell_behind = tokio::select! {
                leave = self.follow(&mut frames, &mut draining) => leave,
                () = &mut expired => Err(Leave::Expired),
            };
            if let Err(leave) = fell_behind {
                return leave;
            }
            metrics::counter!("avl_live_resyncs_total").increment(1);
            if let Err(leave) = self.send_message(&LiveMessage::Resync).await {
                return leave;
            }
        }
    }

    async fn send_snapshot(&mut self, state: &ApiState) -> Result<(), Leave> {
        let vehicles = state.store.vehicles().await.map_err(|error| {
            tracing::error!(%error, "store failed a live snapshot");
            Leave::Failed
        })?;
        self.send_message(&LiveMessage::snapshot(&vehicles)).await
    }

    /// Passes frames on; `Ok` when the viewer fell behind.
    async fn follow(
        &mut self,
        frames: &mut broadcast::Receiver<Frame>,
        draining: &mut watch::Receiver<bool>,
    ) -> Result<(), Leave> {
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Ok(Frame::Update(text)) => self.send(Message::Text(text)).await?,
                    Ok(Frame::Lost) | Err(broadcast::error::RecvError::Lagged(_)) => return Ok(()),
                    Err(broadcast::error::RecvError::Closed) => return Err(Leave::Draining),
                },
                heard = self.socket.recv() => match heard {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Leave::Gone),
                    Some(Ok(_)) => self.heard = Instant::now(),
                },
                _ = pings.tick() => {
                    if self.heard.elapsed() > SILENCE_LIMIT {
                        return Err(Leave::Silent);
                    }
                    self.send(Message::Ping(Bytes::new())).await?;
                }
                () = drained(draining) => return Err(Leave::Draining),
            }
        }
    }

    async fn send_message(&mut self, message: &LiveMessage) -> Result<(), Leave> {
        let text = message.to_text().map_err(|error| {
            tracing::error!(%error, "live message cannot be written as JSON");
            Leave::Failed
        })?;
        self.send(Message::Text(text)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Leave> {
        match timeout(self.patience, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Leave::Gone),
            Err(_) => Err(Leave::Slow),
        }
    }

    async fn say_goodbye(&mut self, leave: &Leave) {
        let (code, reason) = match leave {
            // Whoever does not read would not read a close frame either.
            Leave::Gone | Leave::Slow | Leave::Silent => return,
            Leave::Expired => (close_code::POLICY, "the session has expired: sign in again"),
            Leave::Draining => (close_code::AWAY, "the server is shutting down: connect again in a moment"),
            Leave::Failed => (close_code::ERROR, "the server failed: connect again in a moment"),
        };
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let _ = timeout(Duration::from_secs(1), self.socket.send(Message::Close(Some(frame)))).await;
    }
}

/// A token does not expire; a session does, and what it may see ends with it.
fn time_left(caller: Caller, now: SystemTime) -> Duration {
    match caller {
        Caller::Token => Duration::MAX,
        Caller::Session { expires } => expires.duration_since(now).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_stays_as_long_as_its_session() {
        let now = SystemTime::now();
        let soon = Duration::from_secs(60);
        assert_eq!(time_left(Caller::Session { expires: now + soon }, now), soon);
        assert_eq!(time_left(Caller::Session { expires: now }, now + soon), Duration::ZERO);
        assert_eq!(time_left(Caller::Token, now), Duration::MAX);
    }
}
