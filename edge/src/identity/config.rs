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
}

impl Default for IdentityConfig {
    fn default() -> Self {
        // The boot partition of an SD card, which any computer can write; sticks, where desktops and udev rules mount them.
        let files = ["/boot/firmware/avl-enrol.txt", "/boot/avl-enrol.txt", "/media/*/avl-enrol.txt"];
        Self { renew_url: None, enrolment_files: files.map(PathBuf::from).into() }
    }
}
