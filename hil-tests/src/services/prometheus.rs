//! Prometheus with what `deploy/observability` ships, reading a cloud of this machine every second.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::free_port;
use crate::process::{Child, Cloud, eventually};
use crate::{project_root, skip};

const READY: Duration = Duration::from_secs(60);

/// Dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    base: String,
    client: reqwest::Client,
    _child: Child,
}

impl Prometheus {
    /// Watches `cloud`; ready for questions. `None`, said loudly, where it cannot be installed.
    ///
    /// # Errors
    /// When it does not become ready.
    ///
    /// # Panics
    /// In CI, when it cannot be installed.
    pub async fn watch(cloud: &Cloud, folder: &Path, log: &Path) -> anyhow::Result<Option<Self>> {
        if !Command::new(script()).arg("install").status().await?.success() {
            skip("Prometheus cannot be installed ('./scripts/prometheus.sh install' says why)");
            return Ok(None);
        }
        let config = folder.join("prometheus.yaml");
        std::fs::write(&config, configuration(cloud)?)?;
        let port = free_port()?;
        let (data, config) = (folder.join("data").display().to_string(), config.display().to_string());
        let arguments = ["run", &data, &port.to_string(), &config];
        let mut child = Child::start_program(&script(), "prometheus", &arguments, log)?;
        child.drain();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let prometheus = Self { base: format!("http://127.0.0.1:{port}"), client, _child: child };
        eventually("Prometheus serves", READY, || async {
            let answer = prometheus.client.get(format!("{}/-/ready", prometheus.base)).send().await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        })
        .await?;
        Ok(Some(prometheus))
    }

    /// The `data` of an answer of its API.
    ///
    /// # Errors
    /// When it refuses; with its words.
    pub async fn ask(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/{path}", self.base))?;
        url.query_pairs_mut().extend_pairs(query);
        let answer = self.client.get(url).send().await?.bytes().await?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        anyhow::ensure!(answer["status"] == "success", "{path} {query:?}: {}", answer["error"]);
        Ok(answer["data"].take())
    }
}

/// The one that is shipped, in a hurry and with this machine's places.
fn configuration(cloud: &Cloud) -> anyhow::Result<String> {
    let shipped = project_root().join("deploy/observability/prometheus");
    let mut text = std::fs::read_to_string(shipped.join("prometheus.yaml"))?;
    for (from, to) in [
        ("interval: 15s", "interval: 1s".to_owned()),
        ("[rules.yaml]", format!("['{}']", shipped.join("rules.yaml").display())),
        ("/etc/prometheus/avl-api-token", cloud.data().join("api-token").display().to_string()),
        ("'127.0.0.1:8080'", format!("'{}'", cloud.ports().http)),
        ("'127.0.0.1:9093'", String::new()),
    ] {
        anyhow::ensure!(text.contains(from), "the shipped prometheus.yaml no longer has {from}");
        text = text.replace(from, &to);
    }
    Ok(text)
}

fn script() -> PathBuf {
    project_root().join("scripts/prometheus.sh")
}
