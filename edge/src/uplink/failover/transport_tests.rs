use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use avl_shared::link::{Draining, ToVehicle, Welcome, to_vehicle};
use tokio::sync::oneshot;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// One transport and what stands at its other end.
#[derive(Clone, Default)]
struct Net(Arc<NetState>);

#[derive(Default)]
struct NetState {
    open: AtomicBool,
    connects: AtomicUsize,
    cloud: Mutex<Option<Cloud>>,
}

struct Cloud {
    say: mpsc::Sender<ToVehicle>,
    break_off: oneshot::Sender<()>,
}

impl Net {
    fn set_open(&self, open: bool) {
        self.0.open.store(open, Ordering::SeqCst);
    }

    fn connects(&self) -> usize {
        self.0.connects.load(Ordering::SeqCst)
    }

    fn cloud(&self) -> Cloud {
        self.0.cloud.lock().unwrap().take().expect("nobody has connected")
    }
}

struct Fake {
    name: &'static str,
    net: Net,
}

impl Transport for Fake {
    async fn connect(&mut self, hello: Hello) -> Result<Link, ConnectError> {
        self.net.0.connects.fetch_add(1, Ordering::SeqCst);
        if !self.net.0.open.load(Ordering::SeqCst) {
            // Packets vanish: nobody ever answers.
            std::future::pending::<()>().await;
        }
        let ((outgoing, mut sent), (backlog, mut sent_late)) = (mpsc::channel(1), mpsc::channel(1));
        let (say, incoming) = mpsc::channel(16);
        let (break_off, broken) = oneshot::channel::<()>();
        let keep_open = say.clone();
        *self.net.0.cloud.lock().unwrap() = Some(Cloud { say, break_off });
        let end = tokio::spawn(async move {
            let cause = tokio::select! {
                () = async {
                    while sent.recv().await.is_some() {}
                    while sent_late.recv().await.is_some() {}
                } => "closed by the agent",
                _ = broken => "broken",
            };
            drop(keep_open);
            LinkEnd::Lost(cause.to_owned())
        });
        let welcome = Welcome { server_time_ms: hello.boot_id.into(), ..Welcome::default() };
        Ok(Link { transport: self.name, welcome, outgoing, backlog, incoming, end })
    }
}

struct Scene {
    quic: Net,
    mqtt: Net,
    failover: Failover<Fake, Fake>,
}

impl Scene {
    fn new() -> Self {
        let (quic, mqtt) = (Net::default(), Net::default());
        let settings = Settings {
            timing: Timing { first_probe: 5 * MINUTE, longest_probe: 60 * MINUTE },
            patience: Duration::from_secs(15),
            address: "cloud.example:7443".to_owned(),
        };
        let fake = |name, net: &Net| Fake { name, net: net.clone() };
        let failover = Failover::new(fake("quic", &quic), fake("mqtt", &mqtt), settings);
        Self { quic, mqtt, failover }
    }

    async fn connect(&mut self) -> Result<Link, ConnectError> {
        timeout(10 * MINUTE, self.failover.connect(Hello::default())).await.expect("an attempt hangs")
    }

    async fn on_the_stand_in() -> (Self, Link) {
        let mut scene = Self::new();
        scene.mqtt.set_open(true);
        scene.connect().await.err().expect("one failure is no reason for the stand-in");
        let link = scene.connect().await.unwrap();
        assert_eq!(link.transport, "mqtt");
        (scene, link)
    }
}

#[tokio::test(start_paused = true)]
async fn the_stand_in_connects_in_the_round_in_which_the_preferred_one_fails_again() {
    let (scene, _link) = Scene::on_the_stand_in().await;
    assert_eq!((scene.quic.connects(), scene.mqtt.connects()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn when_both_fail_the_error_tells_of_both() {
    let mut scene = Scene::new();
    scene.mqtt.set_open(false);
    scene.failover.shared.choice().failed(Way::Preferred, Instant::now());
    let connecting = timeout(MINUTE, scene.failover.connect(Hello::default())).await;
    // The stand-in hangs here, as real ones do not: the preferred one was given up before it.
    assert!(connecting.is_err());
    let both = combined(vec![
        ConnectError::NoAnswer { address: "cloud.example:7443".to_owned(), seconds: 15 },
        ConnectError::Refused { cause: "not today".to_owned() },
    ])
    .to_string();
    assert!(both.contains("cloud.example:7443") && both.contains("not today"), "{both}");
}

#[tokio::test(start_paused = true)]
async fn messages_pass_while_the_stand_in_carries_the_link() {
    let (scene, mut link) = Scene::on_the_stand_in().await;
    let cloud = scene.mqtt.cloud();
    let draining = to_vehicle::Message::Draining(Draining { reconnect_within_ms: 7 });
    let message = ToVehicle { message: Some(draining) };
    cloud.say.send(message.clone()).await.unwrap();
    assert_eq!(link.incoming.recv().await, Some(message));
    drop(cloud.say);
    cloud.break_off.send(()).unwrap();
    assert_eq!(link.incoming.recv().await, None);
    assert_eq!(link.end.await.unwrap(), LinkEnd::Lost("broken".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_welcomed_takes_over_without_another_handshake() {
    let (mut scene, mut link) = Scene::on_the_stand_in().await;
    tokio::time::sleep(4 * MINUTE).await;
    assert_eq!(scene.quic.connects(), 2, "no probe before its time");
    scene.quic.set_open(true);
    assert_eq!(link.incoming.recv().await, None);
    assert_eq!(link.end.await.unwrap(), LinkEnd::Superseded);
    drop((link.outgoing, link.backlog));
    scene.failover.ended(Ending::Orderly);
    let link = scene.connect().await.unwrap();
    assert_eq!(link.transport, "quic");
    assert_eq!(scene.quic.connects(), 3, "the probe's own connection goes on");
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_leaves_the_stand_in_alone() {
    let (scene, link) = Scene::on_the_stand_in().await;
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!(scene.quic.connects(), 4, "after 5 and after 15 minutes");
    assert!(!link.end.is_finished());
}

#[tokio::test(start_paused = true)]
async fn probing_ends_with_the_link() {
    let (mut scene, link) = Scene::on_the_stand_in().await;
    let Cloud { say, break_off: _unused } = scene.mqtt.cloud();
    drop(say);
    drop((link.outgoing, link.backlog, link.incoming));
    link.end.await.unwrap();
    scene.failover.ended(Ending::Orderly);
    tokio::time::sleep(120 * MINUTE).await;
    assert_eq!(scene.quic.connects(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_probed_link_that_broke_before_it_was_used_is_a_failure() {
    let (mut scene, link) = Scene::on_the_stand_in().await;
    scene.quic.set_open(true);
    assert_eq!(link.end.await.unwrap(), LinkEnd::Superseded);
    scene.quic.cloud().break_off.send(()).unwrap();
    scene.quic.set_open(false);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let link = scene.connect().await.unwrap();
    assert_eq!(link.transport, "mqtt", "at once");
}
