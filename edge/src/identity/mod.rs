//! Who this gateway is: its key, its certificate, and the authorities it trusts, in `state_dir/identity/`.
//!
//! [`Keeper`] holds the identity of each moment: it loads it, enrols where an invitation lies, renews, and takes over what
//! changes on flash. [`Access`] is what a transport needs for a connection: that identity and the time to judge
//! certificates by; it also knows why there can be no connection yet, and stays away from a cloud that has revoked
//! the vehicle. The key is made here, in a file or in a security module ([`Keys`]), and never leaves; a power cut leaves the old identity or the new one.

mod access;
mod config;
mod files;
mod keeper;
mod keys;
mod plan;
mod renewal;
mod view;

pub use access::{Access, Pass};
pub use config::{IdentityConfig, Pkcs11Config};
pub use files::{
    Identity, IdentityFiles, StoredIdentityError, create_private, directory, is_enrolled, parse_certificates,
    recover, store,
};
pub use keeper::Keeper;
pub use keys::{KeyError, Keys, NewKey};
pub use renewal::RenewalError;
pub use view::IdentityView;
