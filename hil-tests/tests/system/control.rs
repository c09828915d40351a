//! Orders from the cloud, carried out by a real gateway: commands, remote configurations that it takes back by itself, and
//! signed updates of which the broken ones are taken back. Through all of it, no fix is lost or repeated.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hil_tests::logs::MOORED;
use hil_tests::oracle::api::Api;
use hil_tests::process::{Child, Edge, Source, eventually, program, run};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::mqtt::stage_with_broker;
use crate::stage::{FLEET, PATIENCE, Stage, VEHICLE, play};

/// So slow that fixes come for as long as the scenario lasts.
const SPEED: f64 = 8.0;

struct Scenario {
    stage: Stage,
    edge: Edge,
    api: Api,
}

impl Scenario {
    /// A gateway that is enrolled, with `extra` in its configuration.
    async fn set(name: &str, log: &Path, extra: &str) -> anyhow::Result<Self> {
        let stage = Stage::set(name, log).await?;
        let quic = stage.cloud.ports().quic.clone();
        let edge = stage.gateway(&Source::Replay { path: log.to_owned(), speed: SPEED }, &quic).await?;
        let text = std::fs::read_to_string(edge.config())?;
        std::fs::write(edge.config(), format!("{text}\n{extra}"))?;
        let api = stage.cloud.api()?;
        Ok(Self { stage, edge, api })
    }

    fn start(&self, how: &str) -> anyhow::Result<Child> {
        let config = self.edge.config().display().to_string();
        let mut child =
            Child::start("avl-edge", &[how, "--config", &config], &self.stage.scene.log("avl-edge.log"))?;
        child.drain();
        Ok(child)
    }

    async fn connected(&self) -> anyhow::Result<()> {
        eventually("the vehicle's first fixes", PATIENCE, || async {
            Ok((self.api.fixes(&format!("{FLEET}/{VEHICLE}")).await? > 0).then_some(()))
        })
        .await
    }

    fn path(what: &str) -> String {
        format!("/api/v1/vehicles/{FLEET}/{VEHICLE}/{what}")
    }

    async fn get(&self, what: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.api.text(&Self::path(what)).await?)?)
    }

    /// Gives a command and waits until it is over.
    async fn command(&self, order: Value) -> anyhow::Result<Value> {
        let given = self.api.order(Method::POST, &Self::path("commands"), &order).await?;
        anyhow::ensure!(given.status == StatusCode::CREATED, "{order}: {} {}", given.status, given.body);
        let id = serde_json::from_str::<Value>(&given.body)?["id"].as_str().context("no id")?.to_owned();
        eventually(&format!("the answer to {order}"), PATIENCE, || async {
            let command = self.get(&format!("commands/{id}")).await?;
            let open = ["waiting", "sent", "accepted"].map(Value::from).contains(&command["state"]);
            anyhow::ensure!(!open, "{command}");
            Ok(Some(command))
        })
        .await
    }

    /// Orders a configuration and waits until it is decided; returns (state, detail).
    async fn configure(&self, toml: &str) -> anyhow::Result<(String, String)> {
        let ordered =
            self.api.order(Method::PUT, &Self::path("configuration"), &json!({"toml": toml})).await?;
        anyhow::ensure!(ordered.status.is_success(), "{toml}: {} {}", ordered.status, ordered.body);
        eventually(&format!("what becomes of {toml}"), PATIENCE, || async {
            let now = self.get("configuration").await?;
            let state = now["state"].as_str().unwrap_or_default().to_owned();
            anyhow::ensure!(!["waiting", "sent"].contains(&state.as_str()), "{now}");
            Ok(Some((state, now["detail"].as_str().unwrap_or_default().to_owned())))
        })
        .await
    }

    /// Replays what is left of the log as fast as it goes, and lets the oracle judge the whole.
    async fn judge(mut self, child: Child) -> anyhow::Result<()> {
        let status = child.stop().await?;
        anyhow::ensure!(status.success(), "the agent ended with {status}");
        let text = std::fs::read_to_string(self.edge.config())?;
        std::fs::write(self.edge.config(), text.replace(&format!("speed = {SPEED}"), "speed = 0.0"))?;
        self.edge.start()?;
        self.edge.ended(PATIENCE).await?;
        self.stage.judge().await
    }
}

