//! What the sensors show of themselves.

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SensorsView {
    pub backend: BackendState,
    /// `None` when it is not wired, or not known.
    pub ignition: Option<bool>,
    pub inputs: Vec<InputView>,
    pub odometer_m: Option<u64>,
    /// Changes of any input since the agent started.
    pub changes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputView {
    pub name: String,
    pub on: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BackendState {
    /// No line is configured.
    #[default]
    NotWired,
    Starting,
    Watching,
    /// The chip or file cannot be used; tried again.
    Absent {
        cause: String,
    },
}
