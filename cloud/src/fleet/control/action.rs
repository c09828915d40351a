//! What a vehicle can be asked to do, as people and programs write it.

use std::time::Duration;

use avl_shared::fix::UtcMillis;
use avl_shared::link::command;
use avl_shared::link::message::{Diagnostics, LocateNow, Restart, SetReporting, UploadHistory};
use avl_shared::release::Version;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say where it is, at once.
    Locate,
    /// Set how often it reports; nothing set: as it is configured.
    Interval {
        /// `moving`, `stopped`, `parked` or `night`; all when empty.
        profile: String,
        latency: Option<Duration>,
        interval: Option<Duration>,
        /// Until it is set otherwise when `None`.
        until: Option<UtcMillis>,
    },
    /// Upload what was withheld of `from..to`.
    History {
        from: UtcMillis,
        to: UtcMillis,
    },
    /// Send a bundle for whoever investigates.
    Diagnostics,
    Restart,
    /// Install a release that was added before. Without a target: the only one there is of it.
    Update {
        version: Version,
        target: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAction {
    #[error("{name} is longer than 49 days: give a shorter one")]
    TooLong { name: &'static str },
    #[error("the period ends before it starts: give 'from' before 'to'")]
    BackwardPeriod,
    #[error("{0:?} is not a profile: give moving, stopped, parked or night, or none for all")]
    UnknownProfile(String),
}

impl Action {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Locate => "locate",
            Self::Interval { .. } => "interval",
            Self::History { .. } => "history",
            Self::Diagnostics => "diagnostics",
            Self::Restart => "restart",
            Self::Update { .. } => "update",
        }
    }

    /// # Errors
    /// What no vehicle could carry out.
    pub fn validate(&self) -> Result<(), BadAction> {
        match self {
            Self::Interval { profile, latency, interval, .. } => {
                millis("latency", *latency)?;
                millis("interval", *interval)?;
                if ["", "moving", "stopped", "parked", "night"].contains(&profile.as_str()) {
                    Ok(())
                } else {
                    Err(BadAction::UnknownProfile(profile.chars().take(40).collect()))
                }
            }
            Self::History { from, to } if from >= to => Err(BadAction::BackwardPeriod),
            _ => Ok(()),
        }
    }

    /// As it travels; `None` for an update, whose manifest is looked up first.
    pub(super) fn message(&self) -> Option<command::Action> {
        Some(match self {
            Self::Locate => command::Action::LocateNow(LocateNow {}),
            Self::Interval { profile, latency, interval, until } => {
                command::Action::SetReporting(SetReporting {
                    profile: profile.clone(),
                    latency_ms: millis("latency", *latency).unwrap_or_default(),
                    interval_ms: millis("interval", *interval).unwrap_or_default(),
                    until_ms: until.unwrap_or_default(),
                })
            }
            Self::History { from, to } => {
                command::Action::UploadHistory(UploadHistory { from_ms: *from, to_ms: *to })
            }
            Self::Diagnostics => command::Action::Diagnostics(Diagnostics {}),
            Self::Restart => command::Action::Restart(Restart {}),
            Self::Update { .. } => return None,
        })
    }
}

fn millis(name: &'static str, time: Option<Duration>) -> Result<u32, BadAction> {
    let time = time.unwrap_or_default();
    u32::try_from(time.as_millis()).map_err(|_| BadAction::TooLong { name })
}
