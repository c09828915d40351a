//! The cloud as processes of its own roles, over a real Kafka and a real TimescaleDB: everything comes and goes under load, and
//! each fix is one row.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use hil_tests::fleet::{Conduct, Desk, Fleet, Script};
use hil_tests::oracle::api::Api;
use hil_tests::process::{Role, Scene, eventually, run};
use hil_tests::services::{Kafka, TimescaleDb, free_port};

use crate::fleet::live;
use crate::stage::{PATIENCE, judge_vehicle, play};

const VEHICLES: usize = 8;
const FIXES: u64 = 4000;
const SCRIPT: Script = Script {
    seed: 500,
    start: 1_790_000_000_000,
    rate_hz: 5,
    speed_up: 15.0,
    batch: 20,
    fixes: Some(FIXES),
    remember: true,
};

/// The servers and every process of the cloud.
struct Cluster {
    scene: Scene,
    kafka: Kafka,
    database: TimescaleDb,
    environment: Vec<(String, String)>,
    ca: Role,
    ca_data: PathBuf,
}

impl Cluster {
    /// The servers, and the authority with the certificate of the aggregators.
    async fn begin(name: &str, brokers: usize) -> anyhow::Result<Option<Self>> {
        let scene = Scene::named(name)?;
        let folder = scene.folder("database")?;
        let Some(database) = TimescaleDb::start(&folder, &scene.log("timescaledb.log")).await? else {
            return Ok(None);
        };
        let Some(kafka) = Kafka::start(brokers, &scene.folder("kafka")?, scene.artifacts()).await? else {
            return Ok(None);
        };
        let (ca_data, tls) = (scene.folder("ca")?, scene.folder("tls")?);
        let (data, out) = (ca_data.display().to_string(), tls.display().to_string());
        let made = ["certificate", "--data-dir", &data, "--out", &out, "--name", "localhost"];
        run("avl-cloud", &made).await?.success()?;
        let file = |name: &str| tls.join(name).display().to_string();
        let environment = [
            ("KAFKA__BOOTSTRAP", kafka.bootstrap()),
            ("DATABASE__URL", database.url()),
            ("TLS__CERTIFICATE", file("certificate.pem")),
            ("TLS__KEY", file("key.pem")),
            ("TLS__AUTHORITY", file("ca.pem")),
            ("HEALTH__GRACE", "3s".to_owned()),
        ];
        let environment: Vec<_> =
            environment.map(|(key, value)| (format!("AVL_CLOUD__{key}"), value)).into_iter().collect();
        let arguments =
            ["ca", "--data-dir", &data, "--database", &database.url(), "--enrol", ANY, "--health", ANY];
        // It waits for the schema.
        let ca = Role::launch(&arguments, &[], &scene.log("ca.log"))?;
        Ok(Some(Self { scene, kafka, database, environment, ca, ca_data }))
    }

    async fn migrate(&mut self) -> anyhow::Result<()> {
        run("avl-cloud", &["migrate", "--database", &self.database.url()]).await?.success()?;
        self.ca.listening().await
    }

    /// Starts an aggregator, which may wait.
    fn aggregator(&self, number: usize, health: &str) -> anyhow::Result<Role> {
        let data = self.scene.folder(&format!("aggregate-{number}"))?.display().to_string();
        // The same address after a restart.
        let quic = format!("127.0.0.1:{}", free_port()?);
        let arguments = ["aggregate", "--data-dir", &data, "--quic", &quic, "--health", health];
        Role::launch(&arguments, &self.environment, &self.scene.log(&format!("aggregate-{number}.log")))
    }

    async fn processor(&self, number: usize) -> anyhow::Result<Role> {
        let log = self.scene.log(&format!("process-{number}.log"));
        Role::start(&["process", "--health", ANY], &self.environment, &log).await
    }

    async fn api(&self, number: usize) -> anyhow::Result<Role> {
        let data = self.scene.folder("api")?.display().to_string();
        let http = format!("127.0.0.1:{}", free_port()?);
        let arguments = ["api", "--data-dir", &data, "--http", &http, "--health", ANY];
        Role::start(&arguments, &self.environment, &self.scene.log(&format!("api-{number}.log"))).await
    }

