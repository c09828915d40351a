use std::fs;
use std::time::Duration;

use super::*;
use crate::control::configuration::{Layer, MAX_STARTS};

struct Gateway {
    temp: tempfile::TempDir,
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

    fn start(&self) -> (Config, Startup) {
        prepare(&self.temp.path().join("gateway.toml"), LogRing::default()).unwrap()
    }

    fn set(&self, change: impl FnOnce(&mut RemoteConfig)) {
        let path = Files::new(&self.temp.path().join("state")).configuration();
        let mut remote = durable::read_json(&path);
        change(&mut remote);
        durable::write_json(&path, &remote).unwrap();
    }

    fn offer(&self, toml: &str) {
        self.set(|remote| remote.try_out(Layer { version: 7, toml: toml.to_owned() }));
    }
}

fn told(startup: &Startup) -> Vec<(u64, i32, String)> {
    let mut feed = startup.reports().feed();
    std::iter::from_fn(|| feed.next_report())
        .filter_map(|report| match report.message {
            Some(to_cloud::Message::ConfigState(state)) => Some((state.version, state.outcome, state.detail)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_candidate_is_used_from_its_first_start_and_dropped_after_the_last_without_a_welcome() {
    let gateway = Gateway::new("");
    assert_eq!(gateway.start().1.config_version(), 0);
    gateway.offer("uplink.latency = '60s'");
    for _ in 0..MAX_STARTS {
        let (config, startup) = gateway.start();
        assert_eq!((config.uplink.latency, startup.config_version()), (Duration::from_secs(60), 7));
    }
    let (config, startup) = gateway.start();
    assert_eq!((config.uplink.latency, startup.config_version()), (Duration::from_secs(25), 0));
    let told = told(&startup);
    assert_eq!(
        (told.len(), told[0].0, told[0].1),
        (1, 7, avl_shared::link::ConfigOutcome::RolledBack.into())
    );
    assert_eq!(self::told(&gateway.start().1), told, "told until the cloud has it, and decided once");
}

#[test]
fn a_candidate_that_does_not_fit_the_gateways_file_any_more_does_not_stop_the_agent() {
    let gateway = Gateway::new("");
    gateway.offer("uplink.latency = 'soon'");
    let (config, startup) = gateway.start();
    assert_eq!(config.uplink.latency, Duration::from_secs(25));
    assert!(told(&startup)[0].2.contains("uplink.latency"), "{:?}", told(&startup));
}

#[test]
fn a_confirmed_configuration_is_left_out_when_the_gateways_file_forbids_it() {
    let gateway = Gateway::new("[control]\nremote_keys = ['uplink.ack_interval']\n");
    gateway.offer("uplink.latency = '60s'");
    gateway.set(|remote| {
        remote.confirm();
    });
    let (config, _) = gateway.start();
    assert_eq!(config.uplink.latency, Duration::from_secs(25));
}

#[test]
fn a_reporting_that_is_over_is_gone() {
    let gateway = Gateway::new("");
    let path = Files::new(&gateway.temp.path().join("state")).reporting();
    let set = |until_ms| {
        durable::write_json(&path, &Reporting { toml: "uplink.latency = '1s'".to_owned(), until_ms })
            .unwrap();
        gateway.start().0.uplink.latency
    };
    assert_eq!(set(None), Duration::from_secs(1));
    assert_eq!(set(Some(i64::MAX)), Duration::from_secs(1));
    assert_eq!(set(Some(1)), Duration::from_secs(25));
}
