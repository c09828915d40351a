//! Ingest against a real QUIC client with real certificates.

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use avl_shared::link::{
    CLOSE_REVOKED, DeclareLost, Hello, LaneFrame, LossReason, message, to_cloud, to_vehicle,
};
use bytes::{Bytes, BytesMut};
use quinn::ConnectionError;
use tokio::sync::watch;

use self::world::{Cloud, EPOCH, Vehicle, batch, client, hello, relay, serve};
use super::IngestSettings;
use crate::fleet::authority::Authority;
use crate::fleet::certificates::Certificates;
use crate::journal::Kind;
use crate::store::Store;
use crate::store::conformance::van;

#[tokio::test]
async fn an_ack_comes_only_after_the_batch_is_durable_and_covers_what_came_before() {
    let cloud = Cloud::start().await;
    let mut vehicle = cloud.vehicle().await;
    assert_eq!(vehicle.durable().await, "");
    cloud.journal.slow.store(true, Ordering::SeqCst);
    vehicle.upload(batch(EPOCH, 0, 60), false).await;
    vehicle.upload(batch(EPOCH, 60, 60), true).await;
    // Both are in the journal's hands, and the disk has not answered.
    cloud.journal.inner.end().wait_for(|&end| end == 2).await.unwrap();
    cloud.journal.disk.add_permits(1);
    let early = tokio::time::timeout(Duration::from_millis(200), vehicle.next()).await;
    assert!(early.is_err(), "{early:?}");
    cloud.journal.disk.add_permits(1);
    assert_eq!(vehicle.acked().await, "0-119");
}

#[tokio::test]
async fn two_lanes_are_read_side_by_side_and_one_that_is_half_sent_holds_up_no_ack_of_the_other() {
    let cloud = Cloud::start().await;
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    // Half a batch of the backlog.
    let mut backlog = vehicle.connection.open_uni().await.unwrap();
    let mut frame = BytesMut::new();
    LaneFrame { ack_wanted: true, batch: batch(EPOCH, 0, 60) }.write(&mut frame);
    let (begin, rest) = frame.split_at(frame.len() / 2);
    backlog.write_all(begin).await.unwrap();
    vehicle.upload(batch(EPOCH, 60, 10), true).await;
    assert_eq!(vehicle.acked().await, "60-69");
    backlog.write_all(rest).await.unwrap();
    assert_eq!(vehicle.acked().await, "0-59");
    // A lane that has ended makes room for another.
    backlog.finish().unwrap();
    let mut third = vehicle.connection.open_uni().await.unwrap();
    let mut frame = BytesMut::new();
    LaneFrame { ack_wanted: true, batch: batch(EPOCH, 70, 10) }.write(&mut frame);
    third.write_all(&frame).await.unwrap();
    assert_eq!(vehicle.acked().await, "70-79");
}