    /// What `avl-cloud` itself says at the end: by SQL of the fleet, and of a vehicle by a store that is derived once more.
    async fn account(&self, fleet: &Fleet) -> anyhow::Result<()> {
        let (url, kafka) = (self.database.url(), self.kafka.bootstrap());
        let servers = ["--kafka", kafka.as_str(), "--database", url.as_str()];
        let arguments = [&["audit", "--fleet", "test", "--since", "3650d", "--json"][..], &servers].concat();
        let report: serde_json::Value =
            serde_json::from_str(&run("avl-cloud", &arguments).await?.success()?.stdout)?;
        let (all, each) = (fleet.acknowledged(), fleet.acknowledged() / VEHICLES as u64);
        anyhow::ensure!(
            report["complete"] == true && report["missing"] == 0 && report["unprocessed"] == 0,
            "{report}"
        );
        anyhow::ensure!(report["received"] == all && report["latency"]["fixes"] == all, "{report}");
        let vehicles = report["vehicles"].as_array().context("no vehicles")?;
        anyhow::ensure!(
            vehicles.len() == VEHICLES && vehicles.iter().all(|one| one["received"] == each),
            "{report}"
        );

        let again = self.scene.folder("again")?.display().to_string();
        let arguments = ["replay", "--into", "store", "--kafka", &kafka, "--data-dir", &again];
        run("avl-cloud", &arguments).await?.success()?;
        let arguments =
            ["audit", "--kafka", &kafka, "--data-dir", &again, "--vehicle", "test/v-0001", "--json"];
        let report: serde_json::Value =
            serde_json::from_str(&run("avl-cloud", &arguments).await?.success()?.stdout)?;
        anyhow::ensure!(report["complete"] == true && report["received"] == each, "{report}");
        Ok(())
    }

    fn client(&self, api: &Role) -> anyhow::Result<Api> {
        let token = std::fs::read_to_string(self.scene.folder("api")?.join("api-token"))?;
        Api::new(api.doors().http.as_deref().context("no HTTP")?, &token)
    }

    fn desk(&self) -> anyhow::Result<Desk> {
        let enrol = self.ca.doors().enrol.clone().context("no enrolment")?;
        Ok(Desk {
            data: self.ca_data.clone(),
            url: format!("https://{enrol}"),
            database: Some(self.database.url()),
        })
    }
}

const ANY: &str = "127.0.0.1:0";

fn quic(role: &Role) -> anyhow::Result<SocketAddr> {
    Ok(role.doors().quic.as_deref().context("no QUIC")?.parse()?)
}

/// Asks for the vehicles, all the time, as a balancer would: at another process when one cannot be reached or says that it
/// drains.
struct Watcher {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Watcher {
    fn over(apis: Vec<Api>) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&answered));
        let task = tokio::spawn(async move {
            let mut turn = 0;
            while !stopped.load(Ordering::Relaxed) {
                turn += 1;
                let mut failures = Vec::new();
                for api in apis.iter().cycle().skip(turn).take(apis.len()) {
                    match api.vehicles().await {
                        Ok(_) => break,
                        Err(error) => failures.push(format!("{error:#}")),
                    }
                }
                anyhow::ensure!(failures.len() < apis.len(), "no API answered: {failures:?}");
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        });
        Self { stop, answered, task }
    }

    async fn finish(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        Ok(self.answered.load(Ordering::Relaxed))
    }
}

async fn driven(fleet: &Fleet, part: u64) -> anyhow::Result<()> {
    let goal = (fleet.emitted() + VEHICLES as u64 * FIXES * part / 100).min(VEHICLES as u64 * FIXES);
    eventually("more fixes emitted", PATIENCE, || async { Ok((fleet.emitted() >= goal).then_some(())) }).await
}

