use super::*;
use proptest::prelude::*;

fn layer(version: u64) -> Layer {
    Layer { version, toml: format!("uplink.latency = '{version}s'") }
}

fn version_in_use(state: &RemoteConfig) -> Option<u64> {
    state.in_use().map(|layer| layer.version)
}

#[test]
fn a_configuration_is_used_on_trial_and_stays_when_the_cloud_welcomes_the_vehicle() {
    let mut state = RemoteConfig::default();
    assert_eq!(state.judge(1), Offer::New);
    state.try_out(layer(1));
    assert_eq!(state.judge(1), Offer::OnTrial);
    assert_eq!(state.begin(), Start::OnTrial);
    assert_eq!(version_in_use(&state), Some(1));
    assert_eq!(state.confirm().map(|settled| settled.outcome), Some(Outcome::Applied));
    assert_eq!(state.confirm(), None, "once");
    assert_eq!(state.begin(), Start::Settled);
    assert!(matches!(state.judge(1), Offer::Settled(Settled { outcome: Outcome::Applied, .. })));
}

#[test]
fn without_a_welcome_the_one_before_it_is_in_use_again() {
    let mut state = RemoteConfig::default();
    state.try_out(layer(1));
    state.begin();
    state.confirm();
    state.try_out(layer(2));
    assert_eq!(state.begin(), Start::OnTrial);
    let settled = state.roll_back("no connection within 600 s").unwrap();
    assert_eq!((settled.version, settled.outcome), (2, Outcome::RolledBack));
    assert!(settled.detail.contains("600 s") && settled.detail.contains("version 1"), "{}", settled.detail);
    assert_eq!(version_in_use(&state), Some(1));
    assert_eq!(state.judge(2), Offer::Settled(settled), "it is not tried again by itself");
    assert_eq!(state.judge(3), Offer::New);
}

#[test]
fn an_agent_that_dies_under_a_configuration_is_rid_of_it_after_some_starts() {
    let mut state = RemoteConfig::default();
    state.try_out(layer(1));
    for _ in 0..MAX_STARTS {
        assert_eq!(state.begin(), Start::OnTrial);
    }
    assert!(matches!(
        state.begin(),
        Start::GivenUp(Settled { version: 1, outcome: Outcome::RolledBack, .. })
    ));
    assert_eq!(state.in_use(), None);
    assert_eq!(state.begin(), Start::Settled);
}

#[test]
fn an_empty_configuration_takes_the_layer_away() {
    let mut state = RemoteConfig::default();
    state.try_out(layer(1));
    state.confirm();
    state.try_out(Layer { version: 2, toml: " \n".to_owned() });
    state.begin();
    state.confirm();
    assert_eq!(state.in_use(), None);
}

#[derive(Clone, Debug)]
enum Event {
    Offer { version: u64, usable: bool },
    Start,
    Welcome,
    TimeOver,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1_u64..6, any::<bool>()).prop_map(|(version, usable)| Event::Offer { version, usable }),
        Just(Event::Start),
        Just(Event::Welcome),
        Just(Event::TimeOver),
    ]
}

proptest! {
    /// Every state that is written is one that the power may be cut in: whatever happened before, and wherever the state
    /// that a start reads was written, an agent that never reaches the cloud is back at the last confirmed configuration
    /// after at most `MAX_STARTS` + 1 starts, and one that does reach it keeps what it has.
    #[test]
    fn from_every_state_the_way_back_is_short(events in prop::collection::vec(event(), 0..40)) {
        let mut state = RemoteConfig::default();
        let mut confirmed: Option<u64> = None;
        let mut tried: Option<u64> = None;
        for event in events {
            // What is on disk is all that survives.
            state = serde_json::from_slice(&serde_json::to_vec(&state).unwrap()).unwrap();
            match event {
                Event::Offer { version, usable } => if state.judge(version) == Offer::New {
                    if usable {
                        state.try_out(layer(version));
                        tried = Some(version);
                    } else {
                        state.reject(version, "bad".to_owned());
                    }
                },
                Event::Start => { if matches!(state.begin(), Start::GivenUp(_)) { tried = None; } }
                Event::Welcome => if state.confirm().is_some() { confirmed = tried.take(); },
                Event::TimeOver => if state.roll_back("time is over").is_some() { tried = None; },
            }
            prop_assert_eq!(version_in_use(&state), tried.or(confirmed));

            let mut lost = state.clone();
            let mut starts = 0;
            while lost.begin() == Start::OnTrial {
                starts += 1;
            }
            prop_assert!(starts <= MAX_STARTS);
            prop_assert_eq!(version_in_use(&lost), confirmed);

            let mut welcomed = state.clone();
            if welcomed.begin() == Start::OnTrial {
                let kept = version_in_use(&welcomed);
                welcomed.confirm();
                for _ in 0..10 {
                    prop_assert_eq!(welcomed.begin(), Start::Settled);
                }
                prop_assert_eq!(version_in_use(&welcomed), kept);
            }
        }
    }
}
