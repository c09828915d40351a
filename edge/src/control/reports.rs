//! What the cloud is to be told, kept on flash until it says that it has it: one small file a report.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avl_shared::link::{ToCloud, to_cloud};
use prost::Message as _;
use tokio::sync::watch;

use super::durable::{self, StateError};

/// A diagnostics bundle has eight. Beyond it the oldest go: the newest tell most.
const MAX_PENDING: usize = 64;

/// Clones share the same reports.
#[derive(Clone, Debug)]
pub struct Reports {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    pending: Mutex<Pending>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Pending {
    /// By receipt, which grows: the order in which they were made.
    reports: BTreeMap<u64, ToCloud>,
    next_receipt: u64,
}

impl Reports {
    /// Takes up what an earlier run of the agent left.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let failed = |cause| StateError::new("read", folder, cause);
        fs::create_dir_all(folder).map_err(failed)?;
        let mut reports = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let receipt = path.file_name().and_then(|name| u64::from_str_radix(name.to_str()?, 16).ok());
            let report = fs::read(&path).ok().and_then(|bytes| ToCloud::decode(&*bytes).ok());
            match (receipt, report) {
                (Some(receipt), Some(report)) => {
                    reports.insert(receipt, report);
                }
                _ => {
                    tracing::warn!(path = %path.display(), "not a report: removed");
                    durable::remove(&path)?;
                }
            }
        }
        // A receipt must not mean two reports, and which were used before is forgotten with their files: a random start
        // among 2^63 does not meet them again.
        let next_receipt =
            reports.last_key_value().map_or_else(|| rand::random::<u64>() >> 1, |(last, _)| last + 1);
        let pending = Mutex::new(Pending { reports, next_receipt });
        let shared = Shared { folder: folder.to_owned(), pending, changed: watch::Sender::new(()) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Durable when it returns.
    pub(super) fn push(&self, mut message: to_cloud::Message) -> Result<(), StateError> {
        let mut pending = self.lock();
        let receipt = pending.next_receipt;
        match &mut message {
            to_cloud::Message::CommandResult(result) => result.receipt = receipt,
            to_cloud::Message::ConfigState(state) => state.receipt = receipt,
            _ => {}
        }
        let report = ToCloud { message: Some(message) };
        durable::write(&self.path(receipt), &report.encode_to_vec())?;
        pending.next_receipt = receipt + 1;
        pending.reports.insert(receipt, report);
        while pending.reports.len() > MAX_PENDING {
            if let Some((oldest, _)) = pending.reports.pop_first() {
                tracing::warn!(
                    limit = MAX_PENDING,
                    "too many reports wait for the cloud: the oldest is dropped"
                );
                durable::remove(&self.path(oldest))?;
            }
        }
        drop(pending);
        self.shared.changed.send_replace(());
        Ok(())
    }

    /// The cloud has these.
    pub(super) fn settle(&self, receipts: &[u64]) -> Result<(), StateError> {
        let mut pending = self.lock();
        for receipt in receipts {
            if pending.reports.remove(receipt).is_some() {
                durable::remove(&self.path(*receipt))?;
            }
        }
        Ok(())
    }

    /// Whether the result of this command has not reached the cloud yet.
    #[must_use]
    pub fn waits_for(&self, command: &str) -> bool {
        self.lock().reports.values().any(|report| match &report.message {
            Some(to_cloud::Message::CommandResult(result)) => result.id == command,
            _ => false,
        })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().reports.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For one connection: every report once.
    #[must_use]
    pub fn feed(&self) -> Feed {
        let mut changed = self.shared.changed.subscribe();
        if !self.is_empty() {
            changed.mark_changed();
        }
        Feed { reports: self.clone(), sent_to: None, changed }
    }

    fn path(&self, receipt: u64) -> PathBuf {
        self.shared.folder.join(format!("{receipt:016x}"))
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection has still to say.
#[derive(Debug)]
pub struct Feed {
    reports: Reports,
    sent_to: Option<u64>,
    changed: watch::Receiver<()>,
}

impl Feed {
    /// The next report that this feed has not given out.
    pub fn next_report(&mut self) -> Option<ToCloud> {
        self.changed.mark_unchanged();
        let from = self.sent_to.map_or(0, |sent| sent + 1);
        let (receipt, report) = self
            .reports
            .lock()
            .reports
            .range(from..)
            .next()
            .map(|(receipt, report)| (*receipt, report.clone()))?;
        self.sent_to = Some(receipt);
        Some(report)
    }

    /// Word of a new report. Pends for ever where there is no feed.
    pub async fn filled(feed: Option<&mut Self>) {
        if let Some(feed) = feed
            && feed.changed.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::link::CommandResult;

    fn result(id: &str) -> to_cloud::Message {
        to_cloud::Message::CommandResult(CommandResult { id: id.to_owned(), ..CommandResult::default() })
    }

    fn drain(feed: &mut Feed) -> Vec<(String, u64)> {
        std::iter::from_fn(|| feed.next_report())
            .filter_map(|report| match report.message {
                Some(to_cloud::Message::CommandResult(result)) => Some((result.id, result.receipt)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_report_is_repeated_on_every_connection_and_after_a_restart_until_it_is_acknowledged() {
        let temp = tempfile::tempdir().unwrap();
        let reports = Reports::open(temp.path()).unwrap();
        let mut first = reports.feed();
        reports.push(result("a")).unwrap();
        reports.push(result("b")).unwrap();
        let said = drain(&mut first);
        assert_eq!(said.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(drain(&mut first), [], "once a connection");
        reports.settle(&[said[0].1, 12345]).unwrap();
        assert_eq!(drain(&mut reports.feed()), said[1..]);

        let reopened = Reports::open(temp.path()).unwrap();
        assert!(reopened.waits_for("b") && !reopened.waits_for("a"));
        assert_eq!(drain(&mut reopened.feed()), said[1..]);
        reopened.push(result("c")).unwrap();
        let receipts: Vec<u64> = drain(&mut reopened.feed()).iter().map(|(_, receipt)| *receipt).collect();
        assert!(receipts[0] < receipts[1], "{receipts:?}");
        reopened.settle(&receipts).unwrap();
        assert!(Reports::open(temp.path()).unwrap().is_empty());
    }

    #[test]
    fn a_cloud_that_never_acknowledges_does_not_fill_the_flash() {
        let temp = tempfile::tempdir().unwrap();
        let reports = Reports::open(temp.path()).unwrap();
        for n in 0..MAX_PENDING + 10 {
            reports.push(result(&n.to_string())).unwrap();
        }
        assert_eq!(reports.len(), MAX_PENDING);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), MAX_PENDING);
        assert_eq!(drain(&mut reports.feed())[0].0, "10");
    }

    #[test]
    fn what_is_no_report_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("0000000000000001"), [0xff; 9]).unwrap();
        fs::write(temp.path().join("junk.new"), "half").unwrap();
        assert!(Reports::open(temp.path()).unwrap().is_empty());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_new_report_wakes_the_connection() {
        let temp = tempfile::tempdir().unwrap();
        let reports = Reports::open(temp.path()).unwrap();
        let mut feed = reports.feed();
        assert!(feed.next_report().is_none());
        reports.push(result("a")).unwrap();
        Feed::filled(Some(&mut feed)).await;
        assert!(feed.next_report().is_some());
    }
}
