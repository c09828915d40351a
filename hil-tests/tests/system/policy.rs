//! What the gateway makes of its inputs and its reporting policy, seen from the cloud.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use avl_edge::buffer::{Buffer, BufferConfig};
use avl_edge::policy::History;
use avl_shared::fix::UtcMillis;
use chrono::DateTime;
use hil_tests::drive::Drive;
use hil_tests::logs::URBAN;
use hil_tests::oracle::api::{Api, Row};
use hil_tests::oracle::truth::Truth;
use hil_tests::process::{Edge, Source, Tuning, eventually};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};
use tokio::time::Instant;

use crate::stage::{FLEET, PATIENCE, Stage, VEHICLE, play};

fn vehicle() -> String {
    format!("{FLEET}/{VEHICLE}")
}

/// Adds sections to a gateway's configuration.
fn configure(edge: &Edge, sections: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new().append(true).open(edge.config())?;
    Ok(writeln!(file, "{sections}")?)
}

/// As another program would: never half-written.
fn set_levels(path: &Path, levels: &str) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, levels)?;
    Ok(fs::rename(fresh, path)?)
}

async fn newest_with_inputs(api: &Api, inputs: u16) -> anyhow::Result<Row> {
    eventually(&format!("a fix with inputs {inputs:#b}"), PATIENCE, || async {
        Ok(api.positions(&vehicle()).await?.into_iter().find(|row| row.inputs == Some(inputs)))
    })
    .await
}

/// The latency is an hour: what arrives after the connection stands was sent at once.
#[test]
fn ignition_and_alarm_reach_the_cloud_at_once() {
    play(async {
        let nowhere = hil_tests::process::Scene::named("policy-inputs-feed")?.folder("feed")?;
        fs::create_dir_all(&nowhere)?;
        let empty = nowhere.join("empty.nmea");
        fs::write(&empty, "")?;
        let mut stage = Stage::set("policy-inputs", &empty).await?;
        let drive = Drive::seeded(5, 1_790_000_000_000, 1);
        let receiver = VirtualReceiver::plug_in(Feed::drive(drive, None), Pace::Accelerated(10.0), None)?;
        let folder = stage.scene.folder("edge")?;
        let source = Source::virtual_serial(receiver.device());
        let quic = stage.cloud.ports().quic.clone();
        let tuning = Tuning { latency: Duration::from_secs(3600), ..Tuning::HASTY };
        let log = stage.scene.log("avl-edge.log");
        let mut edge = Edge::configure(&folder, &log, &source, &quic, tuning)?;
        let levels = folder.join("levels");
        set_levels(&levels, "ignition = off\n")?;
        configure(
            &edge,
            &format!(
                "[sensors]\nkind = \"simulated\"\npath = {:?}\nignition = {{ line = 17 }}\n\
                 inputs = [{{ name = \"sos\", line = 5 }}]",
                levels.display().to_string()
            ),
        )?;
        edge.enrol(&stage.cloud, FLEET, VEHICLE).await?;
        edge.start()?;
        let api = stage.cloud.api()?;
        // Off comes with the first fixes, or with the change that follows.
        for (text, inputs) in
            [("ignition = on\n", 0b01), ("ignition = on\nsos = on\n", 0b11), ("sos = on\n", 0b10)]
        {
            // The gateway must have seen a level before it can see it change.
            eventually("the input lines are watched", PATIENCE, || async {
                Ok(fs::read_to_string(&log)?.contains("input lines are watched").then_some(()))
            })
            .await?;
            set_levels(&levels, text)?;
            let row = newest_with_inputs(&api, inputs).await?;
            anyhow::ensure!(row.lat.is_some(), "the event has a position: {row:?}");
        }
        edge.stop().await?;
        stage.cloud.stop().await
    });
}

fn time_of(row: &Row) -> anyhow::Result<UtcMillis> {
    let time = row.time.as_deref().context("a fix without time")?;
    Ok(DateTime::parse_from_rfc3339(time)?.timestamp_millis())
}

/// Metres between a printed fix and where the rows say that the vehicle was at its time.
fn off_track_m(truth: &Truth, rows: &[(UtcMillis, f64, f64)]) -> Option<f64> {
    let (time, lat, lon) = (truth.time?, truth.latitude?.value / 60.0, truth.longitude?.value / 60.0);
    let after = rows.partition_point(|(at, ..)| *at < time);
    let (to, from) = (rows.get(after)?, rows.get(after.checked_sub(1).unwrap_or(after))?);
    #[allow(clippy::cast_precision_loss)]
    let part = if to.0 > from.0 { (time - from.0) as f64 / (to.0 - from.0) as f64 } else { 1.0 };
    let (north, east) = (from.1 + (to.1 - from.1) * part - lat, from.2 + (to.2 - from.2) * part - lon);
    Some((north * 111_195.0).hypot(east * 111_195.0 * lat.to_radians().cos()))
}

