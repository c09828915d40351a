//! A network namespace for a gateway, with real interfaces towards the cloud: what a relay cannot show (its own
//! address changes, one interface of two goes away, what an interface really carried).
//!
//! Needs root and iproute2. Every veth pair has a network of its own; the cloud has one address, on the first.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;

/// Namespaces of this process, so that each has networks of its own.
static MADE: AtomicU32 = AtomicU32::new(0);

/// One veth pair. Inside the namespace they are called `eth0`, `eth1` and so on.
#[derive(Clone, Debug)]
struct Veth {
    host: String,
    inside: String,
    /// `10.x.y`, the network's first three bytes.
    net: String,
}

/// Dropping it takes the namespace and its interfaces away.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    veths: Vec<Veth>,
}

/// What an interface carried both ways, as the kernel counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// From the gateway.
    pub up: Way,
    /// To it.
    pub down: Way,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// With IP headers, without those of the link layer.
    pub bytes: u64,
    pub packets: u64,
}

impl Carried {
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.up.bytes + self.down.bytes
    }

    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.up.packets + self.down.packets
    }
}

/// Ethernet's header, which no cellular link has.
const LINK_LAYER_HEADER: u64 = 14;

impl Namespace {
    /// `None`, and a word on stderr, where this machine does not allow it; with `CI=true` that fails.
    ///
    /// # Errors
    /// When a namespace can be made but not furnished.
    ///
    /// # Panics
    /// With `CI=true` on a machine without namespaces.
    pub fn with_interfaces(count: usize) -> anyhow::Result<Option<Self>> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let name = format!("avl-{process}-{number}");
        if let Err(error) = ip(&["netns", "add", &name]) {
            let absent = format!("network namespaces are not to be had here (root and iproute2): {error:#}");
            crate::skip(&absent);
            return Ok(None);
        }
        let mut namespace = Self { name, veths: Vec::new() };
        for index in 0..count {
            namespace.add_veth(process, number, index)?;
        }
        Ok(Some(namespace))
    }

    fn add_veth(&mut self, process: u32, number: u32, index: usize) -> anyhow::Result<()> {
        // Of 10.128.0.0/9; processes that run at once are unlikely to be 2,048 numbers apart.
        let network = (process % 2048) * 16 + (number * 2 + u32::try_from(index)?) % 16;
        let net = format!("10.{}.{}", 128 + network / 256 % 128, network % 256);
        let veth = Veth { host: format!("av{process}n{number}i{index}"), inside: format!("eth{index}"), net };
        // A name of an interface has 15 characters at most.
        let host = &veth.host[veth.host.len().saturating_sub(15)..];
        let veth = Veth { host: host.to_owned(), ..veth };
        ip(&["link", "add", &veth.host, "type", "veth", "peer", "name", &veth.inside, "netns", &self.name])?;
        // No router solicitations among the bytes that are counted.
        let quiet = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", veth.host);
        std::fs::write(&quiet, "1")
            .or_else(|error| if PathBuf::from(&quiet).exists() { Err(error) } else { Ok(()) })?;
        ip(&["address", "add", &format!("{}.1/24", veth.net), "dev", &veth.host])?;
        ip(&["link", "set", &veth.host, "up"])?;
        self.inside(&["sysctl", "-qw", &format!("net.ipv6.conf.{}.disable_ipv6=1", veth.inside)]).ok();
        ip(&["-n", &self.name, "link", "set", "lo", "up"])?;
        ip(&["-n", &self.name, "address", "add", &format!("{}.2/24", veth.net), "dev", &veth.inside])?;
        ip(&["-n", &self.name, "link", "set", &veth.inside, "up"])?;
        // A cellular link knows no ARP: its requests and answers are not to be counted.
        let outside = std::fs::read_to_string(format!("/sys/class/net/{}/address", veth.host))?;
        let cloud = format!("{}.1", veth.net);
        let fixed = ["lladdr", outside.trim(), "nud", "permanent", "dev", &veth.inside];
        ip(&[&["-n", self.name.as_str(), "neighbour", "replace", cloud.as_str()][..], &fixed[..]].concat())?;
        self.fix_vehicles_address(&veth, 2)?;
        self.veths.push(veth);
        if index > 0 {
            self.route_to_cloud(index)?;
        }
        Ok(())
    }

    fn fix_vehicles_address(&self, veth: &Veth, last: u8) -> anyhow::Result<()> {
        let shown = Command::new("ip")
            .args(["-n", self.name.as_str(), "-o", "link", "show", veth.inside.as_str()])
            .output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
        let inside = words.nth(1).context("the interface shows no address")?;
        let vehicle = format!("{}.{last}", veth.net);
        ip(&["neighbour", "replace", &vehicle, "lladdr", inside, "nud", "permanent", "dev", &veth.host])
    }

    fn route_to_cloud(&self, index: usize) -> anyhow::Result<()> {
        let (cloud, veth) = (format!("{}.0/24", self.veths[0].net), &self.veths[index]);
        let metric = (100 + index).to_string();
        let gateway = format!("{}.1", veth.net);
        ip(&[
            "-n",
            &self.name,
            "route",
            "add",
            &cloud,
            "via",
            &gateway,
            "dev",
            &veth.inside,
            "metric",
            &metric,
        ])
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the cloud listens.
    #[must_use]
    pub fn cloud_ip(&self) -> String {
        format!("{}.1", self.veths[0].net)
    }

    /// The gateway's interface gets another address in place of the one it had, as from DHCP or a modem.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn change_address(&self, index: usize, from: u8, to: u8) -> anyhow::Result<()> {
        let veth = &self.veths[index];
        ip(&["-n", &self.name, "address", "del", &format!("{}.{from}/24", veth.net), "dev", &veth.inside])?;
        ip(&["-n", &self.name, "address", "add", &format!("{}.{to}/24", veth.net), "dev", &veth.inside])
    }

    /// As when a modem loses its network.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take_down(&self, index: usize) -> anyhow::Result<()> {
        ip(&["-n", &self.name, "link", "set", &self.veths[index].inside, "down"])
    }

    /// # Errors
    /// When the kernel refuses.
    pub fn bring_up(&self, index: usize) -> anyhow::Result<()> {
        ip(&["-n", &self.name, "link", "set", &self.veths[index].inside, "up"])?;
        // Routes by a gateway went with it.
        if index > 0 { self.route_to_cloud(index) } else { Ok(()) }
    }

    /// # Errors
    /// When the kernel does not tell.
    pub fn carried(&self, index: usize) -> anyhow::Result<Carried> {
        let folder = PathBuf::from("/sys/class/net").join(&self.veths[index].host).join("statistics");
        let read = |name: String| -> anyhow::Result<u64> {
            Ok(std::fs::read_to_string(folder.join(name))?.trim().parse()?)
        };
        // Seen from the host's end: what it receives, the gateway has sent.
        let way = |side: &str| -> anyhow::Result<Way> {
            let (bytes, packets) = (read(format!("{side}_bytes"))?, read(format!("{side}_packets"))?);
            Ok(Way { bytes: bytes.saturating_sub(LINK_LAYER_HEADER * packets), packets })
        };
        Ok(Carried { up: way("rx")?, down: way("tx")? })
    }

    fn inside(&self, command: &[&str]) -> anyhow::Result<()> {
        let mut arguments = vec!["netns", "exec", &self.name];
        arguments.extend(command);
        ip(&arguments)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Both ends of a veth pair go with either.
        for veth in &self.veths {
            let _ = ip(&["link", "del", &veth.host]);
        }
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("'ip' of iproute2 cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}