#[tokio::test]
async fn an_unasked_ack_comes_after_the_interval() {
    let settings = IngestSettings { ack_interval: Duration::from_millis(300), ..IngestSettings::default() };
    let cloud = Cloud::with(settings).await;
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    let begun = std::time::Instant::now();
    vehicle.upload(batch(EPOCH, 0, 10), false).await;
    vehicle.upload(batch(EPOCH, 10, 10), false).await;
    assert_eq!(vehicle.acked().await, "0-19");
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn duplicates_are_acknowledged_and_a_reconnect_learns_what_is_durable() {
    let cloud = Cloud::start().await;
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    vehicle.upload(batch(EPOCH, 0, 60), true).await;
    assert_eq!(vehicle.acked().await, "0-59");
    vehicle.upload(batch(EPOCH, 0, 60), true).await;
    assert_eq!(vehicle.acked().await, "0-59");
    cloud.process().await;
    let mut again = Vehicle::hello(cloud.connect().await, hello(100)).await;
    assert_eq!(again.durable().await, "0-59");
    // The hello's own numbers become known, so the rest counts as missing.
    cloud.journal.inner.end().wait_for(|&end| end == 3).await.unwrap();
    cloud.process().await;
    let ledger = &cloud.store.ledgers(&van()).await.unwrap()[0];
    assert_eq!(ledger.missing().to_string(), "60-99");
    assert_eq!(cloud.store.vehicle(&van()).await.unwrap().unwrap().fixes, 60);
}

#[tokio::test]
async fn garbage_is_rejected_and_the_connection_lives_on() {
    let cloud = Cloud::start().await;
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    let mut damaged = batch(EPOCH, 30, 10).to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 0x40;
    vehicle.upload(Bytes::from(damaged), false).await;
    match vehicle.next().await {
        Some(to_vehicle::Message::Reject(reject)) => {
            assert_eq!((reject.epoch, reject.first, reject.count), (EPOCH, 30, 10));
            assert!(!reject.reason.is_empty());
        }
        other => panic!("{other:?}"),
    }
    vehicle.upload(Bytes::from_static(b"garbage"), false).await;
    assert!(matches!(vehicle.next().await, Some(to_vehicle::Message::Reject(_))));
    vehicle.upload(batch(EPOCH, 0, 10), true).await;
    assert_eq!(vehicle.acked().await, "0-9");
    assert_eq!(cloud.journaled().await.len(), 1, "nothing of the garbage was kept");
}

#[tokio::test]
async fn a_declared_loss_is_made_durable_and_acknowledged() {
    let cloud = Cloud::start().await;
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    let ranges = vec![message::Range { first: 5, last: 9 }];
    let lost = DeclareLost { epoch: EPOCH, ranges, reason: LossReason::BufferFull.into() };
    vehicle.say(to_cloud::Message::DeclareLost(lost)).await;
    assert_eq!(vehicle.acked().await, "5-9");
    assert_eq!(cloud.journaled().await[0].kind, Kind::Lost);
}

#[tokio::test]
async fn a_confused_vehicle_is_told_what_is_wrong_and_keeps_what_was_durable() {
    let cloud = Cloud::start().await;
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    vehicle.upload(batch(EPOCH, 0, 10), false).await;
    vehicle.upload(batch(EPOCH + 1, 10, 10), false).await;
    assert_eq!(vehicle.acked().await, "0-9", "the good batch before it");
    let (code, reason) = vehicle.closed().await;
    assert_eq!(code, 9);
    assert!(reason.contains("epoch 00000008"), "{reason}");
}

#[tokio::test]
async fn broken_peers_get_a_close_code_each() {
    let cloud = Cloud::start().await;
    let mut twice = cloud.vehicle().await;
    twice.durable().await;
    twice.say(to_cloud::Message::Hello(hello(0))).await;
    assert_eq!(twice.closed().await.0, 8);

    let mut flags = cloud.vehicle().await;
    flags.durable().await;
    flags.lane.write_all(&[0x80, 1, 0]).await.unwrap();
    assert_eq!(flags.closed().await.0, 7);

    let mut long = cloud.vehicle().await;
    long.durable().await;
    long.lane.write_all(&[0, 0xff, 0xff, 0xff, 0x7f]).await.unwrap();
    assert_eq!(long.closed().await.0, 6);

    let other = Hello { protocol: 2, ..hello(0) };
    assert_eq!(Vehicle::hello(cloud.connect().await, other).await.closed().await.0, 5);

    let overflow = Vehicle::hello(cloud.connect().await, hello(u64::MAX)).await;
    assert_eq!(overflow.closed().await.0, 10);

    let mut cut = cloud.vehicle().await;
    cut.durable().await;
    cut.lane.write_all(&[0, 100, 1, 2, 3]).await.unwrap();
    cut.lane.finish().unwrap();
    assert_eq!(cut.closed().await.0, 12);
}

#[tokio::test]
async fn silence_and_half_sent_frames_end_in_time() {
    let short = Duration::from_millis(200);
    let cloud = Cloud::with(IngestSettings {
        hello_timeout: short,
        frame_timeout: short,
        ..IngestSettings::default()
    })
    .await;
    let connection = cloud.connect().await;
    let (_send, _receive) = connection.open_bi().await.unwrap();
    assert!(
        matches!(connection.closed().await, ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == 3)
    );
    let mut slow = cloud.vehicle().await;
    slow.durable().await;
    slow.lane.write_all(&[0, 100, 1]).await.unwrap();
    assert_eq!(slow.closed().await.0, 11);
}

#[tokio::test]
async fn a_newer_connection_of_the_same_vehicle_replaces_the_older() {
    let cloud = Cloud::start().await;
    let mut older = cloud.vehicle().await;
    older.durable().await;
    let mut newer = cloud.vehicle().await;
    newer.durable().await;
    assert_eq!(older.closed().await.0, 2);
    newer.upload(batch(EPOCH, 0, 10), true).await;
    assert_eq!(newer.acked().await, "0-9");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let cloud = Cloud::start().await;
    let stranger = Authority::load_or_create(&cloud.temp.path().join("stranger")).unwrap();
    let (endpoint, config) = client(&stranger, &cloud.authority);
    // The client believes to be connected before the server has judged its certificate.
    let outcome = match endpoint.connect_with(config, cloud.address, "localhost").unwrap().await {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    };
    assert!(matches!(outcome, ConnectionError::ConnectionClosed(_)), "{outcome:?}");
    assert!(cloud.journaled().await.is_empty());
}

#[tokio::test]
async fn when_the_journal_fails_nothing_is_acknowledged_and_the_vehicle_comes_back_later() {
    let cloud = Cloud::start().await;
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    cloud.journal.broken.store(true, Ordering::SeqCst);
    vehicle.upload(batch(EPOCH, 0, 10), true).await;
    assert_eq!(vehicle.closed().await.0, 14);
    cloud.journal.broken.store(false, Ordering::SeqCst);
    let mut again = cloud.vehicle().await;
    assert_eq!(again.durable().await, "");
    again.upload(batch(EPOCH, 0, 10), true).await;
    assert_eq!(again.acked().await, "0-9");
}

#[tokio::test]
async fn stopping_acknowledges_what_is_durable_and_says_goodbye() {
    let cloud = Cloud::start().await;
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    vehicle.upload(batch(EPOCH, 0, 10), false).await;
    cloud.journal.inner.end().wait_for(|&end| end == 1).await.unwrap();
    cloud.stop.send_replace(true);
    assert!(matches!(vehicle.next().await, Some(to_vehicle::Message::Draining(_))));
    assert_eq!(vehicle.acked().await, "0-9");
    assert_eq!(vehicle.closed().await.0, 1);
    cloud.running.await.unwrap();
}

#[tokio::test]
async fn after_a_crash_the_same_reset_key_lets_vehicles_notice_at_once() {
    let cloud = Cloud::start().await;
    let (server, target) = watch::channel(Some(cloud.address));
    let front = relay(target).await;
    let (endpoint, config) = client(&cloud.authority, &cloud.authority);
    let connection = endpoint.connect_with(config, front, "localhost").unwrap().await.unwrap();
    let mut vehicle = Vehicle::hello(connection, hello(0)).await;
    vehicle.durable().await;
    server.send_replace(None);
    cloud.running.abort();
    let settings = IngestSettings::default();
    let address = "127.0.0.1:0".parse().unwrap();
    let stop = cloud.stop.subscribe();
    let (restarted, _running) =
        serve(&cloud.temp, &cloud.authority, &cloud.journal, &cloud.store, address, settings, stop).await;
    server.send_replace(Some(restarted));
    vehicle.upload(batch(EPOCH, 0, 10), true).await;
    let noticed = tokio::time::timeout(Duration::from_secs(5), vehicle.connection.closed()).await;
    assert!(matches!(noticed, Ok(ConnectionError::Reset)), "{noticed:?}");
}

#[tokio::test]
async fn a_vehicle_revoked_while_connected_is_closed_with_the_reason_and_comes_back_with_a_new_certificate() {
    let cloud = Cloud::start().await;
    let list = Certificates::open(&cloud.temp.path().join("ca")).unwrap();
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    list.revoke(&van(), "stolen", 1).await.unwrap();
    assert_eq!(vehicle.closed().await, (CLOSE_REVOKED.into(), "stolen".to_owned()));
    let again = Vehicle::hello(cloud.connect().await, hello(0)).await;
    assert_eq!(again.closed().await.0, u64::from(CLOSE_REVOKED));
    list.undo(&van()).await.unwrap();
    // The list is followed, not asked.
    loop {
        let mut forgiven = Vehicle::hello(cloud.connect().await, hello(0)).await;
        if matches!(forgiven.next().await, Some(to_vehicle::Message::Welcome(_))) {
            break;
        }
    }
}

#[tokio::test]
async fn a_vehicle_that_sends_too_fast_waits_and_loses_nothing() {
    let first = batch(EPOCH, 0, 600);
    // Ten seconds' worth may come at once: the eleventh is owed.
    let vehicle_bytes_per_second = first.len() as u64 / 11;
    let cloud = Cloud::with(IngestSettings { vehicle_bytes_per_second, ..IngestSettings::default() }).await;
    let mut vehicle = cloud.vehicle().await;
    vehicle.durable().await;
    vehicle.upload(first, true).await;
    assert_eq!(vehicle.acked().await, "0-599", "what was read is not held back");
    vehicle.upload(batch(EPOCH, 600, 60), true).await;
    let early = tokio::time::timeout(Duration::from_millis(200), vehicle.next()).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(vehicle.acked().await, "600-659");
}
