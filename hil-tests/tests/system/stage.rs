//! One gateway, one cloud, one log: what most scenarios begin and end with.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hil_tests::logs::Log;
use hil_tests::oracle::api::Api;
use hil_tests::oracle::truth::{self, Truth};
use hil_tests::oracle::verdict;
use hil_tests::process::{Cloud, Edge, Ports, Scene, Source, Tuning, eventually};

pub(crate) const FLEET: &str = "test";
pub(crate) const VEHICLE: &str = "gateway-1";
/// Nothing here takes this long, even on a machine that does other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    pub(crate) scene: Scene,
    pub(crate) cloud: Cloud,
    pub(crate) printed: Vec<Truth>,
}

impl Stage {
    /// A running cloud, and what `log` has printed.
    pub(crate) async fn set(name: &str, log: &Path) -> anyhow::Result<Self> {
        Self::set_in(name, log, &[]).await
    }

    /// As [`Stage::set`], with these variables in the cloud's environment.
    pub(crate) async fn set_in(name: &str, log: &Path, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let scene = Scene::named(name)?;
        let (data, words) = (scene.folder("cloud")?, scene.log("avl-cloud.log"));
        let cloud = Cloud::start_in(&data, &words, Ports::default(), environment).await?;
        Ok(Self { scene, cloud, printed: truth::read(&Log::read(log)?) })
    }

    /// An enrolled gateway, not yet running, that finds the cloud at `quic`.
    pub(crate) async fn gateway(&self, source: &Source, quic: &str) -> anyhow::Result<Edge> {
        let edge = self.stranger(source, quic)?;
        edge.enrol(&self.cloud, FLEET, VEHICLE).await?;
        Ok(edge)
    }

    /// A gateway that is not enrolled.
    pub(crate) fn stranger(&self, source: &Source, quic: &str) -> anyhow::Result<Edge> {
        let folder = self.scene.folder("edge")?;
        Edge::configure(&folder, &self.scene.log("avl-edge.log"), source, quic, Tuning::HASTY)
    }

    pub(crate) fn quic(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.cloud.ports().quic.parse()?)
    }

    /// Waits until the cloud has as many fixes as were printed, then lets oracle and audit judge.
    pub(crate) async fn judge(&mut self) -> anyhow::Result<()> {
        let api = self.cloud.api()?;
        let vehicle = format!("{FLEET}/{VEHICLE}");
        let expected = self.printed.len() as u64;
        let arrived = eventually("every fix in the API", PATIENCE, || async {
            let fixes = api.fixes(&vehicle).await?;
            anyhow::ensure!(fixes >= expected, "{fixes} of {expected} fixes");
            Ok(Some(fixes))
        })
        .await;
        // Also when too few came: which ones is what a reader of the failure wants to know.
        judge_vehicle(&api, &vehicle, &self.printed, &self.scene).await?;
        arrived?;
        let audit = self.cloud.audit(VEHICLE).await?;
        std::fs::write(self.scene.log("audit.json"), serde_json::to_vec_pretty(&audit)?)?;
        self.cloud.stop().await
    }
}

/// The API's rows against what was printed, and the API's own claim of completeness.
pub(crate) async fn judge_vehicle(
    api: &Api,
    vehicle: &str,
    printed: &[Truth],
    scene: &Scene,
) -> anyhow::Result<()> {
    let report = verdict::compare(printed, &api.positions(vehicle).await?);
    println!("{vehicle}: {report}");
    std::fs::write(scene.log(&format!("oracle-{}.txt", vehicle.replace('/', "-"))), format!("{report}\n"))?;
    report.require_clean()?;
    let claim = api.completeness(vehicle).await?;
    anyhow::ensure!(
        claim.complete && claim.missing == 0 && claim.lost == 0 && claim.received == printed.len() as u64,
        "the API's completeness differs from the oracle's: {claim:?}"
    );
    Ok(())
}

/// For a test body: a runtime with a time limit, and errors with their causes.
pub(crate) fn play(scenario: impl Future<Output = anyhow::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runtime.block_on(async { tokio::time::timeout(4 * PATIENCE, scenario).await });
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:#}"),
        Err(_) => panic!("the scenario has not ended within {:?}", 4 * PATIENCE),
    }
}
