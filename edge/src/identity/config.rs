//! The `[identity]` section.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// Where the certificate is renewed; by default where this gateway was enrolled.
    pub renew_url: Option<String>,
    /// Where a gateway that is not enrolled looks for an invitation; `*` stands for one folder.
    pub enrolment_files: Vec<PathBuf>,
    /// The key is made and kept in a security module instead of a file.
    pub pkcs11: Option<Pkcs11Config>,
}

/// The `[identity.pkcs11]` section.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Config {
    /// The module's library.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// Holds the user PIN and nothing else; nobody but the agent may read it.
    pub pin_file: PathBuf,
    /// Label of the gateway's keys; each gateway that shares a token needs its own.
    #[serde(default = "default_label")]
    pub label: String,
}

fn default_label() -> String {
    "avl-edge".to_owned()
}

impl Default for IdentityConfig {
    fn default() -> Self {
        // The boot partition of an SD card, which any computer can write; sticks, where desktops and udev rules mount them.
        let files = ["/boot/firmware/avl-enrol.txt", "/boot/avl-enrol.txt", "/media/*/avl-enrol.txt"];
        Self { renew_url: None, enrolment_files: files.map(PathBuf::from).into(), pkcs11: None }
    }
}
