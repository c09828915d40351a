//! Which version runs: the one that has proven itself, or one on trial. Pure: whoever calls makes each new state durable
//! before acting on it.

use avl_shared::release::Version;
use serde::{Deserialize, Serialize};

use super::gate::Expectation;

/// A vehicle may be switched off and on during a trial; a program that cannot run fails at once.
pub const MAX_STARTS: u32 = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The program that was installed with the system: always there, never updated from afar.
    #[default]
    Package,
    A,
    B,
}

impl Slot {
    #[must_use]
    pub const fn folder(self) -> Option<&'static str> {
        match self {
            Self::Package => None,
            Self::A => Some("a"),
            Self::B => Some("b"),
        }
    }
}

/// A version in its slot. The package's program knows its own version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    pub slot: Slot,
    pub version: Option<Version>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub installed: Installed,
    /// The command that ordered it.
    pub command: String,
    pub starts: u32,
    pub expected: Expectation,
}

impl Trial {
    #[must_use]
    pub fn new(slot: Slot, version: Version, command: &str, expected: Expectation) -> Self {
        let installed = Installed { slot, version: Some(version) };
        Self { installed, command: command.to_owned(), starts: 0, expected }
    }
}

/// How a trial ended; kept until the cloud is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub command: String,
    pub version: Option<Version>,
    pub applied: bool,
    pub detail: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slots {
    current: Installed,
    trial: Option<Trial>,
    finished: Option<Finished>,
}

/// What the launcher is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub installed: Installed,
    pub on_trial: bool,
}

impl Slots {
    /// What runs, or runs next.
    #[must_use]
    pub fn running(&self) -> Installed {
        self.trial.as_ref().map_or(self.current, |trial| trial.installed)
    }

    #[must_use]
    pub const fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    #[must_use]
    pub const fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref()
    }

    /// The slot for the next version: never the one in use.
    #[must_use]
    pub fn spare(&self) -> Slot {
        if self.current.slot == Slot::A { Slot::B } else { Slot::A }
    }

    /// The next start is the new version's.
    pub fn try_out(&mut self, trial: Trial) {
        debug_assert!(trial.installed.slot != self.current.slot, "the slot in use is never written");
        self.trial = Some(trial);
        self.finished = None;
    }

    /// The launcher starts a program. To be durable before it does. `own` is the launcher's version, that of the package.
    pub fn begin(&mut self, own: Version) -> Start {
        if self.trial.as_ref().is_some_and(|trial| trial.starts >= MAX_STARTS) {
            self.roll_back(&format!("it was started {MAX_STARTS} times and did not prove itself"));
        }
        // Somebody installed a newer package: that is what is wanted now.
        if self.current.version.is_some_and(|version| version <= own) {
            self.current = Installed::default();
        }
        match &mut self.trial {
            Some(trial) => {
                trial.starts += 1;
                Start { installed: trial.installed, on_trial: true }
            }
            None => Start { installed: self.current, on_trial: false },
        }
    }

    /// The version on trial has proven itself.
    pub fn confirm(&mut self) {
        if let Some(trial) = self.trial.take() {
            self.current = trial.installed;
            let detail = "the new version runs, reached the cloud and holds what the old one held".to_owned();
            self.finish(trial, true, detail);
        }
    }

    /// The version on trial is dropped; the one before it is in use again.
    pub fn roll_back(&mut self, cause: &str) {
        if let Some(trial) = self.trial.take() {
            self.finish(trial, false, format!("taken back, the version before it is in use again: {cause}"));
        }
    }

    /// A confirmed version cannot be started any more: back to the package's.
    pub fn abandon_current(&mut self) {
        self.current = Installed::default();
    }

    /// The cloud is told.
    pub fn told(&mut self) {
        self.finished = None;
    }

    fn finish(&mut self, trial: Trial, applied: bool, detail: String) {
        let version = trial.installed.version;
        self.finished = Some(Finished { command: trial.command, version, applied, detail });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: Version = Version { major: 1, minor: 0, patch: 0 };

    fn trial(slots: &Slots, minor: u32) -> Trial {
        Trial::new(slots.spare(), Version { major: 1, minor, patch: 0 }, "id", Expectation::default())
    }

    fn start(slots: &mut Slots) -> (Slot, bool) {
        let start = slots.begin(OWN);
        (start.installed.slot, start.on_trial)
    }

    #[test]
    fn versions_alternate_between_the_slots_and_the_one_in_use_is_never_written() {
        let mut slots = Slots::default();
        assert_eq!(start(&mut slots), (Slot::Package, false));
        for (minor, slot) in [(1, Slot::A), (2, Slot::B), (3, Slot::A)] {
            slots.try_out(trial(&slots, minor));
            assert_eq!(start(&mut slots), (slot, true));
            slots.confirm();
            assert!(slots.finished().is_some_and(|finished| finished.applied));
            slots.told();
            assert_eq!(start(&mut slots), (slot, false));
        }
    }

    #[test]
    fn a_program_that_cannot_run_is_taken_back_after_some_starts() {
        let mut slots = Slots::default();
        slots.try_out(trial(&slots, 1));
        for _ in 0..MAX_STARTS {
            assert_eq!(start(&mut slots), (Slot::A, true));
        }
        assert_eq!(start(&mut slots), (Slot::Package, false));
        let finished = slots.finished().unwrap();
        assert!(!finished.applied && finished.detail.contains("3 times"), "{finished:?}");
    }

    #[test]
    fn a_newer_package_takes_over_from_an_older_slot() {
        let mut slots = Slots::default();
        slots.try_out(trial(&slots, 1));
        slots.begin(OWN);
        slots.confirm();
        let newer = Version { major: 1, minor: 2, patch: 0 };
        assert_eq!(slots.begin(newer).installed.slot, Slot::Package);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Order(u32),
        Start,
        Prove,
        GiveUp,
        Told,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1_u32..9).prop_map(Event::Order),
            Just(Event::Start),
            Just(Event::Prove),
            Just(Event::GiveUp),
            Just(Event::Told)
        ]
    }

    proptest! {
        /// Each state that is written is one that the power may be cut in. From every one of them: a version that never
        /// proves itself is gone after at most `MAX_STARTS` starts, the one that last did is in use, its slot was not
        /// written, and how the trial ended is known until it is told.
        #[test]
        fn from_every_state_the_last_proven_version_comes_back(events in prop::collection::vec(event(), 0..40)) {
            let mut slots = Slots::default();
            let mut proven = Installed::default();
            for event in events {
                slots = serde_json::from_slice(&serde_json::to_vec(&slots).unwrap()).unwrap();
                match event {
                    Event::Order(minor) => if slots.trial().is_none() {
                        let trial = trial(&slots, minor);
                        prop_assert_ne!(trial.installed.slot, proven.slot);
                        slots.try_out(trial);
                    },
                    Event::Start => { slots.begin(OWN); }
                    Event::Prove => {
                        if let Some(trial) = slots.trial() { proven = trial.installed; }
                        slots.confirm();
                    }
                    Event::GiveUp => slots.roll_back("test"),
                    Event::Told => slots.told(),
                }
                let mut failing = slots.clone();
                let was_on_trial = failing.trial().is_some();
                let mut starts = 0;
                while failing.begin(OWN).on_trial {
                    starts += 1;
                }
                prop_assert!(starts <= MAX_STARTS);
                prop_assert_eq!(failing.running(), proven);
                prop_assert!(!was_on_trial || failing.finished().is_some_and(|finished| !finished.applied));
            }
        }
    }
}
