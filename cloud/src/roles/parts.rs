//! The parts of a process, and the order in which they stop.

use tokio::sync::watch;
use tokio::task::JoinSet;

/// When a part stops: earlier stages first, in the order of the data's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Intake,
    Process,
    Serve,
}

#[derive(Default)]
pub(super) struct Parts {
    stages: [StageParts; 3],
}

struct StageParts {
    stop: watch::Sender<bool>,
    running: JoinSet<&'static str>,
}

impl Default for StageParts {
    fn default() -> Self {
        Self { stop: watch::Sender::new(false), running: JoinSet::new() }
    }
}

impl Parts {
    pub(super) fn start<F>(
        &mut self,
        stage: Stage,
        name: &'static str,
        part: impl FnOnce(watch::Receiver<bool>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let parts = &mut self.stages[stage as usize];
        let running = part(parts.stop.subscribe());
        parts.running.spawn(async move {
            running.await;
            name
        });
    }

    /// Resolves when a part ends that was not told to.
    pub(super) async fn first_to_fall(&mut self) -> String {
        let [intake, process, serve] = &mut self.stages;
        let fallen = tokio::select! {
            Some(fallen) = intake.running.join_next() => fallen,
            Some(fallen) = process.running.join_next() => fallen,
            Some(fallen) = serve.running.join_next() => fallen,
        };
        fallen.map_or_else(|error| format!("a part ({error})"), str::to_owned)
    }

    pub(super) async fn stop(&mut self) {
        for stage in &mut self.stages {
            stage.stop.send_replace(true);
            while stage.running.join_next().await.is_some() {}
        }
    }
}
