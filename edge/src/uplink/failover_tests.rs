use super::*;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const TIMING: Timing =
    Timing { first_probe: Duration::from_secs(300), longest_probe: Duration::from_secs(3600) };

const PREFERRED_ONLY: &[Way] = &[Way::Preferred];
const BOTH: &[Way] = &[Way::Preferred, Way::StandIn];
const STAND_IN_FIRST: &[Way] = &[Way::StandIn, Way::Preferred];

/// Where only some transports get through.
struct Road {
    choice: Choice,
    now: Instant,
    /// Which one carries the link, and since when.
    link: Option<(Way, Instant)>,
}

impl Road {
    fn new() -> Self {
        Self { choice: Choice::new(TIMING), now: Instant::now(), link: None }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// One round of attempts; says what connected.
    fn connect(&mut self, open: &[Way]) -> Option<Way> {
        for &way in self.choice.attempts(self.now) {
            if open.contains(&way) {
                self.choice.connected(way, self.now);
                self.link = Some((way, self.now));
                return Some(way);
            }
            self.choice.failed(way, self.now);
        }
        None
    }

    fn end(&mut self, ending: Ending) {
        let (way, since) = self.link.take().unwrap();
        self.choice.ended(way, ending, since, self.now);
    }

    /// Waits for the probe; it succeeds where the preferred transport is open. Says how long the wait was.
    fn probe(&mut self, open: bool) -> Duration {
        let at = self.choice.probe_at().expect("no probe is planned");
        let waited = at.saturating_duration_since(self.now);
        self.now = self.now.max(at);
        if open {
            self.choice.connected(Way::Preferred, self.now);
            self.link = Some((Way::Preferred, self.now));
        } else {
            self.choice.failed(Way::Preferred, self.now);
        }
        waited
    }

    fn on_the_stand_in() -> Self {
        let mut road = Self::new();
        assert_eq!(road.connect(&[Way::StandIn]), None);
        assert_eq!(road.connect(&[Way::StandIn]), Some(Way::StandIn));
        road
    }
}

#[test]
fn one_failure_is_no_reason_for_the_stand_in() {
    let mut road = Road::new();
    assert_eq!(road.choice.attempts(road.now), PREFERRED_ONLY);
    road.connect(&[]);
    assert_eq!(road.choice.attempts(road.now), BOTH, "the preferred one is always asked again before");
}

#[test]
fn the_stand_in_is_used_when_it_works_where_the_preferred_one_fails() {
    let mut road = Road::on_the_stand_in();
    road.wait(MINUTE);
    road.end(Ending::Broken);
    assert_eq!(road.choice.attempts(road.now), STAND_IN_FIRST, "what worked is tried first");
}

#[test]
fn a_vehicle_without_any_network_comes_back_on_the_preferred_transport() {
    let mut road = Road::new();
    for _ in 0..50 {
        assert_eq!(road.connect(&[]), None);
        road.wait(MINUTE);
    }
    assert_eq!(road.connect(&[Way::Preferred, Way::StandIn]), Some(Way::Preferred));
}

#[test]
fn a_tunnel_on_the_stand_in_says_nothing_about_the_preferred_one() {
    let mut road = Road::on_the_stand_in();
    let planned = road.choice.probe_at();
    road.end(Ending::Broken);
    for _ in 0..3 {
        assert_eq!(road.connect(&[]), None);
    }
    assert_eq!(road.choice.probe_at(), planned);
}

#[test]
fn probes_become_seldom_up_to_the_longest_wait() {
    let mut road = Road::on_the_stand_in();
    let waits: Vec<_> = (0..6).map(|_| road.probe(false).as_secs() / 60).collect();
    assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
}

#[test]
fn a_successful_probe_ends_the_probing() {
    let mut road = Road::on_the_stand_in();
    road.probe(true);
    assert_eq!(road.choice.probe_at(), None);
    road.wait(TIMING.first_probe);
    road.end(Ending::Broken);
    assert_eq!(road.choice.attempts(road.now), PREFERRED_ONLY, "it has shown that it works");
}

#[test]
fn a_return_that_does_not_last_makes_the_next_one_later() {
    let mut road = Road::on_the_stand_in();
    let mut waits = Vec::new();
    for _ in 0..5 {
        waits.push(road.probe(true).as_secs() / 60);
        road.wait(MINUTE);
        road.end(Ending::Broken);
        assert_eq!(road.connect(&[Way::StandIn]), Some(Way::StandIn), "at once, without a second failure");
    }
    assert_eq!(waits, [5, 10, 20, 40, 60]);
    road.probe(true);
    road.wait(TIMING.first_probe);
    road.end(Ending::Broken);
    road.connect(&[]);
    road.connect(&[Way::StandIn]);
    assert_eq!(road.probe(false), TIMING.first_probe, "a stable period makes good");
}

#[test]
fn connections_that_break_soon_after_their_welcome_are_failures() {
    let mut road = Road::new();
    for _ in 0..2 {
        assert_eq!(road.connect(&[Way::Preferred, Way::StandIn]), Some(Way::Preferred));
        road.wait(MINUTE);
        road.end(Ending::Broken);
    }
    assert_eq!(road.choice.attempts(road.now), BOTH);
}

#[test]
fn short_connections_that_end_as_wanted_are_no_failures() {
    let mut road = Road::new();
    for _ in 0..10 {
        assert_eq!(road.connect(&[Way::Preferred, Way::StandIn]), Some(Way::Preferred));
        road.wait(MINUTE);
        road.end(Ending::Orderly);
    }
    assert_eq!(road.choice.attempts(road.now), PREFERRED_ONLY);
}

#[test]
fn another_network_is_probed_at_once_but_not_all_the_time() {
    let mut road = Road::on_the_stand_in();
    road.wait(MINUTE / 2);
    road.choice.network_changed(road.now);
    assert_eq!(road.probe(false), Duration::ZERO);
    road.wait(MINUTE / 4);
    road.choice.network_changed(road.now);
    assert_eq!(road.probe(false), MINUTE * 3 / 4);
}

#[test]
fn another_network_forgets_the_failures_of_the_last_one() {
    let mut road = Road::new();
    road.connect(&[]);
    road.connect(&[]);
    road.choice.network_changed(road.now);
    assert_eq!(road.choice.attempts(road.now), PREFERRED_ONLY);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Connect { preferred: bool, stand_in: bool },
    End(bool),
    Probe(bool),
    NetworkChanged,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u64..4000).prop_map(Step::Wait),
        (any::<bool>(), any::<bool>())
            .prop_map(|(preferred, stand_in)| Step::Connect { preferred, stand_in }),
        any::<bool>().prop_map(Step::End),
        any::<bool>().prop_map(Step::Probe),
        Just(Step::NetworkChanged),
    ]
}

