//! The service over real files, with a buffer and hands that the test holds.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use avl_shared::link::Configuration;
use avl_shared::link::message::{LocateNow, Restart};
use avl_shared::link::{ConfigOutcome, ToCloud, to_vehicle};
use avl_shared::sequence::Epoch;

use super::*;
use crate::buffer::{self, Attic, Buffer, BufferThread};
use crate::control::{Port, prepare};
use crate::fix_json::FixRow;
use crate::health::log::LogRing;

/// Says what the test told it to.
struct TestHands(Mutex<Vec<Option<u64>>>);

impl Hands for TestHands {
    async fn locate(&self) -> Result<Option<Located>, String> {
        let next = self.0.lock().unwrap().pop().flatten();
        let fix = FixRow::from(&avl_shared::fix::Fix::default());
        Ok(next.map(|age_ms| Located { fix, age_ms, below: 5 }))
    }

    async fn recall(&self, _from: UtcMillis, _to: UtcMillis) -> Result<u64, String> {
        Ok(3)
    }
}

struct Gateway {
    temp: tempfile::TempDir,
}

struct Agent {
    port: Port,
    running: tokio::task::JoinHandle<Ending>,
    buffer: Buffer,
    thread: BufferThread,
}

impl Gateway {
    fn new(extra: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let text = format!(
            "state_dir = {state:?}\n[source]\nkind = 'replay'\npath = 'x'\n[uplink.quic]\naddress = 'a:1'\n{extra}"
        );
        fs::write(temp.path().join("gateway.toml"), text).unwrap();
        Self { temp }
    }

    fn file(&self) -> PathBuf {
        self.temp.path().join("gateway.toml")
    }

    /// Ages of fixes in the order in which they are given out.
    fn start(&self, ages: &[Option<u64>]) -> Agent {
        let (config, startup) = prepare(&self.file(), LogRing::default()).unwrap();
        let outbox = buffer::open(&config.state_dir, 1 << 20, Epoch(7)).unwrap().outbox;
        let (buffer, thread) = Buffer::start(outbox, Attic::new(&config.state_dir)).unwrap();
        let (port, inbox) = Port::new(startup.reports().clone(), startup.config_version());
        let around = Surroundings {
            vehicle: "demo/van-1".parse().unwrap(),
            config,
            authorities: Vec::new(),
            status: buffer.status(),
            board: Board::default(),
            clock: Clock::at_once(),
        };
        let hands = TestHands(Mutex::new(ages.iter().rev().copied().collect()));
        let running = tokio::spawn(Service::new(around, hands, startup, inbox).run());
        Agent { port, running, buffer, thread }
    }
}

impl Agent {
    fn send(&self, id: &str, action: Action) {
        self.send_until(id, action, 0);
    }

    fn send_until(&self, id: &str, action: Action, expires_ms: UtcMillis) {
        let command = Command { id: id.to_owned(), expires_ms, action: Some(action) };
        self.port.deliver(to_vehicle::Message::Command(command)).unwrap();
    }

    fn configure(&self, version: u64, toml: &str) {
        let configuration = Configuration { version, toml: toml.to_owned() };
        self.port.deliver(to_vehicle::Message::Configuration(configuration)).unwrap();
    }

