//! Where a scenario plays: its scratch folder, the folder its logs are kept in, its deadline helper.

use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

/// Between two looks at a condition that nothing announces.
const LOOK: Duration = Duration::from_millis(50);

/// A scratch folder that goes with the scenario, and an artefact folder that stays.
#[derive(Debug)]
pub struct Scene {
    scratch: tempfile::TempDir,
    artifacts: PathBuf,
}

impl Scene {
    /// `artifacts/system/NAME` at the root of the project (or in `AVL_ARTIFACTS`) is emptied for it.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let artifacts = artifacts().join("system").join(name);
        let _ = std::fs::remove_dir_all(&artifacts);
        std::fs::create_dir_all(&artifacts).with_context(|| artifacts.display().to_string())?;
        Ok(Self { scratch: tempfile::Builder::new().prefix("avl-").tempdir()?, artifacts })
    }

    /// A new folder, gone with the scene.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.scratch.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A file that is kept.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.artifacts.join(name)
    }

    #[must_use]
    pub fn artifacts(&self) -> &Path {
        &self.artifacts
    }
}

fn artifacts() -> PathBuf {
    std::env::var_os("AVL_ARTIFACTS").map_or_else(|| crate::project_root().join("artifacts"), PathBuf::from)
}

/// Looks until `probe` gives `Some`; errors of the probe count as "not yet" (a cloud that is being restarted).
///
/// # Errors
/// When the deadline passes, with the last thing that was seen.
pub async fn eventually<T, F>(
    what: &str,
    patience: Duration,
    mut probe: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    T: Debug,
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + patience;
    let mut last = String::from("nothing");
    while Instant::now() < deadline {
        match probe().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "not yet".clone_into(&mut last),
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(LOOK).await;
    }
    anyhow::bail!("{what}: not within {patience:?}; last seen: {last}")
}
