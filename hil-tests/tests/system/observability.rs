//! What `deploy/observability` ships, on a real Prometheus that reads a real cloud: every rule and every panel finds what
//! it asks for, and a cloud that is gone raises its alert.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context as _;
use hil_tests::fleet::{Fleet, Script};
use hil_tests::process::{Broker, Cloud, Ports, Scene, eventually};
use hil_tests::project_root;
use hil_tests::services::Prometheus;
use serde_json::Value;

use crate::stage::{PATIENCE, play};

const SCRIPT: Script = Script {
    seed: 500,
    start: 1_790_000_000_000,
    rate_hz: 5,
    speed_up: 40.0,
    batch: 20,
    fixes: Some(400),
    remember: false,
};

#[test]
fn rules_and_dashboards_find_what_they_ask_for_and_a_dead_cloud_raises_its_alert() {
    play(async {
        let Some(mosquitto) = Broker::program() else { return Ok(()) };
        let scene = Scene::named("observability")?;
        let data = scene.folder("cloud")?;
        let broker =
            Broker::start(mosquitto, &scene.folder("broker")?, &data, &scene.log("mosquitto.log")).await?;
        let keys = [("AVL_CLOUD__MQTT__URL", &*broker.cloud_url())];
        let mut cloud = Cloud::start_in(&data, &scene.log("avl-cloud.log"), Ports::default(), &keys).await?;
        let (folder, log) = (scene.folder("prometheus")?, scene.log("prometheus.log"));
        let Some(prometheus) = Prometheus::watch(&cloud, &folder, &log).await? else { return Ok(()) };

        let link = cloud.ports().quic.parse()?;
        let fleet = Fleet::launch(&cloud, "test", 2, link, SCRIPT, |_| {}).await?;
        tokio::time::timeout(PATIENCE, fleet.parked()).await?;
        cloud.api()?.vehicles().await?;
        // Their connections end, which is counted too.
        drop(fleet);

        let asked = asked()?;
        let names: BTreeSet<&str> = asked.iter().flat_map(|expression| metrics_in(expression)).collect();
        anyhow::ensure!(names.len() > 25, "only {names:?} are asked for: are the files read?");
        eventually("every metric that is asked for", PATIENCE, || async {
            let known = prometheus.ask("label/__name__/values", &[]).await?;
            let known: BTreeSet<&str> =
                known.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let absent: Vec<_> = names.difference(&known).collect();
            fs::write(scene.log("absent-metrics.txt"), format!("{absent:#?}"))?;
            Ok(absent.is_empty().then_some(()))
        })
        .await
        .context("absent-metrics.txt beside the logs names the others")?;
        for expression in &asked {
            prometheus.ask("query", &[("query", expression)]).await?;
        }
        let evaluated = eventually("every rule was evaluated", PATIENCE, || async {
            let rules = rules(&prometheus).await?;
            Ok(rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules))
        })
        .await?;
        for rule in &evaluated {
            anyhow::ensure!(rule["health"] == "ok", "{rule:#}");
            anyhow::ensure!(rule["state"] != "firing", "an alert on a healthy cloud: {rule:#}");
        }

        cloud.kill().await?;
        eventually("the alert", PATIENCE, || async {
            let down = rules(&prometheus).await?.into_iter().find(|rule| rule["name"] == "AvlCloudDown");
            let down = down.context("no rule AvlCloudDown")?;
            // Its two minutes begin now.
            Ok((down["state"] == "pending").then_some(()))
        })
        .await
    });
}

async fn rules(prometheus: &Prometheus) -> anyhow::Result<Vec<Value>> {
    let data = prometheus.ask("rules", &[]).await?;
    let groups = data["groups"].as_array().context("no groups of rules")?;
    Ok(groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
}

/// Every expression of rules and dashboards, with the interval that Grafana would put in.
fn asked() -> anyhow::Result<Vec<String>> {
    let shipped = project_root().join("deploy/observability");
    let mut expressions = Vec::new();
    for dashboard in fs::read_dir(shipped.join("dashboards"))? {
        let path = dashboard?.path();
        let dashboard: Value =
            serde_json::from_slice(&fs::read(&path)?).with_context(|| path.display().to_string())?;
        collect(&dashboard, &mut expressions);
    }
    anyhow::ensure!(expressions.len() > 20, "only {} expressions in the dashboards", expressions.len());
    for expression in &mut expressions {
        *expression = expression.replace("$__rate_interval", "1m");
    }
    // The rules' syntax is judged by promtool; here their metrics are looked for.
    let rules = fs::read_to_string(shipped.join("prometheus/rules.yaml"))?;
    let asked = rules.split("expr:").skip(1).filter_map(|rest| {
        let end = ["\n        for:", "\n        labels:", "\n      - ", "\n\n"];
        let end = end.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
        Some(rest[..end].trim().trim_start_matches(">-").trim().to_owned()).filter(|text| !text.is_empty())
    });
    expressions.extend(asked);
    Ok(expressions)
}

fn collect(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "expr" => expressions.push(text.clone()),
                    other => collect(other, expressions),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, expressions)),
        _ => {}
    }
}

fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| word.starts_with("avl_") || word.starts_with("avl:"))
}