    /// Everything that a new connection would be told, once there are so many.
    async fn told(&self, count: usize) -> Vec<ToCloud> {
        loop {
            let mut feed = self.port.feed();
            let told: Vec<ToCloud> = std::iter::from_fn(|| feed.next_report()).collect();
            if told.len() >= count {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn result(&self) -> CommandResult {
        match self.told(1).await.remove(0).message {
            Some(to_cloud::Message::CommandResult(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    async fn config_state(&self) -> (u64, ConfigOutcome, String) {
        match self.told(1).await.remove(0).message {
            Some(to_cloud::Message::ConfigState(state)) => (state.version, state.outcome(), state.detail),
            other => panic!("{other:?}"),
        }
    }

    /// As after `kill -9`, but for the buffer's lock.
    fn kill(self) {
        self.running.abort();
        drop(self.buffer);
        self.thread.join();
    }

    async fn ended(self) -> Ending {
        let ending = self.running.await.unwrap();
        drop(self.buffer);
        self.thread.join();
        ending
    }
}

#[tokio::test]
async fn a_command_is_carried_out_once_however_often_it_is_delivered() {
    let gateway = Gateway::new("");
    let agent = gateway.start(&[Some(1)]);
    agent.send("one", Action::LocateNow(LocateNow {}));
    let result = agent.result().await;
    assert_eq!(result.state(), CommandState::Done, "{}", result.detail);
    let payload: Value = serde_json::from_slice(&result.payload).unwrap();
    assert_eq!((payload["age_ms"].as_u64(), payload["uploads_below"].as_u64()), (Some(1), Some(5)));
    // Not acknowledged yet: nothing new is said, and no second fix is asked for.
    agent.send("one", Action::LocateNow(LocateNow {}));
    agent.port.deliver(to_vehicle::Message::ReportAck(ReportAck { receipts: vec![result.receipt] })).unwrap();
    agent.send("one", Action::LocateNow(LocateNow {}));
    // Acknowledged, and yet delivered again: the cloud lost it. It is told how it ended, also by the next run.
    loop {
        let again = agent.result().await;
        if again.receipt != result.receipt {
            assert_eq!((again.id.as_str(), again.state()), ("one", CommandState::Done));
            break;
        }
        tokio::task::yield_now().await;
    }
    agent.kill();
}

#[tokio::test]
async fn what_is_not_allowed_or_too_late_or_unknown_is_answered_and_not_done() {
    let gateway = Gateway::new("[control]\nallow = ['locate']\n");
    let agent = gateway.start(&[]);
    agent.send("a", Action::Restart(Restart {}));
    agent.send_until("b", Action::LocateNow(LocateNow {}), 1);
    agent
        .port
        .deliver(to_vehicle::Message::Command(Command { id: "c".to_owned(), ..Command::default() }))
        .unwrap();
    agent.send("", Action::Restart(Restart {}));
    let states: Vec<(String, CommandState, String)> = agent
        .told(3)
        .await
        .into_iter()
        .map(|report| match report.message {
            Some(to_cloud::Message::CommandResult(result)) => {
                (result.id.clone(), result.state(), result.detail)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(states[0].1, CommandState::Refused);
    assert!(states[0].2.contains("control.allow"), "{}", states[0].2);
    assert_eq!((states[1].1, states[2].1), (CommandState::Expired, CommandState::Refused));
    agent.kill();
}

#[tokio::test]
async fn a_restart_is_reported_by_the_run_behind_it_and_a_killed_command_as_failed() {
    let gateway = Gateway::new("[control]\nallow = ['locate', 'restart']\n");
    let agent = gateway.start(&[]);
    // No fix comes, so it is at work until the agent is killed.
    agent.send("hanging", Action::LocateNow(LocateNow {}));
    agent.send("again", Action::Restart(Restart {}));
    assert_eq!(agent.ended().await, Ending::Restart);
    let agent = gateway.start(&[]);
    let told = agent.told(2).await;
    let states: Vec<CommandState> = told
        .into_iter()
        .map(|report| match report.message {
            Some(to_cloud::Message::CommandResult(result)) => result.state(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(states, [CommandState::Failed, CommandState::Done]);
    agent.kill();
}

#[tokio::test]
async fn a_configuration_is_tried_after_a_restart_and_confirmed_by_a_welcome() {
    let gateway = Gateway::new("");
    let agent = gateway.start(&[]);
    agent.configure(4, "uplink.latency = '60s'");
    assert_eq!(agent.ended().await, Ending::Restart);
    let agent = gateway.start(&[]);
    assert_eq!(agent.port.config_version(), 4);
    agent.port.welcomed();
    assert_eq!(agent.config_state().await.1, ConfigOutcome::Applied);
    agent.kill();
    assert_eq!(gateway.start(&[]).port.config_version(), 4);
}

#[tokio::test]
async fn a_configuration_without_a_welcome_is_taken_back() {
    let gateway = Gateway::new("[control]\nconfirm_within = '50ms'\nremote_keys = ['uplink.quic.address']\n");
    let agent = gateway.start(&[]);
    agent.configure(4, "uplink.quic.address = 'nowhere:1'");
    assert_eq!(agent.ended().await, Ending::Restart);
    let agent = gateway.start(&[]);
    assert_eq!(agent.ended().await, Ending::Restart);
    let agent = gateway.start(&[]);
    assert_eq!(agent.port.config_version(), 0);
    let (version, outcome, detail) = agent.config_state().await;
    assert_eq!((version, outcome), (4, ConfigOutcome::RolledBack));
    assert!(detail.contains("no connection"), "{detail}");
    agent.kill();
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_rejected_without_a_restart() {
    let gateway = Gateway::new("");
    for (version, toml, word) in [
        (1, "uplink.latency = 'soon'", "uplink.latency"),
        (2, "uplink.latencyy = '1s'", "control.remote_keys"),
        (3, "source.path = '/dev/null'", "control.remote_keys"),
        (4, "control.allow = ['restart']", "never"),
        (5, "uplink = ", "TOML"),
    ] {
        let agent = gateway.start(&[]);
        agent.configure(version, toml);
        let (told, outcome, detail) = agent.config_state().await;
        assert_eq!((told, outcome), (version, ConfigOutcome::Rejected), "{toml}");
        assert!(detail.contains(word), "{toml}: {detail}");
        for receipt in agent.told(1).await.iter().filter_map(|report| match &report.message {
            Some(to_cloud::Message::ConfigState(state)) => Some(state.receipt),
            _ => None,
        }) {
            agent
                .port
                .deliver(to_vehicle::Message::ReportAck(ReportAck { receipts: vec![receipt] }))
                .unwrap();
        }
        while agent.port.feed().next_report().is_some() {
            tokio::task::yield_now().await;
        }
        agent.kill();
    }
}

#[tokio::test]
async fn a_bundle_arrives_in_parts_that_make_one_document() {
    let gateway = Gateway::new("");
    let agent = gateway.start(&[]);
    agent.send("d", Action::Diagnostics(avl_shared::link::message::Diagnostics {}));
    let parts: Vec<CommandResult> = agent
        .told(1)
        .await
        .into_iter()
        .map(|report| match report.message {
            Some(to_cloud::Message::CommandResult(result)) => result,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(parts.len(), parts[0].parts as usize);
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.payload.clone()).collect();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(document["vehicle"], "demo/van-1");
    agent.kill();
}

#[tokio::test(start_paused = true)]
async fn an_old_fix_is_not_given_out_while_a_new_one_may_come() {
    let ages = |ages: &[Option<u64>]| TestHands(Mutex::new(ages.iter().rev().copied().collect()));
    let fresh = locate(&ages(&[None, Some(60_000), Some(3)])).await.unwrap();
    assert_eq!(fresh.age_ms, 3);
    let none = locate(&ages(&[])).await.unwrap_err();
    assert!(none.contains("antenna"), "{none}");
}
