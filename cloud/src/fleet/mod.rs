//! The fleet's trust: the built-in certificate authority, the endpoints that exchange an enrolment token or an old
//! certificate for a new one, and the list of who is revoked.
//!
//! A token admits one vehicle once, within its time. The authority signs what the token or the old certificate says and
//! nothing that a request says about itself. A revocation outlives restarts and reaches open connections within seconds.

pub mod authority;
mod bell;
pub mod broker;
pub mod certificates;
pub mod control;
pub mod database;
pub mod deny;
pub mod enrolment;
mod issuing;
pub mod listener;
mod moving;
mod nonce;
mod problem;
pub mod registry;
pub mod renewal;
pub mod server_identity;
mod settings;
mod storage;
pub mod tls_files;
pub mod tokens;

pub use issuing::Issuing;
pub use moving::{Moved, MovingError, bring_over};
pub use settings::FleetSettings;
pub use storage::StorageError;
pub use tls_files::TlsSettings;

#[cfg(test)]
mod tests;
