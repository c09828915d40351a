//! On a real Kafka, started for each test.

use std::sync::Arc;
use std::time::Duration;

use avl_cloud::journal::kafka::{KafkaArchive, KafkaJournal, KafkaSettings, prepare, subscribe};
use avl_cloud::journal::{Archive as _, Journal as _, JournalError, Place};
use hil_tests::process::Scene;
use hil_tests::services::Kafka;
use tokio::time::timeout;

use crate::conformance::{Opened, SUITE, record, rest, settle, vehicle};

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(bootstrap: String, prefix: &str) -> KafkaSettings {
    let group = format!("{prefix}-process");
    let prefix = prefix.to_owned();
    KafkaSettings { bootstrap: Some(bootstrap), prefix, group, partitions: 4, ..KafkaSettings::default() }
}

async fn start(scene: &Scene, brokers: usize) -> Option<Kafka> {
    Kafka::start(brokers, &scene.folder("kafka").unwrap(), scene.artifacts()).await.unwrap()
}

/// Forgets what is before `place`, as retention does.
async fn discard(kafka: &Kafka, folder: &std::path::Path, topic: &str, place: Place) {
    let partition =
        serde_json::json!({ "topic": topic, "partition": place.partition.0, "offset": place.offset });
    let file = folder.join("offsets.json");
    std::fs::write(&file, serde_json::json!({ "partitions": [partition], "version": 1 }).to_string())
        .unwrap();
    let file = file.display().to_string();
    kafka
        .tool("org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", &file], b"")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_does_what_a_journal_must() {
    let scene = Scene::named("journal-conformance").unwrap();
    let Some(kafka) = start(&scene, 1).await else { return };
    let kafka = Arc::new(kafka);
    let folder = scene.folder("tools").unwrap();
    for (number, (name, behaviour)) in SUITE.iter().enumerate() {
        println!("{name}");
        let settings = settings(kafka.bootstrap(), &format!("case-{number}"));
        prepare(&settings).await.unwrap();
        // Made twice: what is there is left alone.
        prepare(&settings).await.unwrap();
        let (discarding, folder, topic) =
            (Arc::clone(&kafka), folder.clone(), format!("case-{number}.batches"));
        let opened = Opened {
            journal: Arc::new(KafkaJournal::open(&settings).unwrap()),
            subscription: subscribe(&settings).unwrap(),
            archive: Arc::new(KafkaArchive::new(settings)),
            discard_before: Box::new(move |place| {
                let (kafka, folder, topic) = (Arc::clone(&discarding), folder.clone(), topic.clone());
                Box::pin(async move { discard(&kafka, &folder, &topic, place).await })
            }),
        };
        behaviour(opened).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_answers_nothing_early_and_loses_nothing() {
    let scene = Scene::named("journal-broker-killed").unwrap();
    let Some(mut kafka) = start(&scene, 1).await else { return };
    let settings = settings(kafka.bootstrap(), "avl");
    prepare(&settings).await.unwrap();
    let journal = KafkaJournal::open(&settings).unwrap();
    let mut receipts = Vec::new();
    let mut places = Vec::new();
    for round in 0..3_u64 {
        for number in 0..200_u64 {
            let value = (round * 400 + number).to_be_bytes().repeat(50);
            receipts.push(journal.append(record(vehicle(1), value)).await.unwrap());
        }
        // Some are answered, some are on their way.
        places.extend(settle(receipts.drain(..100).collect()).await);
        kafka.kill(0).await.unwrap();
        for number in 200..400_u64 {
            let value = (round * 400 + number).to_be_bytes().repeat(50);
            receipts.push(journal.append(record(vehicle(1), value)).await.unwrap());
        }
        let last = receipts.last_mut().unwrap();
        assert!(timeout(Duration::from_secs(1), last).await.is_err(), "answered while no broker runs");
        kafka.resume(0).await.unwrap();
        let waiting = std::mem::take(&mut receipts);
        places.extend(timeout(PATIENCE, settle(waiting)).await.unwrap());
    }
    // Each once and in order, although Kafka's client has sent many of them again.
    let partition = places[0].partition;
    let readers = KafkaArchive::new(settings).readers().await.unwrap();
    let mut reader = readers.into_iter().find(|reader| reader.partition() == partition).unwrap();
    let values: Vec<u64> = rest(&mut *reader, 0)
        .await
        .into_iter()
        .map(|entry| u64::from_be_bytes(entry.record.unwrap().value[..8].try_into().unwrap()))
        .collect();
    assert_eq!(values, (0..1200).collect::<Vec<_>>());
    assert!(places.iter().zip(0..).all(|(place, offset)| place.offset == offset));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_brokers_memory_is_bounded_and_time_is_up_in_the_end() {
    // Nobody listens at this port.
    let settings = KafkaSettings {
        delivery_timeout: Duration::from_secs(2),
        ..settings("127.0.0.1:9".to_owned(), "avl")
    };
    let journal = KafkaJournal::open(&settings).unwrap();
    let begun = tokio::time::Instant::now();
    let mut receipts = Vec::new();
    // Far more than may wait, by callers who are gone at once.
    for _ in 0..40 {
        let Ok(appended) =
            timeout(Duration::from_millis(200), journal.append(record(vehicle(1), vec![0; 4_000_000]))).await
        else {
            break;
        };
        receipts.push(appended.unwrap());
    }
    assert!((10..20).contains(&receipts.len()), "{} of 4 MB were taken", receipts.len());
    let last = receipts.pop().unwrap();
    receipts.clear();
    assert!(matches!(timeout(PATIENCE, last).await.unwrap(), Err(JournalError::Unavailable(_))));
    assert!(begun.elapsed() >= Duration::from_secs(1), "it waited for a broker");
    // What has failed has made room.
    let next = timeout(PATIENCE, journal.append(record(vehicle(1), vec![0; 4_000_000]))).await.unwrap();
    assert!(next.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_others_are_named_and_hide_nothing() {
    let scene = Scene::named("journal-poison").unwrap();
    let Some(kafka) = start(&scene, 1).await else { return };
    let settings = KafkaSettings { partitions: 1, ..settings(kafka.bootstrap(), "avl") };
    prepare(&settings).await.unwrap();
    let journal = KafkaJournal::open(&settings).unwrap();
    settle(vec![journal.append(record(vehicle(1), "ours")).await.unwrap()]).await;
    let producer = "org.apache.kafka.tools.ConsoleProducer";
    kafka.tool(producer, &["--topic", "avl.batches"], b"no key\n").await.unwrap();
    let keyed = ["--topic", "avl.batches", "--reader-property", "parse.key=true"];
    kafka.tool(producer, &keyed, b"not a vehicle\tx\ndemo/van-1\tno headers\n").await.unwrap();
    settle(vec![journal.append(record(vehicle(1), "ours again")).await.unwrap()]).await;
    let mut readers = KafkaArchive::new(settings).readers().await.unwrap();
    let records: Vec<_> = rest(&mut *readers[0], 0).await.into_iter().map(|entry| entry.record).collect();
    let said: Vec<String> = records[1..4].iter().map(|record| record.clone().unwrap_err().reason).collect();
    assert!(
        said[0].contains("no key") && said[1].contains("not a vehicle") && said[2].contains("kind"),
        "{said:?}"
    );
    assert_eq!(records[0].as_ref().unwrap().value, "ours");
    assert_eq!(records[4].as_ref().unwrap().value, "ours again");
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_minimum_of_copies_nothing_is_answered() {
    let scene = Scene::named("journal-below-minimum").unwrap();
    let Some(mut kafka) = start(&scene, 3).await else { return };
    let settings = settings(kafka.bootstrap(), "avl");
    prepare(&settings).await.unwrap();
    let journal = KafkaJournal::open(&settings).unwrap();
    let append = |value: &'static str| journal.append(record(vehicle(1), value));
    settle(vec![append("three copies").await.unwrap()]).await;
    kafka.kill(0).await.unwrap();
    let with_two = append("two copies").await.unwrap();
    timeout(PATIENCE, with_two).await.expect("one broker may be away").unwrap();
    // Paused, not killed: its connections stay and it is still believed to be in sync, for a while.
    kafka.pause(1).unwrap();
    let mut with_one = append("one copy").await.unwrap();
    assert!(timeout(Duration::from_secs(3), &mut with_one).await.is_err(), "answered with one copy");
    kafka.go_on(1).unwrap();
    let place = timeout(PATIENCE, with_one).await.expect("answered once two have it").unwrap();
    let readers = KafkaArchive::new(settings).readers().await.unwrap();
    let mut reader = readers.into_iter().find(|reader| reader.partition() == place.partition).unwrap();
    let values: Vec<_> =
        rest(&mut *reader, 0).await.into_iter().map(|entry| entry.record.unwrap().value).collect();
    assert_eq!(values, ["three copies", "two copies", "one copy"]);
}
