//! The uplink against a real QUIC server with real certificates.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use avl_edge::identity::Access;
use avl_edge::uplink::lane::LanePolicy;
use avl_edge::uplink::quic::QuicTransport;
use avl_edge::uplink::{self, Agent, ConnectError, Pace, Ports, Transport, UplinkSettings};
use avl_shared::link::{Hello, LossReason};
use support::{Authority, Cloud, EPOCH, Gateway, Script, fix, set};
use tokio::sync::watch;
use tokio::time::timeout;

/// Far above what anything here takes; a hang fails instead of blocking.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(ack_timeout: Duration) -> UplinkSettings {
    let ack_interval = Duration::from_secs(180);
    let lane = LanePolicy { durability: Duration::ZERO, ack_interval, ack_timeout, backlog_rate: 0 };
    UplinkSettings { lane, reconnect_max: Duration::from_millis(50) }
}

fn ports(finish: watch::Receiver<bool>) -> Ports {
    Ports { finish, pace: Pace::constant(Duration::from_millis(20)), control: None, flush: None }
}

struct Scene {
    cloud: Cloud,
    gateway: Gateway,
    authority: Authority,
}

impl Scene {
    fn new(scripts: &[Script]) -> Self {
        let authority = Authority::new();
        Self { cloud: Cloud::start(&authority, "localhost", scripts), gateway: Gateway::new(), authority }
    }

    async fn append(&self, blocks: u64) {
        for _ in 0..blocks {
            self.gateway.append(60).await;
        }
    }

    /// Runs the uplink until the cloud has acknowledged everything.
    async fn run_to_the_end(&self, ack_timeout: Duration) {
        let transport =
            QuicTransport::new(&self.cloud.uplink(), Access::fixed(self.authority.vehicle(&self.authority)));
        let (_finish, finishing) = watch::channel(true);
        let running = uplink::run(
            transport,
            &self.gateway.buffer,
            settings(ack_timeout),
            Agent { boot_id: 1 },
            ports(finishing),
            avl_edge::health::View::default(),
        );
        timeout(PATIENCE, running).await.expect("the uplink hangs").unwrap();
    }

    fn assert_complete(&self, count: u64) {
        let journal = self.cloud.journal.lock().unwrap();
        assert_eq!(journal.durable, set(0, count - 1));
        assert!(journal.fixes.iter().all(|(number, got)| *got == fix(*number)));
        let status = self.gateway.buffer.status().borrow().clone();
        assert!(status.held.is_empty() && status.lost.is_empty(), "{status:?}");
        assert_eq!(status.next_sequence, count);
    }
}

#[tokio::test]
async fn everything_is_sent_once_in_large_batches_and_forgotten_when_acknowledged() {
    let scene = Scene::new(&[]);
    scene.append(11).await;
    scene.run_to_the_end(PATIENCE).await;
    scene.assert_complete(660);
    let journal = scene.cloud.journal.lock().unwrap();
    assert_eq!(journal.frames, 3, "the newest 60 fixes by the live lane, 300 + 300 by the other");
    let hello = journal.hellos.first().unwrap();
    assert_eq!((hello.epoch, hello.next_sequence, hello.boot_id), (EPOCH.0, 660, 1));
    assert_eq!((hello.held.first().unwrap().first, hello.held.first().unwrap().last), (0, 659));
}

