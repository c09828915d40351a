//! What leaves the processor on a real Kafka: positions, and poison among good batches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use avl_cloud::journal::kafka::{
    KafkaJournal, KafkaOutlet, KafkaSettings, follow_positions, prepare, subscribe,
};
use avl_cloud::journal::{Journal as _, Kind, Record};
use avl_cloud::live::LiveFeed;
use avl_cloud::process::Processor;
use avl_cloud::store::Store as _;
use avl_cloud::store::sqlite::SqliteStore;
use avl_shared::batch::{Batch, encode};
use avl_shared::fix::{Decimal, Fix, Quality};
use avl_shared::link::message::Range;
use avl_shared::link::{DeclareLost, LossReason};
use avl_shared::record::{Event, Position};
use avl_shared::sequence::Epoch;
use hil_tests::oracle::topic;
use hil_tests::process::{Scene, eventually};
use hil_tests::services::Kafka;
use prost::Message as _;
use tokio::sync::watch;

use crate::conformance::{record, vehicle};

const PATIENCE: Duration = Duration::from_secs(60);
const VEHICLES: usize = 6;
const FIXES: u64 = 20;

fn fix(number: u64) -> Fix {
    Fix {
        time: Some(1_700_000_000_000 + 1000 * i64::try_from(number).unwrap()),
        latitude: Some(Decimal::new(224_558_362 + i64::try_from(number).unwrap(), 5)),
        longitude: Some(Decimal::new(-732_500_100, 5)),
        speed: Some(Decimal::new(360, 1)),
        quality: Quality::Gps,
        ..Fix::default()
    }
}

