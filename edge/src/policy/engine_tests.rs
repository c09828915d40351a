use super::*;
use crate::receiver;
use avl_shared::fix::{Decimal, FixMode};
use figment::Figment;
use figment::providers::{Format, Toml};

struct World {
    engine: Engine,
    now: Instant,
    second: i64,
}

impl World {
    fn new(report: &str) -> Self {
        let settings = EngineSettings {
            report: Figment::from(Toml::string(report)).extract().unwrap(),
            moving_latency: Duration::from_secs(25),
            // Ignition and input 2; input 1 can wait.
            at_once_bits: 0b101,
            ignition_wired: true,
        };
        let now = Instant::now();
        Self { engine: Engine::new(settings, now), now, second: 0 }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.second += seconds.cast_signed();
    }

    fn fix(&mut self, north_m: i64) -> Outcome {
        self.pass(1);
        let fix = Fix {
            time: Some(self.second * 1000),
            latitude: Some(Decimal::new(52 * 60_000 + north_m * 1000 / 1852, 3)),
            longitude: Some(Decimal::new(13 * 60_000, 3)),
            speed: Some(Decimal::new(20, 0)),
            quality: Quality::Gps,
            ..Fix::default()
        };
        self.engine.fix(Observed { fix, ..Observed::default() }, None, self.now, false)
    }

    fn levels(&mut self, levels: Levels) -> Outcome {
        self.engine.levels(levels, None, self.now, false)
    }
}

fn kept(outcome: &Outcome) -> Vec<Fix> {
    let kept = |choice: &Choice| match choice {
        Choice::Keep(observed) => Some(observed.fix.clone()),
        Choice::Withhold(_) => None,
    };
    outcome.choices.iter().filter_map(kept).collect()
}

#[test]
fn every_fix_carries_the_inputs_of_its_moment() {
    let mut world = World::new("");
    assert_eq!(kept(&world.fix(0))[0].inputs, None);
    assert_eq!(world.levels(Some(1)), Outcome::default(), "becoming known is no change");
    assert_eq!(kept(&world.fix(10))[0].inputs, Some(1));
    assert_eq!(world.levels(None), Outcome::default(), "becoming unknown is none either");
    assert_eq!(kept(&world.fix(20))[0].inputs, None);
}

#[test]
fn a_change_is_a_fix_of_its_own_at_the_newest_position_under_that_positions_time() {
    let mut world = World::new("");
    world.levels(Some(0));
    let newest = kept(&world.fix(0)).remove(0);
    world.pass(3);
    let outcome = world.levels(Some(0b100));
    assert_eq!(kept(&outcome), [Fix { inputs: Some(0b100), ..newest }]);
    assert_eq!(outcome.at_once, Some(Why::Input { on: 0b100, off: 0 }));
}

#[test]
fn a_change_far_from_the_last_position_claims_none() {
    let mut world = World::new("");
    world.levels(Some(0));
    world.fix(0);
    world.pass(11);
    let event = kept(&world.levels(Some(1))).remove(0);
    assert_eq!((event.latitude, event.quality, event.verdict), (None, Quality::NoFix, Verdict::NO_FIX));
    assert_eq!(event.time, Some(12_000), "the time goes on with the gateway's clock");

    let mut never = World::new("");
    never.levels(Some(0));
    let event = kept(&never.levels(Some(1))).remove(0);
    assert_eq!((event.time, event.verdict), (None, Verdict::NO_FIX | Verdict::NO_TIME));
}

#[test]
fn an_input_that_can_wait_is_recorded_at_once_and_sent_with_the_others() {
    let mut world = World::new("");
    world.levels(Some(1));
    world.fix(0);
    let outcome = world.levels(Some(0b011));
    assert_eq!((kept(&outcome).len(), outcome.at_once), (1, None));
}

#[test]
fn crossing_a_fence_decides_what_is_undecided_and_sends_it() {
    let mut world = World::new(
        "thinning = { error_m = 10 }\ngeofences = [{ name = 'depot', centre = [52.0, 13.0], radius_m = 200 }]",
    );
    world.fix(0);
    for north in (10..=210).step_by(10) {
        assert_eq!(world.fix(north), Outcome::default(), "{north}");
    }
    let outcome = world.fix(230);
    assert!(matches!(&outcome.at_once, Some(Why::Crossed(crossings)) if !crossings[0].entered));
    assert_eq!(outcome.at_once.unwrap().to_string(), "left depot");
    assert_eq!(kept(&Outcome { at_once: None, choices: outcome.choices }).last().unwrap().time, Some(23_000));
}

#[test]
fn coming_to_park_sends_what_there_is_and_lets_the_link_lapse() {
    let mut world = World::new("");
    world.levels(Some(1));
    world.fix(0);
    world.fix(20);
    assert!(world.engine.terms().stay_connected);
    let off = world.levels(Some(0));
    assert!(matches!(off.at_once, Some(Why::Input { off: 1, .. })));
    world.now = world.engine.next_tick().unwrap();
    let outcome = world.engine.tick(world.now, false);
    assert_eq!(outcome.at_once, Some(Why::Parked));
    assert_eq!((world.engine.profile(), world.engine.terms().stay_connected), (Profile::Parked, false));
    assert_eq!(world.engine.tick(world.now, true).at_once, None, "the night is no other rest");
    assert_eq!(world.engine.profile(), Profile::Night);
}

#[test]
fn who_asks_gets_the_newest_fix_also_while_it_is_undecided() {
    let mut world = World::new("moving = { interval = '60s' }");
    world.fix(0);
    assert_eq!(world.fix(10), Outcome::default());
    let outcome = world.engine.report_now();
    assert_eq!(kept(&outcome)[0].time, Some(2000));
    assert_eq!(outcome.at_once, Some(Why::Asked));
    assert!(world.engine.report_now().choices.is_empty(), "each fix once");
}

#[test]
fn only_the_columns_that_were_asked_for_travel() {
    let extras = receiver::Extras {
        mode: Some(FixMode::TwoD),
        pdop: Some(Decimal::new(21, 1)),
        vdop: Some(Decimal::new(18, 1)),
        satellites_in_view: Some(19),
    };
    let seen = |report: &str| {
        let mut world = World::new(report);
        let observed = Observed { extras, ..Observed::default() };
        let fix = kept(&world.engine.fix(observed, Some(77), world.now, false)).remove(0);
        (fix.vdop, fix.pdop, fix.in_view, fix.mode, fix.odometer)
    };
    assert_eq!(seen(""), (None, None, None, None, Some(77)));
    let all = seen("columns = ['vdop', 'pdop', 'in_view', 'mode']");
    assert_eq!(all, (extras.vdop, extras.pdop, Some(19), Some(FixMode::TwoD), Some(77)));
}
