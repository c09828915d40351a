//! Watches the lines for as long as the agent runs, whatever becomes of the chip.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::config::{Kind, SensorsConfig};
use super::gpio::Gpio;
use super::levels::{IGNITION, Levels, Pulses};
use super::simulated::Simulated;
use super::view::{BackendState, InputView, SensorsView};
use crate::health::View;

/// A chip on USB or behind a late driver appears within seconds of the boot.
const RETRY_EVERY: Duration = Duration::from_secs(5);
const DEFAULT_CHIP: &str = "/dev/gpiochip0";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BackendError {
    #[error(
        "{chip} cannot be used: {cause}: check sensors.chip and its lines with 'gpioinfo', that no other program holds them, and that the agent's user may open it (group gpio)"
    )]
    Chip { chip: String, cause: String },
    #[error("the input lines were lost: {cause}: was the chip unplugged?")]
    Lost { cause: String },
}

/// Something that has levels and says when they may have changed.
pub(super) trait Backend {
    fn levels(&mut self) -> Result<u16, BackendError>;
    fn changed(&mut self) -> impl Future<Output = Result<(), BackendError>> + Send;
}

/// Sends the levels when they are known, change, or become unknown, until the receiver goes away. Ends at once when
/// no line is configured.
pub async fn run(
    config: SensorsConfig,
    changes: mpsc::Sender<Levels>,
    pulses: Pulses,
    view: View<SensorsView>,
) {
    if !config.has_lines() {
        return;
    }
    let shown = Shown { config: &config, view: &view };
    shown.backend(BackendState::Starting);
    let chip = config.chip.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_CHIP));
    let mut reported = None;
    loop {
        let ended = match config.kind {
            Kind::Gpio => match Gpio::open(&chip, &config, &pulses) {
                Ok(backend) => watch(backend, &changes, &shown, &mut reported).await,
                Err(error) => Err(error),
            },
            Kind::Simulated => {
                let path = config.path.clone().unwrap_or_default();
                watch(Simulated::open(path, &config, &pulses), &changes, &shown, &mut reported).await
            }
        };
        let Err(error) = ended else { return };
        shown.backend(BackendState::Absent { cause: error.to_string() });
        shown.levels(None);
        // Once for each cause: it is tried for years.
        if reported.as_ref() != Some(&error) {
            tracing::warn!(again_in = ?RETRY_EVERY, "{error}");
            reported = Some(error);
        }
        tokio::select! {
            sent = changes.send(None) => if sent.is_err() { return },
            () = changes.closed() => return,
        }
        tokio::select! {
            () = sleep(RETRY_EVERY) => {}
            () = changes.closed() => return,
        }
    }
}

/// Until the backend fails, or nobody listens any more.
async fn watch(
    mut backend: impl Backend,
    changes: &mpsc::Sender<Levels>,
    shown: &Shown<'_>,
    reported: &mut Option<BackendError>,
) -> Result<(), BackendError> {
    let mut known = None;
    loop {
        let levels = backend.levels()?;
        if known != Some(levels) {
            if known.is_none() {
                tracing::info!(levels, "input lines are watched");
                shown.backend(BackendState::Watching);
                *reported = None;
            } else {
                shown.view.update(|view| view.changes += 1);
            }
            known = Some(levels);
            shown.levels(known);
            if changes.send(known).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            changed = backend.changed() => changed?,
            () = changes.closed() => return Ok(()),
        }
    }
}

struct Shown<'a> {
    config: &'a SensorsConfig,
    view: &'a View<SensorsView>,
}

impl Shown<'_> {
    fn backend(&self, state: BackendState) {
        self.view.update(|view| view.backend = state);
    }

    fn levels(&self, levels: Levels) {
        self.view.update(|view| {
            let wired = self.config.ignition.is_some();
            view.ignition = levels.filter(|_| wired).map(|levels| levels & IGNITION != 0);
            view.inputs = (1..)
                .zip(&self.config.inputs)
                .map(|(bit, input)| InputView {
                    name: input.name.clone(),
                    on: levels.map(|levels| levels >> bit & 1 == 1),
                })
                .collect();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::Figment;
    use figment::providers::{Format, Toml};

    fn config(toml: &str) -> SensorsConfig {
        Figment::from(Toml::string(toml)).extract().unwrap()
    }

    async fn next(changes: &mut mpsc::Receiver<Levels>) -> Levels {
        tokio::time::timeout(Duration::from_secs(60), changes.recv()).await.unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_file_is_reported_and_tried_again_until_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("levels");
        let config = config(&format!(
            "kind = 'simulated'\npath = {:?}\nignition = {{ line = 0 }}\ninputs = [{{ name = 'sos', line = 1 }}]",
            path.display()
        ));
        let (changes, mut changed) = mpsc::channel(4);
        let view = View::default();
        let watching = tokio::spawn(run(config, changes, Pulses::default(), view.clone()));
        assert_eq!(next(&mut changed).await, None);
        assert!(matches!(view.read().backend, BackendState::Absent { .. }));
        std::fs::write(&path, "ignition = on").unwrap();
        while next(&mut changed).await != Some(1) {}
        std::fs::write(&path, "ignition = on\nsos = on").unwrap();
        assert_eq!(next(&mut changed).await, Some(3));
        assert_eq!(view.read().ignition, Some(true));
        assert_eq!(view.read().inputs[0].on, Some(true));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(next(&mut changed).await, None);
        assert_eq!(view.read().ignition, None);
        drop(changed);
        watching.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_chip_that_is_not_there_never_ends_the_watch() {
        let config = config("chip = '/nowhere/gpiochip9'\nignition = { line = 17 }");
        let (changes, mut changed) = mpsc::channel(1);
        let view = View::default();
        let watching = tokio::spawn(run(config, changes, Pulses::default(), view.clone()));
        for _ in 0..3 {
            assert_eq!(next(&mut changed).await, None);
        }
        let BackendState::Absent { cause } = view.read().backend else { panic!("not absent") };
        assert!(cause.contains("/nowhere/gpiochip9") && cause.contains("gpioinfo"), "{cause}");
        drop(changed);
        watching.await.unwrap();
    }
}
