//! Processors that share the work on a real Kafka: partitions move between them while entries come.

use std::sync::Arc;
use std::time::Duration;

use avl_cloud::journal::kafka::{KafkaJournal, KafkaSettings, prepare, subscribe};
use avl_cloud::journal::{Journal as _, Kind, Record, Transport};
use avl_cloud::live::LiveFeed;
use avl_cloud::process::Processor;
use avl_cloud::store::Store as _;
use avl_cloud::store::sqlite::SqliteStore;
use avl_shared::batch::{Batch, encode};
use avl_shared::fix::Fix;
use avl_shared::sequence::Epoch;
use hil_tests::process::{Scene, eventually};
use hil_tests::services::Kafka;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::conformance::vehicle;

const PATIENCE: Duration = Duration::from_secs(60);
const VEHICLES: usize = 24;
const FIXES: u64 = 10;

fn batch(of: usize, round: u64) -> Record {
    let time = |number| Some(1_700_000_000_000 + 1000 * i64::try_from(round * FIXES + number).unwrap());
    let fixes = (0..FIXES).map(|number| Fix { time: time(number), ..Fix::default() }).collect();
    let batch = Batch { epoch: Epoch(7), first: round * FIXES, boot_id: None, fixes };
    Record {
        vehicle: vehicle(of),
        kind: Kind::Batch,
        transport: Transport::Quic,
        received_at: 0,
        value: encode(&batch).unwrap().into(),
    }
}

struct World {
    settings: KafkaSettings,
    store: SqliteStore,
    journal: KafkaJournal,
    rounds: u64,
}

impl World {
    /// One batch of each vehicle, the last one's again.
    async fn drive(&mut self, rounds: u64) {
        for _ in 0..rounds {
            for of in 0..VEHICLES {
                for round in [self.rounds.saturating_sub(1), self.rounds] {
                    self.journal.append(batch(of, round)).await.unwrap().await.unwrap();
                }
            }
            self.rounds += 1;
        }
    }

    fn processor(&self) -> (watch::Sender<bool>, JoinHandle<()>) {
        let (stop, stopped) = watch::channel(false);
        let processor = Processor::new(Arc::new(self.store.clone()), LiveFeed::default());
        let subscription = subscribe(&self.settings).unwrap();
        (stop, tokio::spawn(processor.run(subscription, stopped)))
    }

    /// Every fix of every vehicle once.
    async fn complete(&self) {
        let expected = VEHICLES as u64 * self.rounds * FIXES;
        eventually("every fix is stored", PATIENCE, || async {
            let stored: u64 = self.store.vehicles().await?.iter().map(|vehicle| vehicle.fixes).sum();
            anyhow::ensure!(stored >= expected, "{stored} of {expected}");
            Ok(Some(()))
        })
        .await
        .unwrap();
        for of in 0..VEHICLES {
            let ledgers = self.store.ledgers(&vehicle(of)).await.unwrap();
            let received = ledgers[0].received.to_string();
            assert_eq!(received, format!("0-{}", self.rounds * FIXES - 1));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processors_come_and_go_and_each_fix_is_stored_once() {
    let scene = Scene::named("journal-group").unwrap();
    let Some(kafka) = Kafka::start(1, &scene.folder("kafka").unwrap(), scene.artifacts()).await.unwrap()
    else {
        return;
    };
    let settings =
        KafkaSettings { bootstrap: Some(kafka.bootstrap()), partitions: 6, ..KafkaSettings::default() };
    prepare(&settings).await.unwrap();
    let store = SqliteStore::open(&scene.folder("store").unwrap().join("store.sqlite")).unwrap();
    let journal = KafkaJournal::open(&settings).unwrap();
    let mut world = World { settings, store, journal, rounds: 0 };

    let mut running = vec![world.processor()];
    world.drive(10).await;
    world.complete().await;
    for _ in 0..2 {
        running.push(world.processor());
        world.drive(15).await;
    }
    world.complete().await;
    // In order, and the oldest first; what it was at is finished.
    for (stop, processor) in running.drain(..2) {
        stop.send(true).unwrap();
        world.drive(10).await;
        tokio::time::timeout(PATIENCE, processor).await.unwrap().unwrap();
    }
    world.drive(10).await;
    world.complete().await;
    let (stop, processor) = running.remove(0);
    stop.send(true).unwrap();
    tokio::time::timeout(PATIENCE, processor).await.unwrap().unwrap();
}