#[tokio::test]
async fn fixes_that_come_while_connected_are_sent_and_the_link_stays() {
    let scene = Scene::new(&[]);
    let transport =
        QuicTransport::new(&scene.cloud.uplink(), Access::fixed(scene.authority.vehicle(&scene.authority)));
    let (finish, finishing) = watch::channel(false);
    let feeding = async {
        for _ in 0..5 {
            let frames = scene.cloud.journal.lock().unwrap().frames;
            scene.gateway.append(7).await;
            while scene.cloud.journal.lock().unwrap().frames == frames {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        finish.send_replace(true);
    };
    let running = uplink::run(
        transport,
        &scene.gateway.buffer,
        settings(PATIENCE),
        Agent { boot_id: 1 },
        ports(finishing),
        avl_edge::health::View::default(),
    );
    let (run, ()) =
        timeout(PATIENCE, async { tokio::join!(running, feeding) }).await.expect("the uplink hangs");
    run.unwrap();
    scene.assert_complete(35);
    assert_eq!(scene.cloud.journal.lock().unwrap().hellos.len(), 1);
}

#[tokio::test]
async fn a_connection_lost_in_mid_batch_loses_and_repeats_nothing_that_is_durable() {
    let scene = Scene::new(&[Script::CloseAfter(2), Script::CloseAfter(0), Script::Good]);
    scene.append(20).await;
    scene.run_to_the_end(PATIENCE).await;
    scene.assert_complete(1200);
    let journal = scene.cloud.journal.lock().unwrap();
    assert_eq!(journal.hellos.len(), 3);
    assert_eq!(journal.received, 1200, "what the welcome called durable is not sent again");
}

#[tokio::test]
async fn a_cloud_that_does_not_acknowledge_is_left_and_its_welcome_settles_what_it_has() {
    let scene = Scene::new(&[Script::Mute]);
    scene.append(3).await;
    scene.run_to_the_end(Duration::from_millis(300)).await;
    scene.assert_complete(180);
    let journal = scene.cloud.journal.lock().unwrap();
    assert_eq!((journal.hellos.len(), journal.frames), (2, 2));
}

#[tokio::test]
async fn a_refused_batch_is_set_aside_declared_lost_and_the_rest_goes_on() {
    let scene = Scene::new(&[Script::RejectHolding(400)]);
    scene.append(15).await;
    scene.run_to_the_end(PATIENCE).await;
    let journal = scene.cloud.journal.lock().unwrap();
    assert_eq!(journal.durable.to_string(), "0-299,600-899");
    let declared = journal.lost.first().unwrap();
    assert_eq!(
        (declared.reason(), declared.ranges[0].first, declared.ranges[0].last),
        (LossReason::Rejected, 300, 599)
    );
    let aside = std::fs::read_dir(scene.gateway.folder.path().join("rejected")).unwrap().count();
    assert_eq!(aside, 5, "the five blocks of the batch");
    assert!(scene.gateway.buffer.status().borrow().lost.is_empty());
}

#[tokio::test]
async fn a_draining_cloud_is_left_within_the_time_it_gives() {
    let scene = Scene::new(&[Script::DrainAfter(1)]);
    scene.append(1).await;
    let transport =
        QuicTransport::new(&scene.cloud.uplink(), Access::fixed(scene.authority.vehicle(&scene.authority)));
    let (finish, finishing) = watch::channel(false);
    let waiting = async {
        while scene.cloud.journal.lock().unwrap().hellos.len() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        finish.send_replace(true);
    };
    let running = uplink::run(
        transport,
        &scene.gateway.buffer,
        settings(PATIENCE),
        Agent { boot_id: 1 },
        ports(finishing),
        avl_edge::health::View::default(),
    );
    let (run, ()) =
        timeout(PATIENCE, async { tokio::join!(running, waiting) }).await.expect("the uplink hangs");
    run.unwrap();
    scene.assert_complete(60);
}

fn hello() -> Hello {
    Hello { protocol: 1, epoch: EPOCH.0, ..Hello::default() }
}

#[tokio::test]
async fn a_vehicle_of_another_cloud_is_told_that_its_certificate_was_refused() {
    let (ours, other) = (Authority::new(), Authority::new());
    let cloud = Cloud::start(&ours, "localhost", &[]);
    let mut transport = QuicTransport::new(&cloud.uplink(), Access::fixed(other.vehicle(&ours)));
    let error = transport.connect(hello()).await.err().expect("a stranger must not be welcomed");
    assert!(matches!(error, ConnectError::CertificateRefused { .. }), "{error}");
}

#[tokio::test]
async fn a_server_of_another_name_or_authority_is_not_believed() {
    let (ours, other) = (Authority::new(), Authority::new());
    let elsewhere = Cloud::start(&ours, "elsewhere.example", &[]);
    let mut transport = QuicTransport::new(&elsewhere.uplink(), Access::fixed(ours.vehicle(&ours)));
    let error = transport.connect(hello()).await.err().expect("another name must not be believed");
    assert!(matches!(error, ConnectError::WrongServer { .. }), "{error}");
    let cloud = Cloud::start(&ours, "localhost", &[]);
    let mut transport = QuicTransport::new(&cloud.uplink(), Access::fixed(ours.vehicle(&other)));
    let error = transport.connect(hello()).await.err().expect("another authority must not be believed");
    assert!(matches!(error, ConnectError::WrongServer { .. }), "{error}");
}

#[tokio::test]
async fn a_connection_without_a_welcome_is_no_connection() {
    let authority = Authority::new();
    let cloud = Cloud::start(&authority, "localhost", &[Script::Unwelcome]);
    let mut transport = QuicTransport::new(&cloud.uplink(), Access::fixed(authority.vehicle(&authority)));
    let error = transport.connect(hello()).await.err().expect("no welcome came");
    assert!(matches!(&error, ConnectError::Refused { cause } if cause.contains("not today")), "{error}");
}

#[tokio::test]
async fn the_buffer_can_be_closed_after_the_uplink_has_ended() {
    let scene = Scene::new(&[]);
    scene.append(1).await;
    scene.run_to_the_end(PATIENCE).await;
    let Scene { gateway: Gateway { folder, buffer, thread }, .. } = scene;
    drop(buffer);
    thread.join();
    let outbox = avl_edge::buffer::inspect(folder.path()).unwrap();
    assert_eq!(outbox.newest_fix().unwrap(), Some((59, fix(59))));
}
