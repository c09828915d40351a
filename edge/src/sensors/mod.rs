//! What is wired to the gateway beside the receiver: ignition, digital inputs, and how far the vehicle has driven.
//!
//! [`run`] watches the lines and sends every change of [`Levels`]; it promises to outlive its chip: a missing, busy or
//! unplugged one is reported, tried again, and never ends the agent. [`Odometer`] turns fixes or wheel pulses into
//! metres that never decrease. What a change means for recording and sending is decided by
//! [`policy`](crate::policy), not here.

mod config;
mod gpio;
mod levels;
mod odometer;
mod simulated;
mod view;
mod watch;

pub use config::{InputConfig, LineConfig, OdometerConfig, OdometerSource, SensorsConfig, SensorsError};
pub use levels::{IGNITION, Levels, Pulses};
pub use odometer::{Odometer, OdometerFile};
pub use view::{BackendState, InputView, SensorsView};
pub use watch::run;
