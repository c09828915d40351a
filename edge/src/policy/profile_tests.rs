use super::*;
use avl_shared::fix::{Decimal, Verdict};
use proptest::prelude::*;

fn fix(north_m: i64, knots_tenths: i64) -> Fix {
    Fix {
        time: Some(0),
        latitude: Some(Decimal::new(north_m * 1000 / 1852, 3)),
        longitude: Some(Decimal::new(0, 3)),
        speed: Some(Decimal::new(knots_tenths, 1)),
        quality: Quality::Gps,
        ..Fix::default()
    }
}

struct Drive {
    machine: ProfileMachine,
    start: Instant,
    second: u64,
    night: bool,
}

impl Drive {
    fn new() -> Self {
        let start = Instant::now();
        Self { machine: ProfileMachine::new(start), start, second: 0, night: false }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.second)
    }

    /// So many seconds of fixes at one place.
    fn stay(&mut self, seconds: u64) -> Profile {
        for _ in 0..seconds {
            self.see(&fix(0, 2));
        }
        self.profile()
    }

    fn see(&mut self, fix: &Fix) {
        self.second += 1;
        let now = self.now();
        self.machine.fix(fix, now);
        self.profile();
    }

    fn ignition(&mut self, on: bool) {
        let now = self.now();
        self.machine.ignition(Some(on), now);
    }

    fn profile(&mut self) -> Profile {
        let now = self.now();
        self.machine.profile(now, self.night)
    }
}

#[test]
fn a_traffic_light_does_not_change_it_a_delivery_does() {
    let mut drive = Drive::new();
    assert_eq!(drive.stay(179), Profile::Moving);
    assert_eq!(drive.stay(1), Profile::Stopped);
    drive.see(&fix(0, 40));
    assert_eq!(drive.profile(), Profile::Stopped, "one wild speed");
    drive.see(&fix(0, 40));
    assert_eq!(drive.profile(), Profile::Moving);
}

#[test]
fn without_ignition_ten_minutes_at_rest_are_parked_and_the_night_needs_its_hours() {
    let mut drive = Drive::new();
    assert_eq!(drive.stay(599), Profile::Stopped);
    assert_eq!(drive.stay(1), Profile::Parked);
    drive.night = true;
    assert_eq!(drive.profile(), Profile::Night);
    drive.night = false;
    assert_eq!(drive.profile(), Profile::Parked);
}

#[test]
fn an_idling_engine_is_never_parked_and_switching_it_off_is() {
    let mut drive = Drive::new();
    drive.ignition(true);
    assert_eq!(drive.stay(3000), Profile::Stopped);
    drive.ignition(false);
    assert_eq!(drive.profile(), Profile::Parked);
    drive.ignition(true);
    assert_eq!(drive.profile(), Profile::Moving, "about to drive");
}

#[test]
fn switching_off_while_moving_parks_once_it_stands_still() {
    let mut drive = Drive::new();
    drive.see(&fix(0, 100));
    drive.see(&fix(0, 100));
    drive.ignition(false);
    assert_eq!(drive.profile(), Profile::Moving);
    assert_eq!(drive.machine.next_change(), Some(drive.now() + IGNITION_OFF_STILL));
    assert_eq!(drive.stay(5), Profile::Parked);
}

#[test]
fn a_vehicle_that_is_towed_moves_by_its_displacement() {
    let mut drive = Drive::new();
    drive.ignition(false);
    assert_eq!(drive.stay(60), Profile::Parked);
    drive.see(&fix(90, 2));
    assert_eq!(drive.profile(), Profile::Parked, "drift");
    drive.see(&fix(150, 2));
    assert_eq!(drive.profile(), Profile::Moving);
}

#[test]
fn time_alone_parks_a_vehicle_in_a_garage() {
    let mut drive = Drive::new();
    drive.see(&fix(0, 100));
    for profile in [Profile::Stopped, Profile::Parked] {
        let at = drive.machine.next_change().unwrap();
        drive.second = (at - drive.start).as_secs();
        assert_eq!(drive.profile(), profile);
    }
    assert_eq!(drive.machine.next_change(), None);
}

#[test]
fn a_doubted_fix_wakes_nobody() {
    let mut drive = Drive::new();
    drive.stay(700);
    for _ in 0..5 {
        drive.see(&Fix { verdict: Verdict::TELEPORT, ..fix(90_000, 900) });
    }
    assert_eq!(drive.profile(), Profile::Parked);
}

proptest! {
    /// Whatever happens: a vehicle that drives is moving within two fixes, and the next change lies ahead and is one.
    #[test]
    fn driving_is_noticed_from_any_state(
        events in prop::collection::vec((0..400_u64, -300_i64..300, 0..50_i64, 0..4_u8, any::<bool>()), 0..60),
    ) {
        let mut drive = Drive::new();
        for (pause, north, speed, switch, night) in events {
            drive.second += pause;
            drive.night = night;
            if switch < 2 {
                drive.ignition(switch == 1);
            }
            drive.see(&fix(north, speed));
            let profile = drive.profile();
            prop_assert_eq!(profile, drive.profile(), "asking changes nothing");
            if let Some(at) = drive.machine.next_change() {
                prop_assert!(at > drive.now());
                let mut later = drive.machine.clone();
                prop_assert_ne!(later.profile(at, night), profile);
            }
        }
        drive.see(&fix(0, 200));
        drive.see(&fix(0, 200));
        prop_assert_eq!(drive.profile(), Profile::Moving);
    }
}
