//! The remote configuration's way from offer to use: on trial, then confirmed by a connection made under it, or taken
//! back. Pure: whoever calls makes each new state durable before acting on it.
//!
//! What always holds: a configuration that has never been confirmed is dropped after [`MAX_STARTS`] starts of the agent
//! or when its time is over, so no configuration can keep a vehicle away from the cloud for good, whatever crashes or
//! loses its power in between. The one before it is kept until then.

use avl_shared::link::ConfigOutcome;
use serde::{Deserialize, Serialize};

/// A vehicle may be switched off and on during a trial; an agent that dies under a configuration does so at once.
pub const MAX_STARTS: u32 = 3;

/// Keys laid over the gateway's own file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Given by the cloud; from 1.
    pub version: u64,
    pub toml: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteConfig {
    confirmed: Option<Layer>,
    candidate: Option<Candidate>,
    /// What became of the newest one that is decided.
    settled: Option<Settled>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Candidate {
    layer: Layer,
    /// Starts of the agent under it.
    starts: u32,
}

/// What the cloud is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub version: u64,
    pub outcome: Outcome,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Applied,
    Rejected,
    RolledBack,
}

impl From<Outcome> for ConfigOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Rejected => Self::Rejected,
            Outcome::RolledBack => Self::RolledBack,
        }
    }
}

/// What to do with a configuration that the cloud offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Decided before: say so again.
    Settled(Settled),
    /// It is the one on trial: nothing to do.
    OnTrial,
    New,
}

/// What a start of the agent begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The configuration in use is confirmed, or there is none.
    Settled,
    /// It must be confirmed.
    OnTrial,
    /// The trial is over: it was started too often without a connection.
    GivenUp(Settled),
}

impl RemoteConfig {
    /// The layer to use now.
    #[must_use]
    pub fn in_use(&self) -> Option<&Layer> {
        self.candidate.as_ref().map(|candidate| &candidate.layer).or(self.confirmed.as_ref())
    }

    #[must_use]
    pub const fn is_on_trial(&self) -> bool {
        self.candidate.is_some()
    }

    #[must_use]
    pub fn judge(&self, version: u64) -> Offer {
        if self.candidate.as_ref().is_some_and(|candidate| candidate.layer.version == version) {
            return Offer::OnTrial;
        }
        match &self.settled {
            Some(settled) if settled.version == version => Offer::Settled(settled.clone()),
            _ => Offer::New,
        }
    }

    /// Puts a configuration on trial, from the next start on.
    pub fn try_out(&mut self, layer: Layer) {
        self.candidate = Some(Candidate { layer, starts: 0 });
    }

    /// It cannot be used here at all.
    pub fn reject(&mut self, version: u64, detail: String) -> Settled {
        self.settle(version, Outcome::Rejected, detail)
    }

    /// The agent starts. To be durable before the configuration is used.
    pub fn begin(&mut self) -> Start {
        let Some(candidate) = &mut self.candidate else { return Start::Settled };
        if candidate.starts >= MAX_STARTS {
            let cause =
                format!("the agent was started {MAX_STARTS} times under it and never reached the cloud");
            return self.roll_back(&cause).map_or(Start::Settled, Start::GivenUp);
        }
        candidate.starts += 1;
        Start::OnTrial
    }

    /// A connection made under the configuration in use was welcomed. `None` when nothing was on trial.
    pub fn confirm(&mut self) -> Option<Settled> {
        let Candidate { layer, .. } = self.candidate.take()?;
        let version = layer.version;
        self.confirmed = (!layer.toml.trim().is_empty()).then_some(layer);
        Some(self.settle(version, Outcome::Applied, String::new()))
    }

    /// `None` when nothing was on trial.
    pub fn roll_back(&mut self, cause: &str) -> Option<Settled> {
        let Candidate { layer, .. } = self.candidate.take()?;
        let before = match &self.confirmed {
            Some(layer) => format!("version {} is in use again", layer.version),
            None => "the gateway's own file alone is in use again".to_owned(),
        };
        Some(self.settle(layer.version, Outcome::RolledBack, format!("{cause}; {before}")))
    }

    fn settle(&mut self, version: u64, outcome: Outcome, detail: String) -> Settled {
        let settled = Settled { version, outcome, detail };
        self.settled = Some(settled.clone());
        settled
    }
}

#[cfg(test)]
#[path = "configuration_tests.rs"]
mod tests;