fn detail(command: &Value) -> &str {
    command["detail"].as_str().unwrap_or_default()
}

#[test]
fn orders_reach_a_vehicle_that_has_nothing_but_mqtt() {
    play(async {
        let Some(log) = MOORED.path() else { return Ok(()) };
        let Some((stage, broker)) = stage_with_broker("control-mqtt", &log).await? else { return Ok(()) };
        // Nobody is there by QUIC.
        let source = Source::Replay { path: log.clone(), speed: SPEED };
        let edge = stage.gateway(&source, "127.0.0.1:9").await?;
        edge.configure_also(&format!(
            "[uplink.mqtt]\naddress = \"localhost:{}\"\nprefer = \"mqtt\"\n[control]\nremote_keys = [\"uplink.latency\"]\n",
            broker.address().port()
        ))?;
        let api = stage.cloud.api()?;
        let mut scenario = Scenario { stage, edge, api };
        let child = scenario.start("run")?;
        scenario.connected().await?;
        let located = scenario.command(json!({"action": "locate"})).await?;
        assert_eq!(located["state"], "done", "{located}");
        assert!(located["result"]["position"]["lat"].is_f64(), "{located}");
        let (state, detail) = scenario.configure("uplink.latency = \"400ms\"").await?;
        assert_eq!(state, "applied", "{detail}");
        // Longer than one message.
        let bundle = scenario.command(json!({"action": "diagnostics"})).await?;
        assert_eq!(bundle["state"], "done", "{bundle}");
        // To a cloud that has just started the vehicle says no hello: it does not notice.
        scenario.stage.cloud.kill().await?;
        scenario.stage.cloud.resume().await?;
        scenario.api = scenario.stage.cloud.api()?;
        let located = scenario.command(json!({"action": "locate"})).await?;
        assert_eq!(located["state"], "done", "{located}");
        scenario.judge(child).await
    });
}

#[test]
fn commands_are_answered_and_configurations_tried_and_taken_back() {
    play(async {
        let Some(log) = MOORED.path() else { return Ok(()) };
        let extra = "[control]\nconfirm_within = \"8s\"\nremote_keys = [\"uplink.latency\", \"uplink.quic.address\"]\n";
        let scenario = Scenario::set("control", &log, extra).await?;
        let child = scenario.start("run")?;
        scenario.connected().await?;

        let located = scenario.command(json!({"action": "locate"})).await?;
        assert_eq!(located["state"], "done", "{located}");
        let lat = located["result"]["position"]["lat"].as_f64().context("no position")?;
        assert!(lat.abs() > 1.0 && located["result"]["age_ms"].is_u64(), "{located}");

        let refused = scenario.command(json!({"action": "restart"})).await?;
        assert_eq!(refused["state"], "refused", "{refused}");
        assert!(detail(&refused).contains("control.allow"), "{refused}");

        let recalled = scenario
            .command(
                json!({"action": "history", "from": "2020-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"}),
            )
            .await?;
        assert!(["done", "failed"].map(Value::from).contains(&recalled["state"]), "{recalled}");

        let bundle = scenario.command(json!({"action": "diagnostics"})).await?;
        let id = bundle["id"].as_str().context("no id")?;
        let bundle: Value = scenario.get(&format!("commands/{id}/result")).await?;
        assert_eq!(bundle["vehicle"], format!("{FLEET}/{VEHICLE}"));
        assert!(bundle["log"].as_array().is_some_and(|lines| !lines.is_empty()), "{bundle}");

        let (state, detail) = scenario.configure("uplink.latency = \"400ms\"").await?;
        assert_eq!(state, "applied", "{detail}");
        let (state, detail) = scenario.configure("uplink.latency = \"soon\"").await?;
        assert!(state == "rejected" && detail.contains("uplink.latency"), "{state}: {detail}");
        let (state, detail) = scenario.configure("source.path = \"/dev/null\"").await?;
        assert!(state == "rejected" && detail.contains("control.remote_keys"), "{state}: {detail}");
        // Allowed, valid, and fatal: nobody is at that address. The vehicle comes back by itself.
        let (state, detail) = scenario.configure("uplink.quic.address = \"127.0.0.1:9\"").await?;
        assert!(state == "rolled_back" && detail.contains("version 1"), "{state}: {detail}");

        let set = scenario.command(json!({"action": "interval", "latency_s": 0.3})).await?;
        println!("interval: {set}");
        scenario.judge(child).await
    });
}

