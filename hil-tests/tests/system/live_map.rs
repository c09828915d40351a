//! The page in a real browser: vehicles appear and move. The pictures are kept in `artifacts/system/live-map`.

use std::path::PathBuf;
use std::process::Stdio;

use hil_tests::drive::Drive;
use hil_tests::fleet::{Fleet, Script};
use hil_tests::process::{Cloud, Edge, Ports, Scene, Source, Tuning, eventually};
use hil_tests::project_root;
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};
use tokio::process::Command;

use crate::stage::{FLEET, PATIENCE, VEHICLE, play};

const SIMULATED: usize = 20;

/// What the browser test needs; `None`, said loudly, on a machine that has it not. In CI that is a failure.
fn prepared() -> Option<PathBuf> {
    let web = project_root().join("cloud/web");
    let chromium = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let places =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    let absent = if !web.join("dist/index.html").is_file() {
        "the page is not built (make web)"
    } else if !web.join("node_modules/playwright-core").is_dir() {
        "cloud/web/node_modules is not there (make web)"
    } else if !chromium.into_iter().chain(places).any(|path| path.is_file()) {
        "there is no Chromium (scripts/setup.sh test, or set CHROMIUM to its path)"
    } else {
        return Some(web);
    };
    hil_tests::skip(absent);
    None
}

#[test]
fn vehicles_move_on_the_live_map() {
    let Some(web) = prepared() else { return };
    play(async move {
        let scene = Scene::named("live-map")?;
        let cloud_folder = scene.folder("cloud")?;
        let mut cloud = Cloud::start(&cloud_folder, &scene.log("avl-cloud.log"), Ports::default()).await?;
        let api = cloud.api()?;
        let now = chrono::Utc::now().timestamp_millis() / 1000 * 1000;

        // A real gateway among the simulated ones.
        let drive = Feed::drive(Drive::seeded(7, now, 5), None);
        let receiver = VirtualReceiver::plug_in(drive, Pace::Real, None)?;
        let source = Source::virtual_serial(receiver.device());
        let folder = scene.folder("edge")?;
        let quic = cloud.ports().quic.clone();
        let mut edge = Edge::configure(&folder, &scene.log("avl-edge.log"), &source, &quic, Tuning::HASTY)?;
        edge.enrol(&cloud, FLEET, VEHICLE).await?;
        edge.start()?;
        let script = Script {
            seed: 10,
            start: now,
            rate_hz: 1,
            speed_up: 5.0,
            batch: 2,
            fixes: None,
            remember: false,
        };
        let fleet = Fleet::launch(&cloud, FLEET, SIMULATED, quic.parse()?, script, |_| {}).await?;
        eventually("all vehicles in the API", PATIENCE, || async {
            let vehicles = api.vehicles().await?;
            let placed = vehicles.iter().filter(|vehicle| vehicle.latest.is_some()).count();
            Ok((placed > SIMULATED).then_some(()))
        })
        .await?;

        let link = api.sign_in_link().await?;
        let picture = scene.log("live-map.png").display().to_string();
        let wanted = (SIMULATED + 1).to_string();
        let gateway = format!("{FLEET}/{VEHICLE}");
        let output = Command::new("node")
            .args(["e2e/live-map.mjs", "--url", &link, "--screenshot", &picture, "--vehicles", &wanted])
            .args(["--select", &gateway, "--timeout", "90"])
            .current_dir(&web)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{said}");
        std::fs::write(scene.log("browser.log"), &said)?;
        assert!(output.status.success(), "{said}(if the page is older than its sources: make web)");
        let size = std::fs::metadata(&picture)?.len();
        assert!(size > 10_000, "a picture of {size} bytes shows nothing");

        receiver.halt().await;
        edge.stop().await?;
        tokio::time::timeout(PATIENCE, fleet.park()).await?;
        cloud.stop().await
    });
}
