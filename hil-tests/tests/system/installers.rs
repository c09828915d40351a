//! What an installer meets: `status`, `doctor`, `monitor`, metrics and the service, on gateways that work and on such as
//! are broken in one way each. The doctor must name the right cause with its cure, and end with the right code.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use hil_tests::drive::Drive;
use hil_tests::process::{
    Broker, Cloud, Edge, Output, Ports, Scene, Source, Tuning, eventually, program, run,
};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};
use serde_json::Value;

use crate::stage::{FLEET, PATIENCE, VEHICLE, play};

struct Gateway {
    scene: Scene,
    cloud: Cloud,
    receiver: VirtualReceiver,
    edge: Edge,
}

impl Gateway {
    /// Everything in order, the agent not yet running.
    async fn set_up(name: &str) -> anyhow::Result<Self> {
        let scene = Scene::named(name)?;
        let cloud =
            Cloud::start(&scene.folder("cloud")?, &scene.log("avl-cloud.log"), Ports::default()).await?;
        Self::in_scene(scene, cloud).await
    }

    /// The same with a broker that the cloud listens at. `None` where there is no Mosquitto.
    async fn set_up_with_broker(name: &str) -> anyhow::Result<Option<(Self, Broker)>> {
        let Some(program) = Broker::program() else { return Ok(None) };
        let scene = Scene::named(name)?;
        let (data, folder) = (scene.folder("cloud")?, scene.folder("broker")?);
        let broker = Broker::start(program, &folder, &data, &scene.log("mosquitto.log")).await?;
        let url = broker.cloud_url();
        let keys = [("AVL_CLOUD__MQTT__URL", url.as_str())];
        let cloud = Cloud::start_in(&data, &scene.log("avl-cloud.log"), Ports::default(), &keys).await?;
        let gateway = Self::in_scene(scene, cloud).await?;
        gateway.edge.configure_also(&format!(
            "[uplink.mqtt]\naddress = \"localhost:{}\"\n",
            broker.address().port()
        ))?;
        Ok(Some((gateway, broker)))
    }

    async fn in_scene(scene: Scene, cloud: Cloud) -> anyhow::Result<Self> {
        let start = chrono::Utc::now().timestamp_millis();
        let receiver =
            VirtualReceiver::plug_in(Feed::drive(Drive::seeded(11, start, 1), None), Pace::Real, None)?;
        let edge = Edge::configure(
            &scene.folder("edge")?,
            &scene.log("avl-edge.log"),
            &Source::virtual_serial(receiver.device()),
            &cloud.ports().quic,
            Tuning::HASTY,
        )?;
        edge.enrol(&cloud, FLEET, VEHICLE).await?;
        Ok(Self { scene, cloud, receiver, edge })
    }

    /// The configuration with one thing changed.
    fn changed(&self, name: &str, from: &str, to: &str) -> anyhow::Result<PathBuf> {
        let text = std::fs::read_to_string(self.edge.config())?;
        anyhow::ensure!(text.contains(from), "{from:?} is not in {text}");
        let path = self.scene.folder("changed")?.join(name);
        std::fs::write(&path, text.replace(from, to))?;
        Ok(path)
    }

    async fn status(&self) -> anyhow::Result<Output> {
        avl_edge(&["status", "--config", &self.edge.config().display().to_string()]).await
    }
}

async fn avl_edge(arguments: &[&str]) -> anyhow::Result<Output> {
    run("avl-edge", arguments).await
}

#[derive(Debug)]
struct Diagnosis {
    code: Option<i32>,
    checks: Vec<Value>,
    text: String,
}

impl Diagnosis {
    async fn of(config: &Path, timeout: &str) -> anyhow::Result<Self> {
        let config = config.display().to_string();
        let output = avl_edge(&["doctor", "--config", &config, "--timeout", timeout, "--json"]).await?;
        let json: Value = serde_json::from_str(&output.stdout)
            .with_context(|| format!("{}{}", output.stdout, output.stderr))?;
        let checks = json["checks"].as_array().context("no checks")?.clone();
        Ok(Self { code: output.status.code(), checks, text: output.stdout })
    }