fn batch(of: usize, first: u64) -> Record {
    let fixes = (first..first + FIXES).map(fix).collect();
    let batch = Batch { epoch: Epoch(7), first, boot_id: None, fixes };
    record(vehicle(of), encode(&batch).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn poison_among_good_batches_is_published_with_its_reason_and_the_good_ones_all() {
    let scene = Scene::named("published").unwrap();
    let Some(kafka) = Kafka::start(1, &scene.folder("kafka").unwrap(), scene.artifacts()).await.unwrap()
    else {
        return;
    };
    let settings =
        KafkaSettings { bootstrap: Some(kafka.bootstrap()), partitions: 3, ..KafkaSettings::default() };
    prepare(&settings).await.unwrap();
    let journal = KafkaJournal::open(&settings).unwrap();
    let append = async |record| journal.append(record).await.unwrap().await.unwrap();
    // Given up, and there after all in the first round.
    let ranges = vec![Range { first: 0, last: FIXES - 1 }];
    let lost = DeclareLost { epoch: 7, ranges, reason: LossReason::BufferFull.into() };
    append(Record { kind: Kind::Lost, ..record(vehicle(1), lost.encode_to_vec()) }).await;
    let mut poisoned = BTreeMap::new();
    for round in 0..10 {
        for of in 0..VEHICLES {
            append(batch(of, round * FIXES)).await;
            // What overlaps is not published twice.
            append(batch(of, round * FIXES / 2)).await;
        }
        let value = format!("poison {round}");
        let kind = if round % 2 == 0 { Kind::Batch } else { Kind::Lost };
        let place = append(Record { kind, ..record(vehicle(0), value.clone().into_bytes()) }).await;
        poisoned.insert(value, place);
    }
    let producer = "org.apache.kafka.tools.ConsoleProducer";
    kafka.tool(producer, &["--topic", "avl.batches"], b"no key at all\n").await.unwrap();

    let store = SqliteStore::open(&scene.folder("store").unwrap().join("store.sqlite")).unwrap();
    let outlet = Arc::new(KafkaOutlet::open(&settings).unwrap());
    // A process that only looks, from now on.
    let feed = LiveFeed::default();
    let mut viewer = feed.subscribe();
    let (stop, stopped) = watch::channel(false);
    let looking: Arc<dyn avl_cloud::store::Store> = Arc::new(store.clone());
    let looking = tokio::spawn(follow_positions(settings.clone(), looking, feed, stopped.clone()));

    let processor = Processor::new(Arc::new(store.clone()), LiveFeed::default()).publishing(Some(outlet));
    let running = tokio::spawn(processor.run(subscribe(&settings).unwrap(), stopped));
    let expected = VEHICLES as u64 * 10 * FIXES;
    eventually("everything is stored and poison listed", PATIENCE, || async {
        let stored: u64 = store.vehicles().await?.iter().map(|vehicle| vehicle.fixes).sum();
        Ok((stored == expected && store.refused(100).await?.len() == 11).then_some(()))
    })
    .await
    .unwrap();
    // The viewer sees the processor's work until each vehicle stands where it stands in the store.
    let mut seen = BTreeMap::new();
    let mut next = 10 * FIXES;
    while seen.len() < VEHICLES {
        match tokio::time::timeout(Duration::from_secs(2), viewer.recv()).await {
            Ok(updates) => {
                for update in updates.unwrap().iter() {
                    if update.position.sequence >= 10 * FIXES {
                        seen.insert(update.vehicle.clone(), update.position.clone());
                    }
                }
            }
            // It may have begun to follow only after the last one: drive on.
            Err(_) => {
                for of in 0..VEHICLES {
                    append(batch(of, next)).await;
                }
                next += FIXES;
            }
        }
    }
    for (vehicle, position) in seen {
        assert_eq!(position.fix, fix(position.sequence), "{vehicle}: with the digits that were printed");
    }
    let partitions: Vec<_> = (0..3).map(avl_cloud::journal::Partition).collect();
    let mut total = 0;
    for &partition in &partitions {
        total += store.next_offset(partition).await.unwrap();
    }
    assert!(total > expected / FIXES);
    stop.send(true).unwrap();
    running.await.unwrap();
    looking.await.unwrap();
    for partition in partitions {
        let claim = store.claim(partition, "test").await.unwrap();
        assert_eq!(claim.published_offset, claim.next_offset, "all of it is noted at an orderly end");
    }

    let published = topic::read(&kafka.bootstrap(), "avl.positions").await.unwrap();
    let mut tracks: BTreeMap<String, (i32, Vec<u64>)> = BTreeMap::new();
    for message in &published {
        let position = Position::decode(&message.value[..]).unwrap();
        assert_eq!(message.key.as_deref(), Some(format!("{}/{}", position.fleet, position.vehicle).as_str()));
        let (partition, track) =
            tracks.entry(message.key.clone().unwrap()).or_insert((message.partition, Vec::new()));
        assert_eq!(*partition, message.partition);
        track.push(position.sequence);
    }
    assert_eq!(tracks.len(), VEHICLES);
    for (vehicle, (_, track)) in tracks {
        assert_eq!(track, (0..next).collect::<Vec<_>>(), "{vehicle}: each once and in order");
    }
    let batches = topic::read(&kafka.bootstrap(), "avl.batches").await.unwrap();
    let events = topic::read(&kafka.bootstrap(), "avl.events").await.unwrap();
    assert!(events.iter().all(|event| event.key == Some(vehicle(1).to_string())));
    let events: Vec<_> = events.iter().map(|event| Event::decode(&event.value[..]).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["dataGap", "correction"]);
    assert_eq!(events[1].replaces.as_ref(), Some(&events[0].id));
    let rejects = topic::read(&kafka.bootstrap(), "avl.rejects").await.unwrap();
    assert_eq!(rejects.len(), 11);
    let mut found = BTreeSet::new();
    for reject in &rejects {
        assert!(!reject.header("reason").unwrap().is_empty());
        let (partition, offset): (i32, i64) = (
            reject.header("source-partition").unwrap().parse().unwrap(),
            reject.header("source-offset").unwrap().parse().unwrap(),
        );
        assert_eq!((reject.header("source"), reject.partition), (Some("avl.batches"), partition));
        let source =
            batches.iter().find(|entry| (entry.partition, entry.offset) == (partition, offset)).unwrap();
        assert_eq!((&reject.value, &reject.key), (&source.value, &source.key), "as it came");
        found.insert(String::from_utf8(reject.value.clone()).unwrap());
    }
    assert!(found.remove("no key at all"));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), poisoned.into_keys().collect::<Vec<_>>());
}
