//! Between the processor's feed and the viewers: gathers what changed and makes it into JSON once for all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use avl_shared::identity::VehicleKey;
use axum::extract::ws::Utf8Bytes;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::messages::LiveMessage;
use crate::api::state::drained;
use crate::live::LiveUpdate;

/// Ten frames a second: an eye sees no more of moving symbols, and a commit a millisecond must not be a frame each.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// More than six seconds of frames. They are shared, so this bounds the memory of all viewers together.
const FRAMES_HELD: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// An `update` message, ready to send.
    Update(Utf8Bytes),
    /// Updates were lost before they reached the hub: every viewer needs a new snapshot.
    Lost,
}

pub(crate) struct Hub {
    frames: broadcast::Sender<Frame>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { frames: broadcast::Sender::new(FRAMES_HELD) }
    }
}

impl Hub {
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Frame> {
        self.frames.subscribe()
    }

    /// Runs until the server drains. `updates` must be subscribed before the first viewer connects.
    pub(crate) async fn run(
        &self,
        mut updates: broadcast::Receiver<Arc<[LiveUpdate]>>,
        mut draining: watch::Receiver<bool>,
    ) {
        let mut changed: BTreeMap<VehicleKey, LiveUpdate> = BTreeMap::new();
        let mut next_frame = Instant::now();
        loop {
            tokio::select! {
                received = updates.recv() => match received {
                    Ok(batch) => changed.extend(batch.iter().map(|update| (update.vehicle.clone(), update.clone()))),
                    Err(broadcast::error::RecvError::Lagged(commits)) => {
                        tracing::warn!(commits, "live feed overran the hub; all viewers get a new snapshot");
                        changed.clear();
                        self.send(Frame::Lost);
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = tokio::time::sleep_until(next_frame), if !changed.is_empty() => {
                    self.send_update(&changed);
                    changed.clear();
                    next_frame = Instant::now() + FRAME_INTERVAL;
                }
                () = drained(&mut draining) => return,
            }
        }
    }

    /// With no viewer nothing is made: one who comes later reads from the store what is dropped here.
    fn send_update(&self, changed: &BTreeMap<VehicleKey, LiveUpdate>) {
        if self.frames.receiver_count() == 0 {
            return;
        }
        match LiveMessage::update(changed.values()).to_text() {
            Ok(text) => self.send(Frame::Update(text)),
            Err(error) => {
                tracing::error!(%error, "live update cannot be written as JSON; viewers get a snapshot");
                self.send(Frame::Lost);
            }
        }
    }

    fn send(&self, frame: Frame) {
        metrics::counter!("avl_live_frames_total").increment(1);
        // An error means that nobody is looking.
        let _ = self.frames.send(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::LiveFeed;
    use crate::store::Position;
    use avl_shared::fix::Fix;
    use avl_shared::sequence::Epoch;

    fn update(vehicle: &str, sequence: u64) -> LiveUpdate {
        let position = Position { epoch: Epoch(1), sequence, fix: Fix::default(), received_at: 0 };
        LiveUpdate { vehicle: vehicle.parse().unwrap(), position }
    }

    fn start(feed: &LiveFeed) -> (Arc<Hub>, watch::Sender<bool>) {
        let (hub, draining) = (Arc::new(Hub::default()), watch::Sender::new(false));
        let (runner, updates, drained) = (Arc::clone(&hub), feed.subscribe(), draining.subscribe());
        tokio::spawn(async move { runner.run(updates, drained).await });
        (hub, draining)
    }

    /// (vehicle, sequence) of each vehicle in the frame.
    fn vehicles(frame: &Frame) -> Vec<(String, u64)> {
        let Frame::Update(text) = frame else { panic!("not an update: {frame:?}") };
        let message: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(message["type"], "update");
        let row = |row: &serde_json::Value| {
            (row["vehicle"].as_str().unwrap().to_owned(), row["sequence"].as_u64().unwrap())
        };
        message["vehicles"].as_array().unwrap().iter().map(row).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_change_goes_at_once_and_the_next_are_gathered_newest_per_vehicle() {
        let feed = LiveFeed::default();
        let (hub, _draining) = start(&feed);
        let mut frames = hub.subscribe();
        tokio::task::yield_now().await;
        let begin = Instant::now();

        feed.publish(vec![update("f/a", 0)]);
        assert_eq!(vehicles(&frames.recv().await.unwrap()), [("a".to_owned(), 0)]);
        assert_eq!(begin.elapsed(), Duration::ZERO);

        for sequence in 1..=50 {
            feed.publish(vec![update("f/a", sequence), update("f/b", sequence)]);
        }
        assert_eq!(vehicles(&frames.recv().await.unwrap()), [("a".to_owned(), 50), ("b".to_owned(), 50)]);
        assert!(begin.elapsed() >= FRAME_INTERVAL, "{:?}", begin.elapsed());
        assert!(frames.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_that_overran_the_hub_makes_every_viewer_read_again() {
        let feed = LiveFeed::default();
        let (hub, _draining) = start(&feed);
        let mut frames = hub.subscribe();
        tokio::task::yield_now().await;
        for sequence in 0..10_000 {
            feed.publish(vec![update("f/a", sequence)]);
        }
        assert_eq!(frames.recv().await.unwrap(), Frame::Lost);
        let mut newest = 0;
        while newest < 9_999 {
            newest = vehicles(&frames.recv().await.unwrap())[0].1;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ends_when_the_server_drains() {
        let feed = LiveFeed::default();
        let (hub, draining) = (Hub::default(), watch::Sender::new(false));
        let running = hub.run(feed.subscribe(), draining.subscribe());
        draining.send_replace(true);
        running.await;
    }
}