    fn outcome(&self, name: &str) -> &str {
        self.checks
            .iter()
            .find(|check| check["name"] == name)
            .and_then(|check| check["outcome"].as_str())
            .unwrap_or("absent")
    }

    /// The check failed, and says this among its cause and its cure.
    #[track_caller]
    fn blames(&self, name: &str, cause: &str, cure: &str) {
        let check = self.checks.iter().find(|check| check["name"] == name).expect("a check of that name");
        assert_eq!(check["outcome"], "failed", "{name}: {}", self.text);
        for (field, words) in [("cause", cause), ("cure", cure)] {
            assert!(check[field].as_str().unwrap().contains(words), "{name}: {words:?} is not in {check}");
        }
        assert_eq!(self.code, Some(1), "{}", self.text);
    }

    /// Nothing else failed: the doctor points to one thing.
    #[track_caller]
    fn blames_only(&self, name: &str, cause: &str, cure: &str) {
        self.blames(name, cause, cure);
        let failed: Vec<&Value> = self.checks.iter().filter(|check| check["outcome"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{}", self.text);
    }
}

#[test]
fn the_doctor_finds_a_stopped_gateway_and_a_running_one_well() {
    play(async {
        let mut gateway = Gateway::set_up("installers-healthy").await?;
        let stopped = Diagnosis::of(gateway.edge.config(), "60s").await?;
        assert_eq!(stopped.code, Some(0), "{}", stopped.text);
        for name in ["receiver", "sentences", "fix", "identity", "name", "link", "acknowledgement", "clock"] {
            assert_eq!(stopped.outcome(name), "good", "{name}: {}", stopped.text);
        }
        let absent = gateway.status().await?;
        assert_eq!(absent.status.code(), Some(2), "{absent:?}");
        assert!(
            absent.stderr.contains("not running") && absent.stderr.contains("systemctl start"),
            "{absent:?}"
        );

        // A reader that is gone leaves its exclusive claim on a pseudo-terminal that stays open.
        gateway.receiver.halt().await;
        gateway.receiver.go().await;
        gateway.edge.start()?;
        eventually("a healthy status", PATIENCE, || async {
            let status = gateway.status().await?;
            let well = status.status.code() == Some(0)
                && status.stdout.contains("connected")
                && status.stdout.contains("is read");
            anyhow::ensure!(well, "{status:?}");
            Ok(Some(()))
        })
        .await?;
        let running = Diagnosis::of(gateway.edge.config(), "60s").await?;
        assert_eq!(running.code, Some(0), "{}", running.text);
        assert!(running.text.contains("read by the running agent"), "{}", running.text);

        let busy = avl_edge(&["buffer", "--config", &gateway.edge.config().display().to_string()]).await?;
        assert!(!busy.status.success() && busy.stderr.contains("avl-edge status"), "{busy:?}");
        gateway.edge.stop().await?;
        gateway.cloud.stop().await
    });
}

#[test]
fn the_doctor_names_what_is_wrong_with_the_receiver() {
    play(async {
        let gateway = Gateway::set_up("installers-receiver").await?;
        let device = gateway.receiver.device().display().to_string();
        let unplugged = gateway.changed("unplugged.toml", &device, "/dev/serial/by-id/not-there")?;
        Diagnosis::of(&unplugged, "5s").await?.blames_only(
            "receiver",
            "no device /dev/serial/by-id/not-there",
            "plug the receiver in",
        );

        // Ten thousand bytes of another rate's rubbish.
        let rubbish: Vec<u8> = (0..10_000_u32)
            .map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap() | 0x80)
            .collect();
        let garbage = VirtualReceiver::plug_in(Feed::noise(rubbish), Pace::Unpaced, None)?;
        let wrong_baud = gateway.changed("baud.toml", &device, &garbage.device().display().to_string())?;
        Diagnosis::of(&wrong_baud, "3s").await?.blames_only("sentences", "no valid sentence", "source.baud");

        let silent = VirtualReceiver::plug_in(Feed::noise(Vec::new()), Pace::Unpaced, None)?;
        let silence = gateway.changed("silent.toml", &device, &silent.device().display().to_string())?;
        Diagnosis::of(&silence, "3s").await?.blames_only("sentences", "nothing came", "power");
        let mut cloud = gateway.cloud;
        cloud.stop().await
    });
}

#[test]
fn the_doctor_names_what_is_wrong_with_the_way_to_the_cloud() {
    play(async {
        let mut gateway = Gateway::set_up("installers-link").await?;
        let quic = gateway.cloud.ports().quic.clone();
        let port = quic.rsplit_once(':').context("no port")?.1.to_owned();

        let nameless = gateway.changed("name.toml", &quic, &format!("no-such-host.invalid:{port}"))?;
        let diagnosis = Diagnosis::of(&nameless, "30s").await?;
        diagnosis.blames_only("name", "no-such-host.invalid", "DNS");
        assert_eq!(diagnosis.outcome("link"), "skipped");

        let other_name = gateway.changed(
            "server-name.toml",
            &format!("address = {quic:?}"),
            &format!("address = {quic:?}\nserver_name = \"elsewhere.example\""),
        )?;
        Diagnosis::of(&other_name, "30s").await?.blames_only("link", "elsewhere.example", "server_name");

        // Another cloud takes the place of ours.
        let theirs = Cloud::start(
            &gateway.scene.folder("theirs")?,
            &gateway.scene.log("theirs.log"),
            Ports::default(),
        )
        .await?;
        let foreign = gateway.changed("foreign.toml", &quic, &theirs.ports().quic)?;
        Diagnosis::of(&foreign, "30s").await?.blames_only("link", "not the cloud", "another cloud");
        let mut theirs = theirs;
        theirs.stop().await?;

        let state = gateway.scene.folder("edge")?.join("state");
        let unenrolled = gateway.changed(
            "unenrolled.toml",
            &state.display().to_string(),
            &format!("{}2", state.display()),
        )?;
        std::fs::create_dir_all(format!("{}2", state.display()))?;
        let diagnosis = Diagnosis::of(&unenrolled, "30s").await?;
        diagnosis.blames_only("identity", "not enrolled", "avl-edge enrol");
        assert_eq!(diagnosis.outcome("link"), "skipped");

        gateway.cloud.stop().await?;
        Diagnosis::of(gateway.edge.config(), "30s").await?.blames_only("link", "no answer", "UDP");
        Ok(())
    });
}

const THROUGH_BROKER: [&str; 5] =
    ["broker name", "broker link", "broker certificate", "broker access", "broker acknowledgement"];

impl Diagnosis {
    /// The way through the broker ends at `name`: what comes before is well, what comes after unknown.
    #[track_caller]
    fn gets_through_the_broker_up_to(&self, name: &str) {
        let end = THROUGH_BROKER.iter().position(|known| *known == name).expect("a check of that name");
        for (at, check) in THROUGH_BROKER.iter().enumerate() {
            let expected = match at.cmp(&end) {
                std::cmp::Ordering::Less => "good",
                std::cmp::Ordering::Equal => "failed",
                std::cmp::Ordering::Greater => "skipped",
            };
            assert_eq!(self.outcome(check), expected, "{check}: {}", self.text);
        }
    }
}

#[test]
fn the_doctor_follows_the_way_through_the_broker_and_names_where_it_ends() {
    play(async {
        let Some((mut gateway, mut broker)) = Gateway::set_up_with_broker("installers-broker").await? else {
            return Ok(());
        };
        let (config, data) = (gateway.edge.config().to_owned(), gateway.scene.folder("cloud")?);
        let well = eventually("the cloud is connected to the broker", PATIENCE, || async {
            let diagnosis = Diagnosis::of(&config, "30s").await?;
            anyhow::ensure!(diagnosis.code == Some(0), "{}", diagnosis.text);
            Ok(Some(diagnosis))
        })
        .await?;
        assert!(THROUGH_BROKER.iter().all(|name| well.outcome(name) == "good"), "{}", well.text);

        let address = format!("localhost:{}", broker.address().port());
        let nameless = gateway.changed("nameless.toml", &address, "no-such-broker.invalid:8883")?;
        let nameless = Diagnosis::of(&nameless, "30s").await?;
        nameless.blames_only("broker name", "no-such-broker.invalid", "uplink.mqtt.address");
        nameless.gets_through_the_broker_up_to("broker name");

        broker.kill().await?;
        let down = Diagnosis::of(&config, "30s").await?;
        down.blames_only("broker link", &address, "check that it is up");
        down.gets_through_the_broker_up_to("broker link");

        broker.resume_as(&data, &["elsewhere.example"]).await?;
        let misnamed = Diagnosis::of(&config, "30s").await?;
        misnamed.blames_only("broker link", "elsewhere.example", "avl-cloud broker --name");
        misnamed.gets_through_the_broker_up_to("broker link");
        broker.kill().await?;

        // Its certificate is of another cloud's authority.
        let mut theirs = Cloud::start(
            &gateway.scene.folder("theirs")?,
            &gateway.scene.log("theirs.log"),
            Ports::default(),
        )
        .await?;
        broker.resume_as(&gateway.scene.folder("theirs")?, &["localhost"]).await?;
        let foreign = Diagnosis::of(&config, "30s").await?;
        foreign.blames_only("broker link", "not the broker of this vehicle's cloud", "avl-cloud broker");
        foreign.gets_through_the_broker_up_to("broker link");
        broker.kill().await?;
        theirs.stop().await?;

        broker.resume_as(&data, &["localhost"]).await?;
        let identity = gateway.scene.folder("edge")?.join("state/identity");
        let ours = ["certificate.pem", "key.pem"].map(|name| identity.join(name));
        let kept: Vec<String> = ours.iter().map(std::fs::read_to_string).collect::<Result<_, _>>()?;
        let (certificate, key) = self_signed(2999)?;
        std::fs::write(&ours[0], certificate)?;
        std::fs::write(&ours[1], key)?;
        let stranger = Diagnosis::of(&config, "30s").await?;
        stranger.blames("broker certificate", "refused this vehicle's certificate", "enrol again");
        stranger.gets_through_the_broker_up_to("broker certificate");
        for (path, text) in ours.iter().zip(kept) {
            std::fs::write(path, text)?;
        }
        broker.kill().await?;

        broker.resume_with_access("pattern write avl/v1/%u/up", "pattern write avl/v0/%u/up").await?;
        let forbidden = Diagnosis::of(&config, "30s").await?;
        forbidden.blames_only("broker access", "its topics", "access rules");
        forbidden.gets_through_the_broker_up_to("broker access");
        broker.kill().await?;

        // The cloud may not listen: the broker says that nobody does, or nobody answers.
        broker.resume_with_access("pattern write avl/v0/%u/up", "pattern write avl/v1/%u/up").await?;
        gateway.cloud.stop().await?;
        let nobody = Diagnosis::of(&config, "30s").await?;
        nobody.blames("broker acknowledgement", "cloud", "avl-cloud");
        nobody.gets_through_the_broker_up_to("broker acknowledgement");
        Ok(())
    });
}

#[test]
fn the_doctor_tells_an_expired_certificate_from_a_foreign_one_and_a_full_disk() {
    play(async {
        let mut gateway = Gateway::set_up("installers-certificate").await?;
        let identity = gateway.scene.folder("edge")?.join("state/identity");
        for (year, blamed, cause) in
            [(2020, "identity", "expired on"), (2999, "link", "refused this vehicle's certificate")]
        {
            let (certificate, key) = self_signed(year)?;
            std::fs::write(identity.join("certificate.pem"), certificate)?;
            std::fs::write(identity.join("key.pem"), key)?;
            Diagnosis::of(gateway.edge.config(), "30s").await?.blames(blamed, cause, "enrol again");
        }
        if let Some(small) = SmallDisk::mount(&gateway.scene.folder("small")?)? {
            let state = gateway.scene.folder("edge")?.join("state");
            let full =
                gateway.changed("full.toml", &state.display().to_string(), &small.0.display().to_string())?;
            Diagnosis::of(&full, "30s").await?.blames("state directory", "the disk is full", "free space");
        }
        gateway.cloud.stop().await
    });
}

/// A certificate for our vehicle that nobody of ours has signed, ending in `year`.
fn self_signed(year: i32) -> anyhow::Result<(String, String)> {
    let key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::default();
    let uri = format!("avl://{FLEET}/{VEHICLE}");
    parameters.subject_alt_names.push(rcgen::SanType::URI(uri.try_into()?));
    parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
    Ok((parameters.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// A file system of 8 MiB; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said loudly, where the machine does not let us mount. In CI that is a failure.
    fn mount(folder: &Path) -> anyhow::Result<Option<Self>> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(folder)
            .output()
            .is_ok_and(|output| output.status.success());
        if mounted {
            return Ok(Some(Self(folder.to_owned())));
        }
        hil_tests::skip("the full disk: a small file system can be mounted by root only");
        Ok(None)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn the_doctor_says_when_it_cannot_even_begin() {
    play(async {
        let scene = Scene::named("installers-configuration")?;
        let file = scene.folder("edge")?.join("avl-edge.toml");
        std::fs::write(
            &file,
            "[source]\nkind = 'serial'\npath = '/dev/x'\nbuad = 9600\n[uplink.quic]\naddress = 'a:1'\n",
        )?;
        let diagnosis = Diagnosis::of(&file, "1s").await?;
        assert_eq!(diagnosis.code, Some(2), "{}", diagnosis.text);
        assert_eq!(diagnosis.outcome("configuration"), "failed");
        assert!(
            diagnosis.text.contains("avl-edge.toml:4") && diagnosis.text.contains("buad"),
            "{}",
            diagnosis.text
        );
        assert!(
            diagnosis.checks[1..].iter().all(|check| check["outcome"] == "skipped"),
            "{}",
            diagnosis.text
        );

        let check = avl_edge(&["config", "check", "--config", &file.display().to_string()]).await?;
        assert_eq!(check.status.code(), Some(1), "{check:?}");
        let missing = avl_edge(&["config", "check", "--config", "/nowhere/avl.toml"]).await?;
        assert_eq!(missing.status.code(), Some(2), "{missing:?}");
        let explained = avl_edge(&["config", "explain", "uplink.latency"]).await?.success()?;
        assert!(explained.stdout.contains("AVL_EDGE__UPLINK__LATENCY"), "{explained:?}");
        Ok(())
    });
}

#[test]
fn every_example_configuration_is_valid() {
    play(async {
        let folder = hil_tests::project_root().join("edge/examples");
        let mut checked = 0;
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path().display().to_string();
            if path.ends_with(".toml") {
                let output = avl_edge(&["config", "check", "--config", &path]).await?;
                anyhow::ensure!(output.status.success(), "{path}: {output:?}");
                avl_edge(&["config", "show", "--config", &path]).await?.success()?;
                checked += 1;
            }
        }
        assert!(checked >= 3, "{checked} examples in {}", folder.display());
        Ok(())
    });
}

/// What systemd would hear: `READY=1` without any cloud, then signs of life, then `STOPPING=1`.
#[test]
fn the_service_manager_hears_that_it_is_ready_alive_and_stopping() {
    play(async {
        let mut gateway = Gateway::set_up("installers-service").await?;
        gateway.cloud.stop().await?;
        let address = gateway.scene.folder("run")?.join("notify");
        let manager = tokio::net::UnixDatagram::bind(&address)?;
        let mut agent = tokio::process::Command::new(program("avl-edge")?)
            .args(["run", "--config", &gateway.edge.config().display().to_string()])
            .env("NOTIFY_SOCKET", &address)
            .env("WATCHDOG_USEC", "1000000")
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(gateway.scene.log("avl-edge.log"))?)
            .kill_on_drop(true)
            .spawn()?;
        let hear = async |wanted: &str| -> anyhow::Result<()> {
            let mut heard = String::new();
            while !heard.lines().any(|line| line == wanted) {
                let mut datagram = [0; 4096];
                let length = tokio::time::timeout(PATIENCE, manager.recv(&mut datagram))
                    .await
                    .with_context(|| format!("no {wanted} after: {heard}"))??;
                heard = String::from_utf8_lossy(&datagram[..length]).into_owned();
            }
            Ok(())
        };
        hear("READY=1").await?;
        for _ in 0..3 {
            hear("WATCHDOG=1").await?;
        }
        let pid = rustix::process::Pid::from_raw(i32::try_from(agent.id().context("it has ended")?)?)
            .context("no pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        hear("STOPPING=1").await?;
        assert!(tokio::time::timeout(PATIENCE, agent.wait()).await??.success());
        Ok(())
    });
}

#[test]
fn prometheus_and_curl_get_what_status_says() {
    play(async {
        let mut gateway = Gateway::set_up("installers-metrics").await?;
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut text = std::fs::read_to_string(gateway.edge.config())?;
        text.push_str(&format!("[health]\nmetrics = \"{free}\"\n"));
        std::fs::write(gateway.edge.config(), text)?;
        gateway.edge.start()?;
        let fixes = eventually("fixes in the metrics", PATIENCE, || async {
            let page = reqwest::get(format!("http://{free}/metrics")).await?.text().await?;
            let line =
                page.lines().find_map(|line| line.strip_prefix("avl_edge_buffer_numbered_fixes_total "));
            let fixes: u64 = line.context("no such metric")?.parse()?;
            anyhow::ensure!(fixes >= 2, "{fixes}");
            Ok(Some(fixes))
        })
        .await?;
        let config = gateway.edge.config().display().to_string();
        let output = avl_edge(&["status", "--config", &config, "--json"]).await?;
        let status: Value = serde_json::from_str(&output.stdout)?;
        assert!(status["buffer"]["next_sequence"].as_u64() >= Some(fixes), "{status}");
        assert_eq!(status["agent"]["vehicle"], format!("{FLEET}/{VEHICLE}"));
        gateway.edge.stop().await?;
        gateway.cloud.stop().await
    });
}

#[test]
fn the_monitor_shows_the_running_agent_on_a_terminal() {
    play(async {
        let Some(tmux) = tool("tmux") else { return Ok(()) };
        let mut gateway = Gateway::set_up("installers-monitor").await?;
        gateway.edge.start()?;
        eventually("an agent to watch", PATIENCE, || async {
            let status = gateway.status().await?;
            anyhow::ensure!(status.stdout.contains("is read"), "{status:?}");
            Ok(Some(()))
        })
        .await?;
        // A server of our own, so that nobody else's is touched.
        let server = gateway.scene.folder("run")?.join("tmux").display().to_string();
        let speak = async |arguments: &[&str]| -> anyhow::Result<std::process::Output> {
            let mut command = tokio::process::Command::new(&tmux);
            command.args(["-S", &server, "-f", "/dev/null"]).args(arguments).env("TERM", "xterm-256color");
            Ok(tokio::time::timeout(Duration::from_secs(30), command.output()).await??)
        };
        let monitor = format!(
            "{} monitor --ascii --config {}; echo ended-with-$?; sleep 60",
            program("avl-edge")?.display(),
            gateway.edge.config().display()
        );
        speak(&["new-session", "-d", "-x", "80", "-y", "24", &monitor]).await?;
        let screen = async || -> anyhow::Result<String> {
            Ok(String::from_utf8_lossy(&speak(&["capture-pane", "-p"]).await?.stdout).into_owned())
        };
        let shows = async |words: &[&str]| {
            eventually("the screen", PATIENCE, || async {
                let shown = screen().await?;
                anyhow::ensure!(words.iter().all(|word| shown.contains(word)), "{words:?} in\n{shown}");
                Ok(Some(shown))
            })
            .await
        };
        let shown =
            shows(&["test/gateway-1", "sentences/s", "state    connected", "place", "q quit"]).await?;
        std::fs::write(gateway.scene.log("monitor.txt"), &shown)?;
        speak(&["send-keys", "?"]).await?;
        shows(&["Capital letters"]).await?;
        speak(&["send-keys", "q"]).await?;
        shows(&["ended-with-0"]).await?;
        speak(&["kill-server"]).await?;
        gateway.edge.stop().await?;
        gateway.cloud.stop().await
    });
}

/// systemd judges the unit itself; the exposure may not rise above what it is.
#[test]
fn systemd_accepts_the_unit_and_finds_it_hardened() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let packaging = hil_tests::project_root().join("edge/packaging");
    let scene = Scene::named("installers-unit").unwrap();
    let unit = scene.folder("unit").unwrap().join("avl-edge.service");
    // The verifier wants the program to exist; ours stands in the build's folder.
    let text = std::fs::read_to_string(packaging.join("avl-edge.service")).unwrap();
    let here = program("avl-edge").unwrap().display().to_string();
    std::fs::write(&unit, text.replace("/usr/bin/avl-edge", &here)).unwrap();
    let judge = |arguments: &[&str]| {
        let output = std::process::Command::new(&analyze).args(arguments).arg(&unit).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    };
    let (valid, said) = judge(&["verify"]);
    assert!(valid && !said.contains("Unknown key"), "{said}");
    // Tenths: 2.0 on a scale where 10 is an ordinary daemon and 0 one that can do nothing.
    let (hardened, said) = judge(&["security", "--offline=true", "--no-pager", "--threshold=20"]);
    assert!(hardened, "{said}");
}

/// Every line of the rules is conditions and assignments with known operators, and every label is jumped to and there.
#[test]
fn the_udev_rules_are_well_formed() {
    let rules =
        std::fs::read_to_string(hil_tests::project_root().join("edge/packaging/60-avl-edge-gnss.rules"))
            .unwrap();
    let mut receivers = 0;
    for line in rules.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        for part in line.split(", ") {
            let (key, value) = part.split_once('=').unwrap_or_else(|| panic!("{part:?} in {line:?}"));
            let key = key.trim_end_matches(['=', '!', '+']);
            let (name, attribute) = key.split_once('{').unwrap_or((key, ""));
            let known = [
                "ACTION",
                "SUBSYSTEM",
                "SUBSYSTEMS",
                "ATTRS",
                "ENV",
                "SYMLINK",
                "GROUP",
                "MODE",
                "TAG",
                "GOTO",
                "LABEL",
            ];
            assert!(known.contains(&name) && (attribute.is_empty() || attribute.ends_with('}')), "{part:?}");
            let value = value.trim_start_matches('=');
            assert!(value.len() > 1 && value.starts_with('"') && value.ends_with('"'), "{part:?}");
        }
        receivers += usize::from(line.contains("AVL_EDGE_GNSS}=\"1\"") && line.contains("1546"));
    }
    assert!(receivers >= 2, "{rules}");
    assert_eq!(rules.matches("avl_edge_end").count(), 3);
    if let Some(udevadm) = tool_if_there("udevadm") {
        let file = hil_tests::project_root().join("edge/packaging/60-avl-edge-gnss.rules");
        let output = std::process::Command::new(udevadm).arg("verify").arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // udevadm can verify since systemd 254; the form was checked above for older ones.
        assert!(output.status.success() || said.contains("Unknown command"), "{said}");
    }
}

fn tool_if_there(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .chain(["/usr/bin".into(), "/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// A program that `scripts/setup.sh test` installs.
fn tool(name: &str) -> Option<PathBuf> {
    let found = tool_if_there(name);
    if found.is_none() {
        hil_tests::skip(&format!("{name} is not installed ('./scripts/setup.sh test' does it)"));
    }
    found
}
