//! Whether this vehicle installs a release that the cloud offers.

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::release::{Manifest, PublicKey, ReleaseError, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::config::ByteSize;

/// The platform that this program was built for.
pub const TARGET: &str = env!("AVL_TARGET");

/// An update in work, kept over restarts of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub command: String,
    manifest: String,
    signature: String,
    /// Of the cloud's HTTPS listener; 0: the link's number.
    pub port: u16,
}

impl Order {
    #[must_use]
    pub fn new(command: &str, manifest: &[u8], signature: &[u8], port: u32) -> Self {
        Self {
            command: command.to_owned(),
            manifest: STANDARD.encode(manifest),
            signature: STANDARD.encode(signature),
            port: u16::try_from(port).unwrap_or(0),
        }
    }

    fn open(&self, key: PublicKey) -> Result<Manifest, ReleaseError> {
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| ReleaseError::BadSignature);
        Manifest::open(&decode(&self.manifest)?, &decode(&self.signature)?, key)
    }
}

/// What the decision depends on.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    pub vehicle: &'a VehicleKey,
    pub key: Option<PublicKey>,
    pub launched: bool,
    pub running: Version,
    pub target: &'a str,
    pub max_bytes: ByteSize,
    pub now: UtcMillis,
    pub on_trial: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "this gateway has no release key: set update.public_key in its own file to what 'avl-cloud release keygen' printed"
    )]
    NoKey,
    #[error(
        "the agent runs without its launcher, so nothing could take a bad version back: start it as 'avl-edge launch'"
    )]
    NotLaunched,
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error("the release is for {wanted}, this gateway is {own}: order the release made for it")]
    OtherTarget { wanted: String, own: String },
    #[error(
        "version {running} runs here and {offered} is not newer: a vehicle never goes back to an older version from afar"
    )]
    NotNewer { running: Version, offered: Version },
    #[error(
        "version {running} runs here and this release can only follow {least} or newer: update to that first"
    )]
    TooOld { running: Version, least: Version },
    #[error(
        "the release was not to be installed after {not_after_ms} (milliseconds UTC): sign it again with a later date"
    )]
    TooLate { not_after_ms: UtcMillis },
    #[error(
        "the file has {size} bytes, the limit is {limit}: raise update.max_bytes in the gateway's own file"
    )]
    TooLarge { size: u64, limit: ByteSize },
    #[error(
        "this vehicle is not among the first {percentage} % that take part: sign the release again with a larger percentage"
    )]
    NotInStage { percentage: u8 },
    #[error("another version is on trial: try again when that is decided")]
    OnTrial,
}

/// The verified manifest of a release that may be installed.
///
/// # Errors
/// Why it may not.
pub fn judge(order: &Order, now: &Situation<'_>) -> Result<Manifest, Refusal> {
    let manifest = order.open(now.key.ok_or(Refusal::NoKey)?)?;
    if !now.launched {
        return Err(Refusal::NotLaunched);
    }
    if now.on_trial {
        return Err(Refusal::OnTrial);
    }
    if manifest.target != now.target {
        return Err(Refusal::OtherTarget { wanted: manifest.target, own: now.target.to_owned() });
    }
    if manifest.version <= now.running {
        return Err(Refusal::NotNewer { running: now.running, offered: manifest.version });
    }
    if manifest.min_version > now.running {
        return Err(Refusal::TooOld { running: now.running, least: manifest.min_version });
    }
    if manifest.not_after_ms < now.now {
        return Err(Refusal::TooLate { not_after_ms: manifest.not_after_ms });
    }
    if manifest.size > now.max_bytes.0 {
        return Err(Refusal::TooLarge { size: manifest.size, limit: now.max_bytes });
    }
    if !manifest.includes(now.vehicle) {
        return Err(Refusal::NotInStage { percentage: manifest.percentage });
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn version(minor: u32) -> Version {
        Version { major: 1, minor, patch: 0 }
    }

    fn good() -> Manifest {
        Manifest {
            version: version(5),
            target: "aarch64-unknown-linux-musl".to_owned(),
            size: 1000,
            sha256: "0".repeat(64),
            min_version: version(3),
            percentage: 100,
            not_after_ms: 2_000,
        }
    }

    #[test]
    fn each_reason_to_refuse_is_told() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let public = PublicKey(key.public_key().as_ref().try_into().unwrap());
        let order = |manifest: &Manifest| {
            let bytes = serde_json::to_vec(manifest).unwrap();
            Order::new("id", &bytes, key.sign(&bytes).as_ref(), 0)
        };
        let vehicle: VehicleKey = "demo/van-1".parse().unwrap();
        let situation = Situation {
            vehicle: &vehicle,
            key: Some(public),
            launched: true,
            running: version(4),
            target: "aarch64-unknown-linux-musl",
            max_bytes: ByteSize(1000),
            now: 1_000,
            on_trial: false,
        };
        assert_eq!(judge(&order(&good()), &situation), Ok(good()));
        let refused = |manifest: Manifest| judge(&order(&manifest), &situation).unwrap_err();
        assert!(matches!(
            refused(Manifest { target: "x86".to_owned(), ..good() }),
            Refusal::OtherTarget { .. }
        ));
        assert!(matches!(refused(Manifest { version: version(4), ..good() }), Refusal::NotNewer { .. }));
        assert!(matches!(refused(Manifest { min_version: version(5), ..good() }), Refusal::TooOld { .. }));
        assert!(matches!(refused(Manifest { not_after_ms: 999, ..good() }), Refusal::TooLate { .. }));
        assert!(matches!(refused(Manifest { size: 1001, ..good() }), Refusal::TooLarge { .. }));
        assert_eq!(refused(Manifest { percentage: 0, ..good() }), Refusal::NotInStage { percentage: 0 });
        let now = |change: fn(&mut Situation<'_>)| {
            let mut changed = situation.clone();
            change(&mut changed);
            judge(&order(&good()), &changed).unwrap_err()
        };
        assert_eq!(now(|now| now.key = None), Refusal::NoKey);
        assert_eq!(now(|now| now.launched = false), Refusal::NotLaunched);
        assert_eq!(now(|now| now.on_trial = true), Refusal::OnTrial);
        assert_eq!(
            now(|now| now.key = Some(PublicKey([1; 32]))),
            Refusal::Release(ReleaseError::BadSignature)
        );
    }
}
