//! Delivers what the stores of old epochs hold: one connection each, because the cloud ties a connection to one epoch.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::run::{Agent, Ports, UplinkSettings, forget_durable, hello};
use super::session::{Session, SessionEnd};
use super::{Desk, Pace, Transport};
use crate::buffer::{BufferError, OldEpoch, old_epochs};

/// One attempt may keep the live positions waiting for so long. What is left goes with the next connection.
const TURN: Duration = Duration::from_secs(60);

/// One attempt for each store that waits. Trouble is left for the next time: the new epoch must not wait for the old.
pub(super) async fn deliver<T: Transport>(
    transport: &mut T,
    state_dir: &Path,
    settings: UplinkSettings,
    agent: Agent,
    desk: &Desk,
) {
    for path in old_epochs(state_dir) {
        match timeout(TURN, deliver_one(transport, state_dir, &path, settings, agent, desk)).await {
            Ok(Ok(end)) => tracing::info!(path = %path.display(), %end, "what an old epoch held"),
            Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "what an old epoch held waits"),
            Err(_) => {
                tracing::warn!(path = %path.display(), "what an old epoch held takes long: the rest waits");
            }
        }
    }
}

async fn deliver_one<T: Transport>(
    transport: &mut T,
    state_dir: &Path,
    path: &Path,
    settings: UplinkSettings,
    agent: Agent,
    desk: &Desk,
) -> Result<String, BufferError> {
    let (folder, store) = (state_dir.to_owned(), path.to_owned());
    let opened = spawn_blocking(move || OldEpoch::open(&folder, &store)).await;
    let old = opened.map_err(|_| BufferError::Stopped)??;
    let hello = hello(&old.buffer.status().borrow(), agent);
    let outcome = match transport.connect(hello).await {
        Err(error) => Err(error.to_string()),
        Ok(link) => {
            forget_durable(&link, &old.buffer).await?;
            // It only has to be emptied: nothing new comes.
            let (_finish, finish) = watch::channel(true);
            let ports = Ports { finish, pace: Pace::constant(Duration::ZERO), control: None, flush: None };
            match Session::new(link, &old.buffer, &ports, settings.lane, desk.clone()).run().await? {
                SessionEnd::Done => Ok(()),
                end => Err(format!("{end:?}")),
            }
        }
    };
    let gone = spawn_blocking(move || old.close()).await.unwrap_or(false);
    Ok(match outcome {
        Ok(()) if gone => "is acknowledged, and its store is gone".to_owned(),
        Ok(()) => "is acknowledged".to_owned(),
        Err(cause) => format!("waits for the next connection: {cause}"),
    })
}