#[test]
fn every_role_comes_and_goes_under_load_and_each_fix_is_one_row() {
    play(async {
        let Some(mut cluster) = Cluster::begin("roles-come-and-go", 3).await? else { return Ok(()) };

        println!("phase: the start waits for a schema");
        let health = format!("127.0.0.1:{}", free_port()?);
        let mut first = cluster.aggregator(1, &health)?;
        eventually("it says what it waits for", PATIENCE, || async {
            let (ready, words) = Role::readiness(&health).await?;
            Ok((!ready && words.contains("starting") && words.contains("migrate")).then_some(()))
        })
        .await?;
        cluster.migrate().await?;
        first.listening().await.context("the start goes on")?;
        let mut second = cluster.aggregator(2, ANY)?;
        second.listening().await?;
        let mut processors = vec![cluster.processor(1).await?];
        let mut apis = [cluster.api(1).await?, cluster.api(2).await?];
        for role in [&first, &second, &processors[0], &apis[0], &apis[1]] {
            role.ready().await?;
        }

        let links = [quic(&first)?, quic(&second)?];
        let fleet = Fleet::launch_from(
            &cluster.desk()?,
            "test",
            VEHICLES,
            &links,
            SCRIPT,
            Conduct::Mischievous,
            |_| {},
        )
        .await?;
        let clients = [cluster.client(&apis[0])?, cluster.client(&apis[1])?];
        let watcher = Watcher::over(clients.to_vec());

        println!("phase: aggregators are rolled");
        driven(&fleet, 8).await?;
        for aggregator in [&mut first, &mut second] {
            aggregator.stop().await?;
            aggregator.resume().await?;
            aggregator.ready().await?;
            driven(&fleet, 4).await?;
        }

        println!("phase: the map follows, by way of Kafka");
        let mut viewer = live(&clients[0]).await?;
        loop {
            let message = tokio::time::timeout(PATIENCE, viewer.next()).await.context("no live update")?;
            if message.context("the live stream ended")??.to_text()?.contains("\"type\":\"update\"") {
                break;
            }
        }
        drop(viewer);

        println!("phase: processors 1, 3, 1, and a poison batch");
        processors.push(cluster.processor(2).await?);
        processors.push(cluster.processor(3).await?);
        for processor in &processors {
            processor.ready().await?;
        }
        let keyed = ["--topic", "avl.batches", "--reader-property", "parse.key=true"];
        let poison = b"test/v-0001\tno headers\nnot a vehicle\tx\n";
        cluster.kafka.tool("org.apache.kafka.tools.ConsoleProducer", &keyed, poison).await?;
        eventually("the poison is counted", PATIENCE, || async {
            let mut refused = 0;
            for processor in &processors {
                refused += processor.count("avl_process_refused_total").await?;
            }
            Ok((refused >= 2).then_some(()))
        })
        .await?;
        driven(&fleet, 4).await?;
        processors[0].stop().await?;
        processors[1].kill().await?;
        driven(&fleet, 4).await?;

        println!("phase: the API's processes are rolled");
        for api in &mut apis {
            api.stop().await?;
            api.resume().await?;
            api.ready().await?;
        }
        let answered = watcher.finish().await?;
        println!("{answered} requests were answered meanwhile");
        anyhow::ensure!(answered > 0);

        println!("phase: a broker is killed");
        cluster.kafka.kill(1).await?;
        driven(&fleet, 4).await?;
        cluster.kafka.resume(1).await?;

        println!("phase: the database is killed");
        cluster.database.kill().await?;
        let health = first.doors().health.clone().context("no health")?;
        let acknowledged = fleet.acknowledged();
        eventually("the aggregator says that the database is away", PATIENCE, || async {
            let (ready, words) = Role::readiness(&health).await?;
            Ok((!ready && words.contains("database")).then_some(()))
        })
        .await?;
        if fleet.acknowledged() < VEHICLES as u64 * FIXES {
            eventually("acknowledged all the same", PATIENCE, || async {
                Ok((fleet.acknowledged() > acknowledged).then_some(()))
            })
            .await?;
        }
        cluster.database.resume().await?;
        first.ready().await?;

        println!("phase: everything is there once");
        tokio::time::timeout(PATIENCE, fleet.parked()).await.context("not all is acknowledged")?;
        anyhow::ensure!(fleet.acknowledged() == VEHICLES as u64 * FIXES);
        for (number, (vehicle, printed)) in fleet.truth().enumerate() {
            let api = &clients[number % 2];
            let arrived = eventually("every fix in the API", PATIENCE, || async {
                let fixes = api.fixes(&vehicle).await?;
                anyhow::ensure!(fixes >= printed.len() as u64, "{fixes} of {}", printed.len());
                Ok(Some(()))
            })
            .await;
            judge_vehicle(api, &vehicle, &printed, &cluster.scene).await?;
            arrived?;
        }
        cluster.account(&fleet).await?;
        for role in apis.iter_mut().chain([&mut processors[2], &mut first, &mut second, &mut cluster.ca]) {
            role.stop().await?;
        }
        Ok(())
    });
}

#[test]
fn what_is_configured_wrongly_fails_at_once_and_says_what_to_do() {
    play(async {
        let scene = Scene::named("roles-refusals")?;
        let data = scene.folder("data")?.display().to_string();
        let kafka = ["--kafka", "127.0.0.1:9", "--database", "postgres://u@127.0.0.1:9/d?sslmode=disable"];
        let misspelt = scene.log("misspelt.toml");
        std::fs::write(&misspelt, "[healt]\nlisten = \"127.0.0.1:0\"\n")?;
        let misspelt = misspelt.display().to_string();
        for (arguments, cure) in [
            (vec!["process", "--health", ANY], "database.url"),
            (vec!["api", "--health", ANY], "--data-dir"),
            (
                [&["aggregate", "--data-dir", &data, "--health", ANY][..], &kafka].concat(),
                "avl-cloud certificate",
            ),
            ([&["process", "--config", &misspelt][..], &kafka].concat(), "healt"),
        ] {
            let output = run("avl-cloud", &arguments).await?;
            anyhow::ensure!(
                output.status.code() == Some(2) && output.stderr.contains(cure),
                "{arguments:?}: {} {}",
                output.status,
                output.stderr
            );
        }
        Ok(())
    });
}
