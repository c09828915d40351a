//! The live feed of a process that does not process: what is published on `avl.positions`, from now on.
//!
//! All partitions, no group, no place that is kept: a viewer reads from the store what was before. Brokers that are away are
//! waited for. Of each vehicle only what is newer than the newest goes on, so late data does not move it back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::record;
use avl_shared::sequence::Epoch;
use prost::Message as _;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;

use super::KafkaSettings;
use super::client::{SetupError, configure};
use super::group::{CONSUMER, Member};
use crate::live::{LiveFeed, LiveUpdate};
use crate::meters;
use crate::outlet::{Stream, position_of};
use crate::store::{Position, Store};
use crate::time::now_utc;

const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether we are to stop.
const POLL: Duration = Duration::from_millis(100);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// One step of the feed: beyond it viewers would wait for the rest.
const MOST_AT_ONCE: usize = 10_000;

/// Where a vehicle's newest position stands.
type Place = (UtcMillis, Epoch, u64);

/// The newest of each vehicle.
#[derive(Debug, Default)]
struct Newest(HashMap<VehicleKey, Place>);

impl Newest {
    fn is_news(&mut self, vehicle: &VehicleKey, position: &Position) -> bool {
        let place = (position.time(), position.epoch, position.sequence);
        match self.0.get_mut(vehicle) {
            Some(newest) if *newest >= place => false,
            Some(newest) => {
                *newest = place;
                true
            }
            None => {
                self.0.insert(vehicle.clone(), place);
                true
            }
        }
    }
}

/// Turns what is published into the live feed, until `stop` becomes true.
pub async fn follow_positions(
    settings: KafkaSettings,
    store: Arc<dyn Store>,
    feed: LiveFeed,
    mut stop: watch::Receiver<bool>,
) {
    let mut newest = Newest::default();
    match store.vehicles().await {
        Ok(vehicles) => {
            for summary in vehicles {
                if let Some(position) = summary.newest {
                    newest.is_news(&summary.vehicle, &position);
                }
            }
        }
        // A vehicle whose first news is late is then shown there until its next.
        Err(error) => tracing::warn!(%error, "the live feed begins without the newest positions"),
    }
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    let thread = tokio::task::spawn_blocking(move || serve(&settings, newest, &feed, &told));
    let _ = stop.wait_for(|&stop| stop).await;
    ended.store(true, Ordering::Relaxed);
    let _ = thread.await;
}

fn serve(settings: &KafkaSettings, mut newest: Newest, feed: &LiveFeed, stop: &AtomicBool) {
    let mut failing = false;
    while !stop.load(Ordering::Relaxed) {
        let consumer = match open(settings) {
            Ok(consumer) => consumer,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "positions cannot be followed; trying again until they can");
                }
                std::thread::sleep(ASK_AGAIN);
                continue;
            }
        };
        if std::mem::take(&mut failing) {
            tracing::info!("positions are followed again");
        }
        if let Err(error) = follow(&consumer, &mut newest, feed, stop) {
            tracing::error!(%error, "following the positions begins anew");
        }
    }
}

fn open(settings: &KafkaSettings) -> Result<BaseConsumer<Member>, SetupError> {
    let mut config = configure(settings, CONSUMER)?;
    // The client wants a name even where nobody joins. What retention has deleted meanwhile is no news.
    config.set("group.id", format!("{}-live", settings.group)).set("auto.offset.reset", "latest");
    let consumer =
        BaseConsumer::from_config_and_context(&config, Member::default()).map_err(SetupError::Client)?;
    let topic = settings.topic(Stream::Positions);
    let unreachable =
        |error| SetupError::Unreachable { bootstrap: settings.bootstrap.clone().unwrap_or_default(), error };
    let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).map_err(unreachable)?;
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions) {
        let added = partitions.add_partition_offset(&topic, partition.id(), Offset::End);
        added.map_err(SetupError::Client)?;
    }
    if partitions.count() == 0 {
        let error = KafkaError::Subscription(format!("there is no topic {topic} (kafka.positions)"));
        return Err(unreachable(error));
    }
    consumer.assign(&partitions).map_err(SetupError::Client)?;
    Ok(consumer)
}

/// # Errors
/// When the client has given up.
fn follow(
    consumer: &BaseConsumer<Member>,
    newest: &mut Newest,
    feed: &LiveFeed,
    stop: &AtomicBool,
) -> Result<(), KafkaError> {
    while !stop.load(Ordering::Relaxed) {
        let mut updates: HashMap<VehicleKey, LiveUpdate> = HashMap::new();
        let mut patience = POLL;
        let mut behind = None;
        for _ in 0..MOST_AT_ONCE {
            match consumer.poll(patience) {
                Some(Ok(message)) => {
                    let Some((vehicle, position)) = understand(message.payload()) else {
                        metrics::counter!(meters::LIVE_REFUSED).increment(1);
                        continue;
                    };
                    behind = Some(now_utc() - position.received_at);
                    if newest.is_news(&vehicle, &position) {
                        updates.insert(vehicle.clone(), LiveUpdate { vehicle, position });
                    }
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
                // A broker that is away comes back.
                Some(Err(error)) => tracing::debug!(%error, "following the positions"),
                None => break,
            }
            patience = Duration::ZERO;
        }
        if let Some(behind) = behind {
            #[allow(clippy::cast_precision_loss)]
            metrics::gauge!(meters::LIVE_BEHIND).set(behind.max(0) as f64 / 1000.0);
        }
        feed.publish(updates.into_values().collect());
    }
    Ok(())
}

fn understand(value: Option<&[u8]>) -> Option<(VehicleKey, Position)> {
    position_of(&record::Position::decode(value?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{fix, van};

    #[test]
    fn late_data_does_not_move_a_vehicle_back() {
        let mut newest = Newest::default();
        let position = |sequence| Position { epoch: Epoch(1), sequence, fix: fix(sequence), received_at: 0 };
        let news: Vec<bool> =
            [5, 6, 2, 6, 7].into_iter().map(|sequence| newest.is_news(&van(), &position(sequence))).collect();
        assert_eq!(news, [true, true, false, false, true]);
    }
}
