//! The odometer with its wheel and its file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use avl_shared::fix::Fix;

use crate::sensors::{Odometer, OdometerConfig, OdometerFile, OdometerSource, Pulses};

pub struct Meter {
    odometer: Odometer,
    pulses: Pulses,
    file: Arc<Mutex<OdometerFile>>,
    refused: bool,
}

impl Meter {
    /// `recorded_m` is the largest total among the fixes on flash, if any has one; `repeats` as for
    /// [`OdometerFile::open`].
    #[must_use]
    pub fn open(
        config: &OdometerConfig,
        state_dir: &Path,
        recorded_m: Option<u64>,
        repeats: bool,
        pulses: Pulses,
    ) -> Self {
        let (file, start) = OdometerFile::open(state_dir, config.initial_m(), recorded_m, repeats);
        let odometer = match (config.source, config.pulses_per_km) {
            (OdometerSource::Pulses, Some(per_km)) => Odometer::wheel(start, per_km),
            _ => Odometer::gnss(start),
        };
        Self { odometer, pulses, file: Arc::new(Mutex::new(file)), refused: false }
    }

    /// The total with this fix.
    pub fn fix(&mut self, fix: &Fix) -> u64 {
        self.odometer.fix(fix);
        self.metres()
    }

    pub fn metres(&mut self) -> u64 {
        self.odometer.pulses(self.pulses.count());
        self.odometer.metres()
    }

    /// Writes the total when enough was driven, or in any case with `now`.
    pub async fn save(&mut self, now: bool) {
        let metres = self.metres();
        let file = Arc::clone(&self.file);
        let locked =
            |file: &Arc<Mutex<OdometerFile>>| file.lock().unwrap_or_else(PoisonError::into_inner).due(metres);
        if !now && !locked(&file) {
            return;
        }
        let saving = tokio::task::spawn_blocking(move || {
            file.lock().unwrap_or_else(PoisonError::into_inner).save(metres)
        });
        let failed = match saving.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(cause) = failed.as_ref().filter(|_| !self.refused) {
            tracing::warn!(
                "the odometer cannot be written to state_dir/odometer: {cause}; it goes on from the fixes on flash"
            );
        }
        self.refused = failed.is_some();
    }
}
