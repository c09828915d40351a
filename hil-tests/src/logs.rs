//! The real receiver logs. They are not part of the project: `AVL_TEST_DATA` names their folder, else
//! `../shared/data/nmea` beside the project is tried.

mod repeated;

pub use repeated::repeated;

use std::path::{Path, PathBuf};

/// A recorded drive and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    pub file: &'static str,
    /// Instants with an RMC or a GGA.
    pub fixes: usize,
}

pub const URBAN: Log = Log { file: "urban-ublox-f9k-1hz.nmea", fixes: 1653 };
pub const HIGHWAY: Log = Log { file: "highway-garmin-2s.nmea", fixes: 4469 };
/// 1201 instants with both; the recording ends behind the GGA of one more.
pub const MOORED: Log = Log { file: "moored-boat-1hz.nmea", fixes: 1202 };
pub const ALL: [Log; 3] = [URBAN, HIGHWAY, MOORED];

impl Log {
    /// Where it is; `None`, said loudly, on a machine that has it not. In CI that is a failure.
    ///
    /// # Panics
    /// In CI (`CI=true`), when the log is absent: a test that silently did not run proves nothing.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        let folder = std::env::var_os("AVL_TEST_DATA")
            .map_or_else(|| crate::project_root().join("../shared/data/nmea"), PathBuf::from);
        let path = folder.join(self.file);
        if path.is_file() {
            return Some(path);
        }
        let absent = format!("{} is absent (set AVL_TEST_DATA to the folder of the logs)", path.display());
        crate::skip(&absent);
        None
    }

    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::truth;

    #[test]
    fn the_independent_parser_finds_every_instant_of_the_logs() {
        for log in ALL {
            let Some(path) = log.path() else { return };
            let fixes = truth::read(&Log::read(&path).unwrap());
            assert_eq!(fixes.len(), log.fixes, "{}", log.file);
            let times: std::collections::BTreeSet<_> = fixes.iter().map(|fix| fix.time).collect();
            assert_eq!(times.len(), log.fixes, "{}: instants are unique", log.file);
            assert!(fixes.iter().all(|fix| fix.latitude.is_some() && fix.quality.is_some()), "{}", log.file);
        }
    }
}
