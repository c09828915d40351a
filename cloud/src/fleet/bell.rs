//! A wake-up for whoever looks at the database from time to time: NOTIFY on one channel.
//!
//! It promises nothing. What there is to know is in tables, which are looked at every second or so; a notification that is
//! lost costs that second.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Transaction;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::store::timescale::{DatabaseSettings, listen};

const CHANNEL: &str = "avl_fleet";
/// Between two attempts to listen.
const RETRY: Duration = Duration::from_secs(2);

/// Listens as long as it lives.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: Arc<Notify>,
    listening: Option<JoinHandle<()>>,
}

impl Bell {
    /// For storages that nobody rings for.
    pub(super) fn silent() -> Self {
        Self { rung: Arc::default(), listening: None }
    }

    pub(super) fn start(settings: DatabaseSettings) -> Self {
        let rung = Arc::new(Notify::new());
        let ringing = Arc::clone(&rung);
        let listening = tokio::spawn(async move {
            loop {
                // Without it there is the look every second, whose errors are logged.
                if let Err(error) = listen(&settings, CHANNEL, || ringing.notify_one()).await {
                    tracing::debug!(%error, "notifications of the database are not heard");
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        Self { rung, listening: Some(listening) }
    }

    /// Resolves soon after somebody rang.
    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// Rings in every process, when the transaction commits.
pub(super) async fn ring(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let statement = transaction.prepare_cached("SELECT pg_notify($1, '')").await?;
    transaction.execute(&statement, &[&CHANNEL]).await.map(drop)
}
