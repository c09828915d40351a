//! How far the vehicle has driven, in metres that never decrease.
//!
//! From fixes: speed over time while fixes come, the straight line over a gap, nothing while the vehicle stands or the
//! fix is doubted. From pulses: their count. Micrometres are kept inside, so that rounding does not add up.
//!
//! What survives what: the total is in every recorded fix, so a restart or a power cut continues from the newest fix
//! on flash and loses what was driven since (at most the durability period). Should the buffer be lost too, the file
//! written every [`SAVE_EVERY_M`] metres, at ignition off and at the end is the floor.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use avl_shared::fix::{Decimal, Fix, Quality, UtcMillis};
use avl_shared::odometry::travelled_um;

use crate::policy::geodesy::{Place, distance_m};

/// Speeds describe the way between fixes no farther apart than this; beyond it is a gap.
const LONGEST_STEP_MS: i64 = 10_000;
/// A straight line shorter than this may be the drift of a receiver at rest.
const DRIFT_M: f64 = 50.0;
/// A straight line driven faster (360 km/h) was not driven.
const FASTEST_MPS: f64 = 100.0;
/// One small write for so many metres: at 100 km/h one in 18 s.
const SAVE_EVERY_M: u64 = 500;

const UM_PER_M: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub struct Odometer {
    total_um: u64,
    anchor: Option<Anchor>,
    /// Micrometres a pulse, and pulses counted so far, where a wheel is the source.
    wheel: Option<Wheel>,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    time: UtcMillis,
    speed: Option<Decimal>,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
struct Wheel {
    pulses_per_km: u64,
    counted: u64,
    /// Of a micrometre, in units of 1/`pulses_per_km`.
    rest: u64,
}

impl Odometer {
    /// Driven by fixes.
    #[must_use]
    pub fn gnss(start_m: u64) -> Self {
        Self { total_um: start_m.saturating_mul(UM_PER_M), anchor: None, wheel: None }
    }

    /// Driven by pulses.
    #[must_use]
    pub fn wheel(start_m: u64, pulses_per_km: u32) -> Self {
        let wheel = Wheel { pulses_per_km: u64::from(pulses_per_km.max(1)), counted: 0, rest: 0 };
        Self { wheel: Some(wheel), ..Self::gnss(start_m) }
    }

    #[must_use]
    pub fn metres(&self) -> u64 {
        self.total_um / UM_PER_M
    }

    /// All pulses counted so far.
    pub fn pulses(&mut self, count: u64) {
        let Some(wheel) = &mut self.wheel else { return };
        let new = count.saturating_sub(wheel.counted);
        wheel.counted = wheel.counted.max(count);
        let parts = u128::from(new) * u128::from(1000 * UM_PER_M) + u128::from(wheel.rest);
        let per_km = u128::from(wheel.pulses_per_km);
        wheel.rest = u64::try_from(parts % per_km).unwrap_or(0);
        self.total_um = self.total_um.saturating_add(u64::try_from(parts / per_km).unwrap_or(0));
    }

    /// The next fix; without effect where a wheel counts.
    pub fn fix(&mut self, fix: &Fix) {
        if self.wheel.is_some() {
            return;
        }
        let (Some(time), Some(place)) = (fix.time, Place::of(fix)) else { return };
        if !fix.verdict.is_empty() || fix.quality == Quality::NoFix {
            return;
        }
        let here = Anchor { time, speed: fix.speed, place };
        let Some(last) = self.anchor else {
            self.anchor = Some(here);
            return;
        };
        let ms = time.saturating_sub(last.time);
        if ms <= 0 {
            return;
        }
        if ms <= LONGEST_STEP_MS
            && let Some((before, now, scale)) = common_scale(last.speed, here.speed)
        {
            self.grow(travelled_um(before, now, scale, ms));
            self.anchor = Some(here);
            return;
        }
        #[allow(clippy::cast_precision_loss)] // a duration
        let fastest_m = FASTEST_MPS * ms as f64 / 1000.0;
        let metres = distance_m(last.place, place);
        if metres >= DRIFT_M && metres <= fastest_m {
            #[allow(clippy::cast_possible_truncation)] // at most half the earth
            self.grow((metres * 1e6) as i64);
            self.anchor = Some(here);
        } else if here.speed.is_some() || metres > fastest_m {
            self.anchor = Some(here);
        }
    }

    fn grow(&mut self, um: i64) {
        self.total_um = self.total_um.saturating_add(um.max(0).cast_unsigned());
    }
}

/// Both speeds as whole numbers at the finer of their scales.
fn common_scale(before: Option<Decimal>, now: Option<Decimal>) -> Option<(i64, i64, u8)> {
    let (before, now) = (before?, now?);
    let scale = before.scale().max(now.scale());
    Some((before.rescaled(scale)?, now.rescaled(scale)?, scale))
}

/// The total on disk: `METRES INITIAL`, replaced as a whole.
#[derive(Debug)]
pub struct OdometerFile {
    path: PathBuf,
    initial_m: u64,
    saved_m: u64,
}

impl OdometerFile {
    /// Where to start: what the file says or the fixes on flash say, whichever is more; `initial_m` without either. An
    /// `initial_m` that was raised since moves the total up by as much; one that was lowered changes nothing.
    ///
    /// `repeats`: the source goes on behind the newest fix on flash (a log), so what the file has beyond it will be
    /// driven once more. Otherwise it was driven, and only its fixes are lost.
    #[must_use]
    pub fn open(state_dir: &Path, initial_m: u64, recorded_m: Option<u64>, repeats: bool) -> (Self, u64) {
        let path = state_dir.join("odometer");
        let stored = fs::read_to_string(&path).ok().and_then(|text| {
            let (metres, initial) = text.trim().split_once(' ')?;
            Some((metres.parse::<u64>().ok()?, initial.parse::<u64>().ok()?))
        });
        let floor = stored.map(|(metres, _)| metres);
        let known = if repeats { recorded_m.or(floor) } else { floor.max(recorded_m) };
        let raised = stored.map_or(0, |(_, initial)| initial_m.saturating_sub(initial));
        if stored.is_some_and(|(_, initial)| initial > initial_m) {
            tracing::warn!(
                initial_m,
                "sensors.odometer.initial_km was lowered: the odometer never goes back; remove {} and the buffer to start anew",
                path.display()
            );
        }
        let start = known.map_or(initial_m, |known| known.saturating_add(raised));
        let saved_m = stored.map_or(u64::MAX, |(metres, _)| metres);
        let mut file = Self { path, initial_m, saved_m };
        // Before any fix has it, or the next start would raise it again.
        if raised > 0
            && let Err(error) = file.save(start)
        {
            tracing::warn!(%error, "the raised odometer cannot be written");
        }
        (file, start)
    }

    /// Whether so much was driven that it should be written.
    #[must_use]
    pub fn due(&self, metres: u64) -> bool {
        self.saved_m == u64::MAX || metres >= self.saved_m.saturating_add(SAVE_EVERY_M)
    }

    /// Writes the total, durably. Nothing to do when it is there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&mut self, metres: u64) -> io::Result<()> {
        if self.saved_m == metres {
            return Ok(());
        }
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        writeln!(file, "{metres} {}", self.initial_m)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        self.saved_m = metres;
        Ok(())
    }
}

#[cfg(test)]
#[path = "odometer_tests.rs"]
mod tests;
