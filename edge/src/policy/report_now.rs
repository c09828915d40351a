//! For whoever wants to know where the vehicle is now: a command from the cloud, a button.

use tokio::sync::{mpsc, oneshot};

use crate::fix_json::FixRow;

/// Requests waiting for the policy; each caller waits for its answer.
const QUEUED: usize = 4;

/// Asks for the newest fix to be made durable and sent at once; clones share it.
#[derive(Clone, Debug)]
pub struct ReportNow(mpsc::Sender<Ask>);

/// One request, as the policy receives it.
pub type Ask = oneshot::Sender<Reported>;

/// What is on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    /// Every fix with a number below it is durable here and goes at once.
    pub below: u64,
    /// The newest fix of all, and how old it is. `None` when the receiver gave none since the start.
    pub newest: Option<FixRow>,
    pub age_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be reported: the source of fixes has ended, or the agent is ending")]
pub struct NotReported;

impl ReportNow {
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, queue) = mpsc::channel(QUEUED);
        (Self(asks), queue)
    }

    /// Returns once what is known is on flash and the uplink was told to send it.
    ///
    /// # Errors
    /// When there is no source any more.
    pub async fn report(&self) -> Result<Reported, NotReported> {
        let (ask, answer) = oneshot::channel();
        self.0.send(ask).await.map_err(|_| NotReported)?;
        answer.await.map_err(|_| NotReported)
    }
}
