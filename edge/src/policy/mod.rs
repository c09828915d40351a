//! Which fixes are kept, and how soon they travel: what the vehicle does decides, and what happens to it.
//!
//! A fix comes from the source, gets the inputs and the odometer of its moment, and goes to the recorder; [`engine`]
//! decides about it without I/O, [`mod@run`] carries that out. [`profile`] knows moving, stopped, parked and night, and sets
//! the uplink's [`Pace`](crate::uplink::Pace); [`geofence`] and the inputs make the recorder write and the uplink send
//! at once; [`select`] leaves fixes out where an interval or thinning was asked for, and [`history`] keeps those.
//!
//! It promises: unless it is told otherwise every fix is kept; what is left out is within its error and can be recalled;
//! a change of an input is recorded at once, and none of its decisions waits for the link.

mod assemble;
mod config;
pub mod engine;
pub mod geodesy;
pub mod geofence;
pub mod history;
mod meter;
pub mod profile;
mod report_now;
mod run;
pub mod select;
mod view;

pub use assemble::{Assembled, Handles, Remembered, assemble};
pub use config::{Column, HistoryConfig, ReportConfig, ReportError};
pub use engine::EngineSettings;
pub use history::{History, HistoryHandle, RecallError, Recalled};
pub use meter::Meter;
pub use profile::Profile;
pub use report_now::{Ask, NotReported, ReportNow, Reported};
pub use run::{Parts, Streams, run};
pub use view::ReportView;
