//! The newest fix, on its way from the source to the recorder, for whoever asks where the vehicle is.

use std::time::Duration;

use avl_shared::fix::{Fix, UtcMillis};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::FixRow;
use crate::buffer::Status;
use crate::control::{Hands, Located};
use crate::source::Observed;
use crate::uplink::Pace;

type Newest = Option<(Fix, Instant)>;

pub(super) struct Tap {
    newest: watch::Receiver<Newest>,
    status: watch::Receiver<Status>,
    pace: watch::Sender<Pace>,
}

/// Hands for control; the tap itself, which ends with the source; and the pace that they set.
pub(super) fn tap(
    mut from: mpsc::Receiver<Observed>,
    to: mpsc::Sender<Observed>,
    status: watch::Receiver<Status>,
    latency: Duration,
) -> (Tap, impl Future<Output = ()>, watch::Receiver<Pace>) {
    let (seen, newest) = watch::channel(None);
    let pace = watch::Sender::new(Pace { latency, stay_connected: true, urgent_below: 0 });
    let follow = pace.subscribe();
    let forward = async move {
        while let Some(observed) = from.recv().await {
            seen.send_replace(Some((observed.fix.clone(), Instant::now())));
            if to.send(observed).await.is_err() {
                return;
            }
        }
    };
    (Tap { newest, status, pace }, forward, follow)
}

impl Hands for Tap {
    async fn locate(&self) -> Result<Option<Located>, String> {
        let Some((fix, at)) = self.newest.borrow().clone() else { return Ok(None) };
        let below = self.status.borrow().next_sequence;
        self.pace.send_modify(|pace| pace.urgent_below = pace.urgent_below.max(below));
        let age_ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Located { fix: FixRow::from(&fix), age_ms, below }))
    }

    async fn recall(&self, _from: UtcMillis, _to: UtcMillis) -> Result<u64, String> {
        // Every fix is kept, so nothing is withheld.
        Ok(0)
    }
}