/// Thinned to ten metres: fewer fixes, none of those left out is farther off, and all of them come when they are
/// recalled, each once.
#[test]
fn thinning_stays_within_its_error_and_a_recall_brings_the_rest() {
    play(async {
        const ERROR_M: f64 = 10.0;
        let Some(path) = URBAN.path() else { return Ok(()) };
        let mut stage = Stage::set("policy-thinning", &path).await?;
        let quic = stage.cloud.ports().quic.clone();
        let mut edge = stage.gateway(&Source::Replay { path, speed: 0.0 }, &quic).await?;
        configure(&edge, &format!("[report]\nthinning = {{ error_m = {ERROR_M} }}"))?;
        edge.start()?;
        edge.ended(PATIENCE).await?;
        let api = stage.cloud.api()?;
        let rows = eventually("the thinned drive", PATIENCE, || async {
            let rows = api.positions(&vehicle()).await?;
            Ok(api.completeness(&vehicle()).await?.complete.then_some(rows).filter(|rows| !rows.is_empty()))
        })
        .await?;
        let track: Vec<(UtcMillis, f64, f64)> = rows
            .iter()
            .map(|row| Ok((time_of(row)?, row.lat.context("lat")?, row.lon.context("lon")?)))
            .collect::<anyhow::Result<_>>()?;
        println!("{} of {} fixes sent", rows.len(), stage.printed.len());
        anyhow::ensure!(rows.len() < stage.printed.len() / 2, "thinning left {} fixes", rows.len());
        for truth in &stage.printed {
            let off = off_track_m(truth, &track).context("a printed fix beyond the track")?;
            // The digits that were printed, and a minute that is 1852 or 1853 m.
            anyhow::ensure!(off <= ERROR_M * 1.01 + 0.1, "{off} m off at {:?}", truth.time);
        }

        let state = stage.scene.folder("edge")?.join("state");
        let (buffer, thread) = Buffer::launch(&state, &BufferConfig::default())?;
        buffer.opened().await?;
        let history = History::open(&state, 64 << 20, Duration::from_secs(60), true)?;
        let handle = history.handle(&buffer);
        let (first, last) = (stage.printed[0].time.context("time")?, i64::MAX);
        let recalled = handle.recall(first, last).await?;
        anyhow::ensure!(recalled.fixes == (stage.printed.len() - rows.len()) as u64, "{recalled:?}");
        anyhow::ensure!(handle.recall(first, last).await?.fixes == 0, "recalled twice");
        drop((handle, history, buffer));
        thread.join();
        edge.start()?;
        edge.ended(PATIENCE).await?;
        stage.judge().await
    });
}

/// Metres from one printed fix to the next: by their speeds, over a gap by the straight line.
fn driven_m(from: &Truth, to: &Truth) -> Option<f64> {
    let ms = to.time?.checked_sub(from.time?)?;
    if ms > 10_000 {
        let here = (to.time?, to.latitude?.value / 60.0, to.longitude?.value / 60.0);
        return off_track_m(&Truth { time: to.time, ..from.clone() }, &[here])
            .filter(|metres| *metres > 50.0);
    }
    let knots = from.speed_knots?.value.midpoint(to.speed_knots?.value);
    #[allow(clippy::cast_precision_loss)]
    Some(knots * 1852.0 / 3_600_000.0 * ms as f64)
}

/// Killed again and again, the odometer in the cloud never goes back, and in the end it is as long as the drive.
#[test]
fn the_odometer_never_decreases_over_kills() {
    play(async {
        let Some(path) = URBAN.path() else { return Ok(()) };
        let mut stage = Stage::set("policy-odometer", &path).await?;
        let quic = stage.cloud.ports().quic.clone();
        let mut edge = stage.gateway(&Source::Replay { path, speed: 200.0 }, &quic).await?;
        configure(&edge, "[sensors]\nodometer = { source = \"gnss\", initial_km = 1000.0 }")?;
        let (begun, mut kills) = (Instant::now(), 0);
        loop {
            edge.start()?;
            let moment = Instant::now() + Duration::from_millis(700 + 211 * (kills % 7));
            while Instant::now() < moment && !edge.has_ended() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if edge.has_ended() {
                edge.ended(PATIENCE).await?;
                break;
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the replay makes no headway between kills");
            edge.kill().await?;
            kills += 1;
        }
        anyhow::ensure!(kills >= 3, "too few kills to prove anything: replay slower");
        let expected = stage.printed.len();
        let api = stage.cloud.api()?;
        let mut rows = eventually("every fix", PATIENCE, || async {
            Ok(Some(api.positions(&vehicle()).await?).filter(|rows| rows.len() >= expected))
        })
        .await?;
        rows.sort_by_key(|row| row.sequence);
        let totals: Vec<u64> = rows.iter().filter_map(|row| row.odometer_m).collect();
        anyhow::ensure!(totals.len() == expected, "{} of {expected} fixes have an odometer", totals.len());
        anyhow::ensure!(totals.is_sorted(), "the odometer went back");
        let driven = stage.printed.windows(2).filter_map(|pair| driven_m(&pair[0], &pair[1])).sum::<f64>();
        #[allow(clippy::cast_precision_loss)]
        let shown = (totals[expected - 1] - 1_000_000) as f64;
        println!("killed {kills} times; {shown:.0} m shown, {driven:.0} m by the printed speeds");
        // A second's step is lost at each kill, and standing noise is not driven.
        anyhow::ensure!(shown <= 1.01 * driven && shown > 0.95 * driven, "{shown} m of {driven} m");
        stage.judge().await
    });
}
