//! What is kept of orders and answers, and the rules that hold wherever they are kept.

use std::time::Duration;

use async_trait::async_trait;
use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::link::{
    Command, CommandResult, CommandState, ConfigOutcome, ConfigState, MAX_CONFIGURATION_BYTES,
    MAX_RESULT_BYTES, RESULT_PART_BYTES, command, message,
};
use figment::Provider;
use figment::providers::{Format, Toml};

use super::releases::Release;
use super::{Action, ControlError, new_id};
use crate::fleet::bell::Bell;

/// Orders that may wait for one vehicle. They are all sent at once when it connects.
pub(super) const MAX_WAITING: u32 = 32;
/// Commands kept for each vehicle, with their results: a bundle of each would be 25 MB.
pub(super) const MAX_KEPT: u32 = 100;
const MAX_DETAIL_CHARS: usize = 2000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRecord {
    pub id: String,
    pub action: String,
    /// waiting, sent, accepted, done, failed, refused or expired.
    pub state: String,
    pub detail: String,
    pub created_at: UtcMillis,
    pub expires_at: UtcMillis,
    pub updated_at: UtcMillis,
    /// Bytes of its result that have arrived.
    pub result_bytes: u64,
    pub media_type: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRecord {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationRecord {
    pub version: u64,
    pub toml: String,
    /// waiting, sent, applied, rejected or rolled_back.
    pub state: String,
    pub detail: String,
    pub created_at: UtcMillis,
    pub updated_at: UtcMillis,
}

/// Highest numbers seen of (commands, configurations).
pub(crate) type Seen = (i64, i64);
/// A configuration's version, its text, and whether it was applied.
pub(crate) type Wanted = (u64, String, bool);

/// Where orders and answers are kept.
#[async_trait]
pub(crate) trait OrderTable: Send + Sync {
    async fn order(
        &self,
        vehicle: &VehicleKey,
        action: &Action,
        life: Duration,
        now: UtcMillis,
    ) -> Result<CommandRecord, ControlError>;

    async fn configure(
        &self,
        vehicle: &VehicleKey,
        toml: &str,
        now: UtcMillis,
    ) -> Result<ConfigurationRecord, ControlError>;

    /// The newest first.
    async fn commands(&self, vehicle: &VehicleKey, limit: u32) -> Result<Vec<CommandRecord>, ControlError>;

    async fn command(&self, vehicle: &VehicleKey, id: &str) -> Result<CommandRecord, ControlError>;

    async fn result(&self, vehicle: &VehicleKey, id: &str) -> Result<Option<ResultRecord>, ControlError>;

    async fn configuration(&self, vehicle: &VehicleKey) -> Result<Option<ConfigurationRecord>, ControlError>;

    /// Everything that a new connection is sent, in the order in which it was given. The vehicle is known from then on.
    async fn open_orders(
        &self,
        vehicle: &VehicleKey,
        now: UtcMillis,
    ) -> Result<(Vec<Command>, Option<Wanted>), ControlError>;

    async fn sent(
        &self,
        vehicle: &VehicleKey,
        commands: Vec<String>,
        config_version: u64,
        now: UtcMillis,
    ) -> Result<(), ControlError>;

    /// A result for a command that nobody gave, or a part beyond the bound, changes nothing. What was final stays.
    async fn take_result(
        &self,
        vehicle: &VehicleKey,
        result: CommandResult,
        now: UtcMillis,
    ) -> Result<(), ControlError>;

    async fn take_config_state(
        &self,
        vehicle: &VehicleKey,
        state: ConfigState,
        now: UtcMillis,
    ) -> Result<(), ControlError>;

    /// Vehicles with orders that came since `seen`, none of them left out; commands whose time is over end.
    async fn fresh(
        &self,
        seen: Option<Seen>,
        now: UtcMillis,
    ) -> Result<(Vec<VehicleKey>, Seen), ControlError>;

    /// Rings when there may be fresh ones.
    fn bell(&self) -> Bell {
        Bell::silent()
    }
}

/// A new order, ready to be written. `release` is what an update installs.
pub(super) fn new_order(
    action: &Action,
    release: Option<Release>,
    life: Duration,
    now: UtcMillis,
) -> Result<Command, ControlError> {
    let message = match (action, release) {
        (Action::Update { .. }, Some(Release { manifest, signature })) => {
            command::Action::Update(message::Update { manifest, signature, port: 0 })
        }
        (other, _) => other.message().ok_or(ControlError::Stopped)?,
    };
    let expires_ms = now.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX / 2));
    Ok(Command { id: new_id(now), expires_ms, action: Some(message) })
}

/// What is written of an answer, within bounds.
pub(super) struct Answer {
    pub(super) state: &'static str,
    pub(super) detail: String,
    pub(super) media_type: String,
    /// Where the part goes, if it carries anything.
    pub(super) part: Option<(i32, Vec<u8>)>,
}

impl Answer {
    /// `None` for one whose state is not known here.
    pub(super) fn of(vehicle: &VehicleKey, result: CommandResult) -> Option<Self> {
        let state = CommandState::try_from(result.state).unwrap_or_default();
        if state == CommandState::Unspecified {
            tracing::warn!(%vehicle, id = result.id, "a result without a state that is known here: dropped");
            return None;
        }
        let fits = (result.part as usize) < MAX_RESULT_BYTES / RESULT_PART_BYTES
            && (1..=RESULT_PART_BYTES).contains(&result.payload.len());
        let part = if fits { i32::try_from(result.part).ok() } else { None };
        Some(Self {
            state: state.name(),
            detail: bounded(&result.detail),
            media_type: result.media_type.chars().filter(char::is_ascii_graphic).take(100).collect(),
            part: part.map(|part| (part, result.payload)),
        })
    }
}

/// State, detail and version of a configuration's outcome; `None` for one that is not known here.
pub(super) fn outcome(state: &ConfigState) -> Option<(&'static str, String, i64)> {
    let outcome = ConfigOutcome::try_from(state.outcome).unwrap_or_default();
    let version = i64::try_from(state.version).unwrap_or(i64::MAX);
    (outcome != ConfigOutcome::Unspecified).then(|| (outcome.name(), bounded(&state.detail), version))
}

/// No NUL, which PostgreSQL's text cannot hold.
fn bounded(detail: &str) -> String {
    detail.chars().filter(|&letter| letter != '\0').take(MAX_DETAIL_CHARS).collect()
}

/// What of the newest configuration its vehicle should be told.
pub(super) fn wanted(version: u64, toml: String, state: &str) -> Option<Wanted> {
    match state {
        "waiting" | "sent" => Some((version, toml, false)),
        "applied" => Some((version, toml, true)),
        // The vehicle will not have it: that is for a person to see.
        _ => None,
    }
}

pub(super) fn unknown_command(vehicle: &VehicleKey, id: &str) -> ControlError {
    ControlError::UnknownCommand { vehicle: vehicle.clone(), id: id.chars().take(80).collect() }
}

/// Only the vehicle knows which keys it allows; what is no TOML at all is told to whoever wrote it.
pub(super) fn check_toml(toml: &str) -> Result<(), ControlError> {
    if toml.len() > MAX_CONFIGURATION_BYTES {
        let cause = format!(
            "the configuration has {} bytes, the limit is {MAX_CONFIGURATION_BYTES}: give only the keys that differ",
            toml.len()
        );
        return Err(ControlError::BadConfiguration(cause));
    }
    Toml::string(toml).data().map(drop).map_err(|error| {
        ControlError::BadConfiguration(format!("the configuration is not TOML ({error}): correct it"))
    })
}
