//! The store in a real TimescaleDB, which is killed in the middle of everything: each fix is one row.

use hil_tests::fleet::{Fleet, Script};
use hil_tests::process::{Cloud, Ports, Scene, eventually, run};
use hil_tests::services::TimescaleDb;

use crate::stage::{PATIENCE, judge_vehicle, play};

const SCRIPT: Script = Script {
    seed: 300,
    start: 1_790_000_000_000,
    rate_hz: 5,
    speed_up: 40.0,
    batch: 20,
    fixes: Some(2000),
    remember: true,
};
const VEHICLES: usize = 8;

#[test]
fn a_fleet_loses_nothing_when_the_database_is_killed_under_it() {
    play(async {
        let scene = Scene::named("database-kills")?;
        let folder = scene.folder("database")?;
        let Some(mut database) = TimescaleDb::start(&folder, &scene.log("timescaledb.log")).await? else {
            return Ok(());
        };
        let url = database.url();
        let (data, log) = (scene.folder("cloud")?, scene.log("avl-cloud.log"));
        let keys = [("AVL_CLOUD__DATABASE__URL", url.as_str())];
        let mut cloud = Cloud::start_in(&data, &log, Ports::default(), &keys).await?;
        let link = cloud.ports().quic.parse()?;
        let fleet = Fleet::launch(&cloud, "test", VEHICLES, link, SCRIPT, |_| {}).await?;

        let api = cloud.api()?;
        let total = VEHICLES as u64 * 2000;
        for round in 1..=5_u64 {
            eventually("fixes emitted", PATIENCE, || async {
                Ok((fleet.emitted() >= total * round / 6).then_some(()))
            })
            .await?;
            match round {
                // The processor may be anywhere in its transaction.
                1 | 2 | 4 => database.kill().await?,
                3 => database.stop().await?,
                _ => {
                    database.kill().await?;
                    cloud.kill().await?;
                    database.resume().await?;
                    cloud.resume().await?;
                    continue;
                }
            }
            // Vehicles are served meanwhile: the journal has what they send.
            let acknowledged = fleet.acknowledged();
            if fleet.emitted() < total {
                eventually("acknowledgements without a database", PATIENCE, || async {
                    Ok((fleet.acknowledged() > acknowledged).then_some(()))
                })
                .await?;
            }
            database.resume().await?;
        }
        tokio::time::timeout(PATIENCE, fleet.parked()).await?;
        anyhow::ensure!(fleet.acknowledged() == total && fleet.emitted() == total);

        for (vehicle, printed) in fleet.truth() {
            eventually("every fix in the API", PATIENCE, || async {
                let fixes = api.fixes(&vehicle).await?;
                Ok((fixes >= printed.len() as u64).then_some(()))
            })
            .await?;
            judge_vehicle(&api, &vehicle, &printed, &scene).await?;
            cloud.audit(&vehicle).await?;
        }
        let status = run("avl-cloud", &["migrate", "--database", &url, "--status"]).await?.success()?.stdout;
        anyhow::ensure!(status.contains("up to date") && status.contains("Apache licence"), "{status}");
        cloud.stop().await?;
        let words = std::fs::read_to_string(&log)?;
        anyhow::ensure!(!words.contains("avl:avl"), "the password is in the log");
        database.stop().await
    });
}
