//! For the tests of all sources: sentences of a receiver that prints once a second, and a running source.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{
    Baud, EarliestDate, Kind, Observed, ReceiverView, SourceConfig, SourceError, SourceState, Surroundings,
    run,
};
use crate::health::View;
use crate::receiver::{Counts, sentence_for_tests as sentence};

/// Nothing here takes as long, even on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn config_of(kind: Kind) -> SourceConfig {
    SourceConfig {
        kind,
        path: None,
        address: None,
        speed: 0.0,
        baud: Baud::Auto,
        earliest_date: EarliestDate::On(chrono::NaiveDate::default()),
    }
}

pub(super) fn rmc(second: u32) -> String {
    let body = format!("GPRMC,0214{second:02}.00,A,3725.58362,N,12205.61915,W,12.028,65.13,070220,,,A");
    sentence(&body) + "\r\n"
}

pub(super) fn gga(second: u32) -> String {
    sentence(&format!("GPGGA,0214{second:02}.00,3725.58362,N,12205.61915,W,1,12,0.76,4.4,M,-30.0,M,,"))
        + "\r\n"
}

/// RMC and GGA of one second.
pub(super) fn epoch(second: u32) -> String {
    rmc(second) + &gga(second)
}

/// The seconds of the next `count` fixes, which must be whole ones.
pub(super) async fn seconds(queue: &mut mpsc::Receiver<Observed>, count: usize) -> Vec<i64> {
    let mut seconds = Vec::new();
    while seconds.len() < count {
        let observed = timeout(PATIENCE, queue.recv()).await.unwrap().unwrap();
        assert_eq!(observed.cursor, None);
        assert!(observed.fix.altitude.is_some() && observed.fix.speed.is_some());
        seconds.push(observed.fix.time.unwrap() / 1000 % 60);
    }
    seconds
}

/// A source that runs until its fixes are no longer taken.
pub(super) struct Running {
    pub(super) queue: mpsc::Receiver<Observed>,
    pub(super) view: View<ReceiverView>,
    task: JoinHandle<Result<Counts, SourceError>>,
}

impl Running {
    pub(super) fn start(config: SourceConfig, around: Surroundings) -> Self {
        let (sender, queue) = mpsc::channel(16);
        let view = View::default();
        let task = tokio::spawn(run(config, None, sender, view.clone(), around));
        Self { queue, view, task }
    }

    pub(super) async fn seconds(&mut self, count: usize) -> Vec<i64> {
        seconds(&mut self.queue, count).await
    }

    /// Waits until the view shows what is looked for.
    pub(super) async fn shows(&self, what: impl FnMut(&ReceiverView) -> bool) -> ReceiverView {
        let mut changes = self.view.watch();
        timeout(PATIENCE, changes.wait_for(what)).await.unwrap().unwrap().clone()
    }

    pub(super) async fn is_absent(&self) -> String {
        let view = self.shows(|view| matches!(view.state, SourceState::Absent { .. })).await;
        match view.state {
            SourceState::Absent { cause } => cause,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn end(self) -> Counts {
        drop(self.queue);
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap()
    }
}
