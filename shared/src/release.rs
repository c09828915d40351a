//! A release of the gateway's agent: what its manifest says, how it is signed, and which vehicles take part in it.
//!
//! A manifest is JSON and is signed as the very bytes that travel, so nobody has to agree on how to write JSON. The key is
//! Ed25519 (RFC 8032); its private half need never be on a server. The manifest names the file by its SHA-256, so the file
//! may come from anywhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::fix::UtcMillis;
use crate::identity::VehicleKey;

/// Where the cloud's HTTPS listener serves release files: this, then the SHA-256 in hexadecimal.
pub const PATH: &str = "/release/v1/";
/// A manifest has some 300 bytes.
pub const MAX_MANIFEST_BYTES: usize = 4096;
pub const PUBLIC_KEY_BYTES: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub version: Version,
    /// The platform that the file runs on, as Rust names it: `aarch64-unknown-linux-musl`.
    pub target: String,
    /// Bytes of the file.
    pub size: u64,
    /// Of the file, in hexadecimal.
    pub sha256: String,
    /// The oldest version that can be updated to this one directly.
    #[serde(default)]
    pub min_version: Version,
    /// How many of a hundred vehicles take part; the same ones whenever it grows.
    #[serde(default = "everybody")]
    pub percentage: u8,
    /// Not to be installed after this time: who kept an old release cannot bring it out again.
    pub not_after_ms: UtcMillis,
}

const fn everybody() -> u8 {
    100
}

/// Three numbers, as in Semantic Versioning without its labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version: write three numbers, such as 1.4.0")]
pub struct BadVersion(String);

impl std::str::FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let mut numbers = text.split('.').map(|part| {
            // `parse` also takes a plus sign.
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok()).flatten()
        });
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None) => {
                Ok(Self { major, minor, patch })
            }
            _ => Err(BadVersion(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl TryFrom<String> for Version {
    type Error = BadVersion;

    fn try_from(text: String) -> Result<Self, BadVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    #[error(
        "the release is not signed by the key in update.public_key: it was changed on the way, or signed with another key"
    )]
    BadSignature,
    #[error("the manifest cannot be read ({0}): make it with 'avl-cloud release sign' of a matching version")]
    Malformed(String),
    #[error("{0:?} is not a release key: give the 44 characters that 'avl-cloud release keygen' printed")]
    BadKey(String),
}

/// The public half of a release key, as 'avl-cloud release keygen' prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicKey(pub [u8; PUBLIC_KEY_BYTES]);

impl std::str::FromStr for PublicKey {
    type Err = ReleaseError;

    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| ReleaseError::BadKey(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = ReleaseError;

    fn try_from(text: String) -> Result<Self, ReleaseError> {
        text.parse()
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl Manifest {
    /// Believes nothing of `bytes` before the signature over them is verified.
    ///
    /// # Errors
    /// [`ReleaseError::BadSignature`], or [`ReleaseError::Malformed`] for what was signed and makes no sense.
    pub fn open(bytes: &[u8], signature: &[u8], key: PublicKey) -> Result<Self, ReleaseError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ReleaseError::Malformed(format!("longer than {MAX_MANIFEST_BYTES} bytes")));
        }
        UnparsedPublicKey::new(&ED25519, key.0)
            .verify(bytes, signature)
            .map_err(|_| ReleaseError::BadSignature)?;
        Self::parse(bytes)
    }

    /// Reads a manifest without asking who signed it.
    ///
    /// # Errors
    /// [`ReleaseError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReleaseError> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| ReleaseError::Malformed(error.to_string()))?;
        if !is_sha256(&manifest.sha256) {
            return Err(ReleaseError::Malformed("sha256 is not 64 lower-case hexadecimal digits".to_owned()));
        }
        if manifest.percentage > 100 {
            return Err(ReleaseError::Malformed(format!("percentage {} is over 100", manifest.percentage)));
        }
        Ok(manifest)
    }

    /// Whether `vehicle` takes part. Each release draws its vehicles anew, so that it is not always the same ones that
    /// go first; within a release a larger percentage only adds vehicles.
    #[must_use]
    pub fn includes(&self, vehicle: &VehicleKey) -> bool {
        let digest =
            ring::digest::digest(&ring::digest::SHA256, format!("{vehicle} {}", self.version).as_bytes());
        let draw = digest.as_ref().iter().take(4).fold(0_u32, |draw, byte| (draw << 8) | u32::from(*byte));
        draw % 100 < u32::from(self.percentage)
    }
}

/// 64 lower-case hexadecimal digits: safe as a file's name.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Hexadecimal, lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn manifest(percentage: u8) -> Manifest {
        Manifest {
            version: Version { major: 1, minor: 2, patch: 3 },
            target: "aarch64-unknown-linux-musl".to_owned(),
            size: 5,
            sha256: "0".repeat(64),
            min_version: Version::default(),
            percentage,
            not_after_ms: 1,
        }
    }

    fn key() -> (Ed25519KeyPair, PublicKey) {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let public = PublicKey(key.public_key().as_ref().try_into().unwrap());
        (key, public)
    }

    #[test]
    fn a_signed_manifest_opens_and_one_changed_byte_closes_it() {
        let (key, public) = key();
        let bytes = serde_json::to_vec(&manifest(100)).unwrap();
        let signature = key.sign(&bytes);
        assert_eq!(Manifest::open(&bytes, signature.as_ref(), public), Ok(manifest(100)));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert_eq!(Manifest::open(&changed, signature.as_ref(), public), Err(ReleaseError::BadSignature));
        }
        let (_, other) = self::key();
        assert_eq!(Manifest::open(&bytes, signature.as_ref(), other), Err(ReleaseError::BadSignature));
        assert_eq!(public.to_string().parse(), Ok(public));
        assert!("short".parse::<PublicKey>().is_err());
    }

    #[test]
    fn versions_are_three_numbers_and_ordered_as_such() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("0.10.0") > version("0.9.9"));
        assert_eq!(version("1.2.3").to_string(), "1.2.3");
        for bad in ["", "1", "1.2", "1.2.3.4", "1.2.x", "1.2.-3", "+1.2.3", "1.2.99999999999", "v1.2.3"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_name_cannot_leave_its_folder() {
        assert!(is_sha256(&"0a".repeat(32)));
        for bad in ["", "../../etc/passwd", &"0A".repeat(32), &"0a".repeat(33)] {
            assert!(!is_sha256(bad), "{bad}");
            let text = serde_json::to_vec(&Manifest { sha256: bad.to_owned(), ..manifest(1) }).unwrap();
            assert!(matches!(Manifest::parse(&text), Err(ReleaseError::Malformed(_))));
        }
    }

    #[test]
    fn a_stage_holds_about_as_many_vehicles_as_it_says_and_only_grows() {
        let vehicles: Vec<VehicleKey> = (0..2000).map(|n| format!("fleet/v-{n}").parse().unwrap()).collect();
        let taking = |percentage| vehicles.iter().filter(|v| manifest(percentage).includes(v)).count();
        assert_eq!((taking(0), taking(100)), (0, 2000));
        assert!((140..260).contains(&taking(10)), "{}", taking(10));
        assert!(vehicles.iter().all(|v| !manifest(10).includes(v) || manifest(50).includes(v)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::parse(&bytes);
            prop_assert!(Manifest::open(&bytes, &bytes, PublicKey([7; 32])).is_err());
        }
    }
}