/// The programs to update to: each starts with what makes it different.
fn programs(folder: &Path) -> anyhow::Result<[PathBuf; 3]> {
    let agent = program("avl-edge")?;
    let healthy = format!("#!/bin/sh\nexec '{}' \"$@\"\n", agent.display());
    let texts = [
        ("healthy", healthy.as_str()),
        ("broken", "#!/bin/sh\nexit 1\n"),
        ("hanging", "#!/bin/sh\nexec sleep 600\n"),
    ];
    let mut made = Vec::new();
    for (name, text) in texts {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        made.push(path);
    }
    made.try_into().map_err(|_| anyhow::anyhow!("three programs"))
}

async fn release(args: &[&str]) -> anyhow::Result<String> {
    Ok(run("avl-cloud", &[&["release"], args].concat()).await?.success()?.stdout.trim().to_owned())
}

#[test]
fn a_good_update_stays_and_broken_ones_are_taken_back() {
    play(async {
        let Some(log) = MOORED.path() else { return Ok(()) };
        let folder = tempfile::Builder::new().prefix("avl-releases-").tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let public = release(&["keygen", "--key", &at("release.key")]).await?;
        release(&["keygen", "--key", &at("other.key")]).await?;
        let extra = format!(
            "[control]\nallow = [\"update\", \"diagnostics\"]\n[update]\npublic_key = {public:?}\ndirectory = {:?}\nconfirm_within = \"12s\"\n",
            at("slots")
        );
        let scenario = Scenario::set("updates", &log, &extra).await?;
        let child = scenario.start("launch")?;
        scenario.connected().await?;
        let data = scenario.stage.cloud.data().display().to_string();

        let asked = scenario.command(json!({"action": "diagnostics"})).await?;
        let bundle =
            scenario.get(&format!("commands/{}/result", asked["id"].as_str().unwrap_or_default())).await?;
        let target = bundle["target"].as_str().context("no target")?.to_owned();

        let [healthy, broken, hanging] = programs(folder.path())?;
        let offer = async |version: &str, file: &Path, key: &str| -> anyhow::Result<Value> {
            let (file, signed) = (file.display().to_string(), at("signed.json"));
            let manifest = release(&[
                "sign",
                "--key",
                &at(key),
                "--file",
                &file,
                "--version",
                version,
                "--target",
                &target,
            ])
            .await?;
            std::fs::write(&signed, manifest)?;
            release(&["add", "--data-dir", &data, "--signed", &signed, "--file", &file]).await?;
            scenario.command(json!({"action": "update", "version": version})).await
        };
        let running = || -> anyhow::Result<Value> {
            let slots = std::fs::read_to_string(folder.path().join("slots/slots.json"))?;
            Ok(serde_json::from_str::<Value>(&slots)?["current"]["version"].clone())
        };

        let forged = offer("7.0.0", &healthy, "other.key").await?;
        assert_eq!(forged["state"], "refused", "{forged}");
        assert!(detail(&forged).contains("not signed"), "{forged}");

        let good = offer("7.1.0", &healthy, "release.key").await?;
        assert_eq!(good["state"], "done", "{good}");
        assert_eq!(running()?, "7.1.0");

        let dies = offer("7.2.0", &broken, "release.key").await?;
        assert_eq!(dies["state"], "failed", "{dies}");
        assert!(detail(&dies).contains("3 times"), "{dies}");
        assert_eq!(running()?, "7.1.0");

        let hangs = offer("7.3.0", &hanging, "release.key").await?;
        assert_eq!(hangs["state"], "failed", "{hangs}");
        assert!(detail(&hangs).contains("within 12 s"), "{hangs}");
        assert_eq!(running()?, "7.1.0");

        let older = offer("7.0.5", &healthy, "release.key").await?;
        assert_eq!(older["state"], "refused", "{older}");
        tokio::time::timeout(Duration::from_secs(60), scenario.judge(child)).await?
    });
}
