//! What processes share in the database: tokens, revocations, orders, releases, given by the command line from anywhere.

use hil_tests::fleet::{Fleet, Script};
use hil_tests::process::{Cloud, Ports, Scene, eventually, run};
use hil_tests::services::TimescaleDb;

use crate::stage::{PATIENCE, play};

const SCRIPT: Script = Script {
    seed: 500,
    start: 1_790_000_000_000,
    rate_hz: 1,
    speed_up: 1.0,
    batch: 1,
    fixes: None,
    remember: false,
};

#[test]
fn the_command_line_works_on_the_database_alone_and_a_running_cloud_follows() {
    play(async {
        let scene = Scene::named("shared-state")?;
        let folder = scene.folder("database")?;
        let Some(mut database) = TimescaleDb::start(&folder, &scene.log("timescaledb.log")).await? else {
            return Ok(());
        };
        let url = database.url();
        let (data, log) = (scene.folder("cloud")?, scene.log("avl-cloud.log"));
        // Before there is a database: it must not be lost.
        let folder = data.display().to_string();
        let vehicle = |name| ["--fleet", "test", "--vehicle", name];
        let early = [&["token", "--data-dir", &folder][..], &vehicle("early")].concat();
        let early = run("avl-cloud", &early).await?.success()?.stdout;
        let keys = [("AVL_CLOUD__DATABASE__URL", url.as_str())];
        let cloud = Cloud::start_in(&data, &log, Ports::default(), &keys).await?;
        hil_tests::fleet::enrol(&cloud.enrolment_url(), early.trim()).await?;

        let beside =
            run("avl-cloud", &[&["token", "--data-dir", &folder][..], &vehicle("x")].concat()).await?;
        anyhow::ensure!(
            !beside.status.success() && beside.stderr.contains("--database"),
            "{}",
            beside.stderr
        );

        let link = cloud.ports().quic.parse()?;
        let fleet = Fleet::launch(&cloud, "test", 2, link, SCRIPT, |_| {}).await?;
        eventually("acknowledged", PATIENCE, || async { Ok((fleet.acknowledged() > 2).then_some(())) })
            .await?;
        let api = cloud.api()?;
        eventually("vehicles", PATIENCE, || async {
            let known = api.vehicles().await?;
            Ok((known.len() >= 2).then_some(()))
        })
        .await?;
        let name = fleet.truth().next().map(|(name, _)| name).unwrap_or_default();
        let order = |what: &'static [&'static str]| [&what[..1], &["--database", &url], &what[1..]].concat();
        // No data directory: another machine.
        let given = [&order(&["command"])[..], &["--vehicle", &name, "locate"]].concat();
        run("avl-cloud", &given).await?.success()?;
        let list = [&order(&["command"])[..], &["--vehicle", &name, "list"]].concat();
        eventually("the order is on its way", PATIENCE, || async {
            let listed = run("avl-cloud", &list).await?.success()?;
            Ok(listed.stderr.contains("sent").then_some(()))
        })
        .await?;
        database.kill().await?;
        database.resume().await?;
        let revoke = [&order(&["revoke"])[..], &["--vehicle", &name, "--reason", "stolen"]].concat();
        run("avl-cloud", &revoke).await?.success()?;
        eventually("the revoked vehicle is out", PATIENCE, || async {
            let metrics = api.text("/metrics").await?;
            Ok(metrics.contains("avl_ingest_closed_total{reason=\"revoked\"} 1").then_some(()))
        })
        .await?;
        let listed =
            run("avl-cloud", &[&order(&["revoke"])[..], &["--list"]].concat()).await?.success()?.stdout;
        anyhow::ensure!(listed.contains(&name), "{listed}");
        Ok(())
    });
}
