//! From the journal to the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::journal::Source;
use super::parts::Stage;
use super::server::Server;
use crate::journal::{Event, JournalError, Subscription};
use crate::live::LiveFeed;
use crate::process::{Processor, StartError};
use crate::store::Store;

/// Follows the journal; ready when it has been given its partitions.
pub(super) async fn start(
    server: &mut Server,
    journal: &Source,
    store: Arc<dyn Store>,
    feed: LiveFeed,
) -> anyhow::Result<()> {
    let processor = Processor::new(store, feed).publishing(journal.outlet()?);
    let archive = journal.archive()?;
    let check = async || processor.check_start(&*archive).await;
    server.wait_for("journal and store", StartError::may_pass, check).await?;
    let given = Arc::new(AtomicBool::new(false));
    let subscription = Box::new(Noticed { inner: journal.subscription()?, given: Arc::clone(&given) });
    server.watch("partitions of the journal", move || {
        let given = given.load(Ordering::Relaxed);
        async move { if given { Ok(()) } else { Err("none were given to this process yet".to_owned()) } }
    });
    server.parts.start(Stage::Process, "processor", |stop| processor.run(subscription, stop));
    Ok(())
}

/// Notices that the group has given this process its share.
struct Noticed {
    inner: Box<dyn Subscription>,
    given: Arc<AtomicBool>,
}

#[async_trait]
impl Subscription for Noticed {
    async fn next(&mut self) -> Result<Event, JournalError> {
        let event = self.inner.next().await?;
        if matches!(event, Event::Assigned(_)) {
            self.given.store(true, Ordering::Relaxed);
        }
        Ok(event)
    }
}
