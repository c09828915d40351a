//! The two clocks of the kernel: one that never jumps, and one that may say anything.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use avl_shared::fix::UtcMillis;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

pub trait Hands: Debug + Send + Sync {
    /// The system clock, UTC.
    fn system_ms(&self) -> UtcMillis;
    /// Since boot, suspended time included; never jumps.
    fn uptime_ms(&self) -> u64;
    /// Sets the system clock.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    fn set_system(&self, utc_ms: UtcMillis) -> std::io::Result<()>;
}

#[derive(Clone, Copy, Debug)]
pub struct Kernel;

impl Hands for Kernel {
    fn system_ms(&self) -> UtcMillis {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            // Before 1970.
            Err(until) => i64::try_from(until.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    fn uptime_ms(&self) -> u64 {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        u64::try_from(tv_sec).unwrap_or(0) * 1000 + u64::try_from(tv_nsec).unwrap_or(0) / 1_000_000
    }

    fn set_system(&self, utc_ms: UtcMillis) -> std::io::Result<()> {
        let time = Timespec { tv_sec: utc_ms.div_euclid(1000), tv_nsec: utc_ms.rem_euclid(1000) * 1_000_000 };
        Ok(clock_settime(ClockId::Realtime, time)?)
    }
}
