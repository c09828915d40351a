//! `[buffer]`: how soon on flash, how much of it, and what goes first when it is full.

use std::time::Duration;

use serde::Deserialize;

use super::outbox::Bounds;
use crate::config::ByteSize;
use crate::thinning::ThinLimits;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BufferConfig {
    /// The longest that a fix is in memory only.
    #[serde(with = "humantime_serde")]
    pub durability: Duration,
    /// Blocks on flash, at most; beyond it history is thinned, then the oldest go.
    pub max_bytes: ByteSize,
    /// While the file system has less than this free, the buffer does not grow.
    pub min_free: ByteSize,
    /// How far from its place thinning may put a fix, in metres; 0: never thin, drop the oldest at once.
    pub thin_error_m: f64,
    /// What the flash is rated to take in its life (TBW, in TiB): for the expected life.
    pub flash_endurance: Option<f64>,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            durability: Duration::from_secs(5),
            max_bytes: ByteSize(256 << 20),
            min_free: ByteSize(64 << 20),
            thin_error_m: 10.0,
            flash_endurance: None,
        }
    }
}

impl BufferConfig {
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let thin = (self.thin_error_m > 0.0).then(|| ThinLimits::within(self.thin_error_m));
        Bounds { max_bytes: self.max_bytes.0, thin }
    }

    /// Which key cannot work, why, and what to write instead.
    ///
    /// # Errors
    /// (key, cause, cure) of the first such key.
    pub fn validate(&self) -> Result<(), (&'static str, String, &'static str)> {
        let impossible = |value: f64| !value.is_finite() || value < 0.0;
        if impossible(self.thin_error_m) {
            let cause = format!("{} is no distance in metres", self.thin_error_m);
            return Err(("buffer.thin_error_m", cause, "give metres such as 10.0, or 0.0 for never"));
        }
        if let Some(endurance) = self.flash_endurance.filter(|value| impossible(*value) || *value == 0.0) {
            let cause = format!("{endurance} is no amount in TiB");
            return Err((
                "buffer.flash_endurance",
                cause,
                "give the TBW of the flash's data sheet, such as 20.0",
            ));
        }
        Ok(())
    }
}
