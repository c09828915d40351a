//! Mosquitto, as `deploy/mosquitto` ships it: the same configuration and access rules, on other ports and folders.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::child::{Child, run};
use super::scene::eventually;

/// Where Debian puts it: not on everybody's path.
const PLACES: [&str; 3] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
const READY: Duration = Duration::from_secs(20);

/// A broker that vehicles and the cloud find at fixed ports, also after a restart.
#[derive(Debug)]
pub struct Broker {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    vehicles: SocketAddr,
    cloud: SocketAddr,
    child: Option<Child>,
}

impl Broker {
    /// Mosquitto's program; `None`, said loudly, on a machine that has it not. In CI that is a failure.
    ///
    /// # Panics
    /// In CI (`CI=true`), when it is absent: a test that silently did not run proves nothing.
    #[must_use]
    pub fn program() -> Option<PathBuf> {
        let found = PLACES.iter().map(PathBuf::from).find(|path| path.is_file());
        if found.is_none() {
            let absent = "mosquitto is not installed ('./scripts/setup.sh test' installs it)";
            crate::skip(absent);
        }
        found
    }

    /// Makes its certificates with `avl-cloud broker` and starts it. Without persistence: a kill forgets every session.
    ///
    /// # Errors
    /// When it does not become ready; with its last words.
    pub async fn start(
        program: PathBuf,
        folder: &Path,
        cloud_data: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, program, folder, cloud_data, log).await
    }

    /// As [`Broker::start`], where vehicles find it at another address of this machine.
    ///
    /// # Errors
    /// See [`Broker::start`].
    pub async fn start_at(
        ip: Ipv4Addr,
        program: PathBuf,
        folder: &Path,
        cloud_data: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let (out, address) = (folder.display().to_string(), ip.to_string());
        certify(cloud_data, folder, &["localhost", "127.0.0.1", &address]).await?;
        let shipped = crate::project_root().join("deploy/mosquitto");
        std::fs::copy(shipped.join("acl"), folder.join("acl"))?;
        let (vehicles, cloud) = (free_port(ip)?, free_port(Ipv4Addr::LOCALHOST)?);
        let mut text = std::fs::read_to_string(shipped.join("mosquitto.conf"))?;
        for (from, to) in [
            ("/etc/mosquitto/avl", out.clone()),
            ("listener 8883", format!("listener {} {ip}", vehicles.port())),
            ("listener 8884", format!("listener {} 127.0.0.1", cloud.port())),
            ("persistence true", "persistence false".to_owned()),
        ] {
            anyhow::ensure!(text.contains(from), "the shipped configuration has no {from:?}");
            text = text.replace(from, &to);
        }
        // Started by root it would change its user, and that one may not enter the scene's folders.
        if rustix::process::geteuid().is_root() {
            text.push_str("\nuser root\n");
        }
        let config = folder.join("mosquitto.conf");
        std::fs::write(&config, text)?;
        let mut broker = Self { program, config, log: log.to_owned(), vehicles, cloud, child: None };
        broker.resume().await?;
        Ok(broker)
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let config = self.config.display().to_string();
        let mut child = Child::start_program(&self.program, "mosquitto", &["-c", &config], &self.log)?;
        child.drain();
        self.child = Some(child);
        let address = self.vehicles;
        eventually("the broker listens", READY, || async move {
            tokio::net::TcpStream::connect(address).await?;
            Ok(Some(()))
        })
        .await
    }

    /// Signal 9: sessions and queues are gone.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.take().context("the broker is not running")?.kill().await
    }

    /// Starts it again with certificates of that cloud's authority, for these names.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn resume_as(&mut self, cloud_data: &Path, names: &[&str]) -> anyhow::Result<()> {
        certify(cloud_data, self.folder()?, names).await?;
        self.resume().await
    }

    /// Starts it again with access rules in which `from` stands as `to`.
    ///
    /// # Errors
    /// When it does not become ready, or the rules have no `from`.
    pub async fn resume_with_access(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        let rules = self.folder()?.join("acl");
        let text = std::fs::read_to_string(&rules)?;
        anyhow::ensure!(text.contains(from), "the access rules have no {from:?}");
        std::fs::write(&rules, text.replace(from, to))?;
        self.resume().await
    }

    fn folder(&self) -> anyhow::Result<&Path> {
        self.config.parent().context("the configuration is in no folder")
    }

    /// Where vehicles connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.vehicles
    }

    /// For `avl-cloud all --mqtt`.
    #[must_use]
    pub fn cloud_url(&self) -> String {
        format!("mqtts://localhost:{}", self.cloud.port())
    }
}

/// Makes the broker's certificates with `avl-cloud broker`, for these names.
async fn certify(cloud_data: &Path, folder: &Path, names: &[&str]) -> anyhow::Result<()> {
    let (data, out) = (cloud_data.display().to_string(), folder.display().to_string());
    let mut arguments = vec!["broker", "--data-dir", &data, "--out", &out];
    names.iter().for_each(|name| arguments.extend(["--name", name]));
    run("avl-cloud", &arguments).await?.success().context("avl-cloud broker")?;
    Ok(())
}

/// Free a moment ago; the broker has no way to tell which one it took by itself.
fn free_port(ip: Ipv4Addr) -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((ip, 0))?.local_addr()?)
}