proptest! {
    /// Whatever happened before: where a transport is open, the link comes up within two rounds; where the preferred one is
    /// open for good, the vehicle is back on it after one probe, and that is at most the longest wait away.
    #[test]
    fn an_open_transport_is_found_and_the_preferred_one_is_returned_to(steps in prop::collection::vec(step(), 0..60)) {
        let mut road = Road::new();
        for step in steps {
            match step {
                Step::Wait(seconds) => road.wait(Duration::from_secs(seconds)),
                Step::Connect { preferred, stand_in } if road.link.is_none() => {
                    let open: Vec<_> = [(Way::Preferred, preferred), (Way::StandIn, stand_in)]
                        .into_iter().filter_map(|(way, open)| open.then_some(way)).collect();
                    road.connect(&open);
                }
                Step::End(orderly) if road.link.is_some() => {
                    road.end(if orderly { Ending::Orderly } else { Ending::Broken });
                }
                Step::Probe(open) if road.choice.probe_at().is_some() && road.link.is_some() => { road.probe(open); }
                Step::NetworkChanged => road.choice.network_changed(road.now),
                _ => {}
            }
            if let Some(at) = road.choice.probe_at() {
                prop_assert!(at <= road.now + TIMING.longest_probe);
            }
            prop_assert!(road.choice.attempts(road.now).contains(&Way::Preferred));
        }
        if road.link.is_none() {
            let mut only_stand_in = Road { choice: road.choice.clone(), now: road.now, link: None };
            let found = only_stand_in.connect(&[Way::StandIn]).or_else(|| only_stand_in.connect(&[Way::StandIn]));
            prop_assert_eq!(found, Some(Way::StandIn));
            road.connect(&[Way::Preferred, Way::StandIn]);
        }
        if road.choice.probe_at().is_some() {
            let waited = road.probe(true);
            prop_assert!(waited <= TIMING.longest_probe);
        }
        prop_assert_eq!(road.link.map(|(way, _)| way), Some(Way::Preferred));
        prop_assert_eq!(road.choice.probe_at(), None);
    }
}
