//! The gateway's clock and certificate fail it, and it comes through: a clock in 1970, one that jumps, a certificate
//! that expired, one that was revoked, none at all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use hil_tests::drive::Drive;
use hil_tests::logs::{Log, URBAN};
use hil_tests::process::{Edge, Source, eventually};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver, ublox};

use crate::stage::{FLEET, PATIENCE, Stage, VEHICLE, play};

/// `None`, said loudly, on a machine that has it not; in CI that is a failure.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().filter_map(Result::ok);
    let found =
        folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|file| file.is_file());
    if found.is_none() {
        let absent = "libfaketime is absent: run scripts/setup.sh test";
        hil_tests::skip(absent);
    }
    found
}

fn now() -> UtcMillis {
    chrono::Utc::now().timestamp_millis()
}

/// The log of a drive that begins in a moment: what a receiver prints live.
fn drive_of_today(folder: &Path, seconds: usize) -> anyhow::Result<PathBuf> {
    const RATE_HZ: u32 = 5;
    let text: Vec<u8> = Drive::seeded(7, now() / 1000 * 1000, RATE_HZ)
        .take(seconds * RATE_HZ as usize)
        .flat_map(|reading| ublox::print(&reading))
        .collect();
    let path = folder.join("today.nmea");
    std::fs::write(&path, text)?;
    Ok(path)
}

async fn fixes(stage: &Stage) -> anyhow::Result<u64> {
    stage.cloud.api()?.fixes(&format!("{FLEET}/{VEHICLE}")).await
}

async fn more_fixes_than(stage: &Stage, count: u64) -> anyhow::Result<u64> {
    eventually("more fixes", PATIENCE, || async {
        let fixes = fixes(stage).await?;
        Ok((fixes > count).then_some(fixes))
    })
    .await
}

async fn says(edge: &Edge, words: &str) -> anyhow::Result<()> {
    eventually(words, PATIENCE, || async { Ok(edge.said()?.contains(words).then_some(())) }).await
}

#[test]
fn a_gateway_whose_clock_says_1970_and_then_jumps_uploads_everything_by_the_receivers_time() {
    play(async {
        let Some(library) = faketime() else { return Ok(()) };
        let scratch = tempfile::tempdir()?;
        let log = drive_of_today(scratch.path(), 18)?;
        let mut stage = Stage::set("clock-1970", &log).await?;
        let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&log)?), Pace::Real, None)?;
        receiver.halt().await;
        receiver.continue_after(None).await?;
        let quic = stage.cloud.ports().quic.clone();
        let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
        let clock = scratch.path().join("clock");
        std::fs::write(&clock, "@1970-01-01 00:01:00\n")?;
        edge.set_environment("LD_PRELOAD", &library.display().to_string());
        edge.set_environment("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string());
        edge.set_environment("FAKETIME_NO_CACHE", "1");
        edge.set_environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        edge.start()?;
        // Nothing is printed yet: there is no time to be known, and nobody to convince.
        says(&edge, "agent started").await?;
        anyhow::ensure!(!edge.said()?.contains("time known"), "a time was made up");
        receiver.go().await;
        says(&edge, "time known from the receiver").await?;
        let mut arrived = more_fixes_than(&stage, 0).await?;
        for offset in ["+3600s\n", "-3600s\n"] {
            std::fs::write(&clock, offset)?;
            // A new connection is judged by a time that has not jumped.
            stage.cloud.kill().await?;
            stage.cloud.resume().await?;
            arrived = more_fixes_than(&stage, arrived).await?;
        }
        tokio::time::timeout(PATIENCE, receiver.finished()).await?;
        anyhow::ensure!(receiver.overruns() == 0, "the machine is too slow for a receiver in real time");
        edge_heard_no_objection(&edge)?;
        stage.judge().await?;
        edge.stop().await
    });
}

fn edge_heard_no_objection(edge: &Edge) -> anyhow::Result<()> {
    let said = edge.said()?;
    for trouble in ["begins at", "expired at", "revoked"] {
        anyhow::ensure!(!said.contains(trouble), "{trouble:?} in the log: {said}");
    }
    Ok(())
}

#[test]
fn a_certificate_that_expired_while_offline_is_renewed_and_then_again_and_again_while_connected() {
    play(async {
        let Some(path) = URBAN.path() else { return Ok(()) };
        let short = [("AVL_CLOUD__FLEET__CERTIFICATE_LIFETIME", "6s")];
        let mut stage = Stage::set_in("certificate-expired", &path, &short).await?;
        let receiver =
            VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Accelerated(100.0), None)?;
        let quic = stage.cloud.ports().quic.clone();
        let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
        let enrolled = certificate(&edge)?;
        // Off the air for longer than it is good for.
        tokio::time::sleep(Duration::from_secs(7)).await;
        edge.start()?;
        says(&edge, "certificate renewed").await?;
        let renewed = certificate(&edge)?;
        anyhow::ensure!(renewed != enrolled, "the certificate is the old one");
        more_fixes_than(&stage, 0).await?;
        eventually("another renewal, while connected", PATIENCE, || async {
            Ok((certificate(&edge)? != renewed).then_some(()))
        })
        .await?;
        tokio::time::timeout(PATIENCE, receiver.finished()).await?;
        stage.judge().await?;
        edge.stop().await
    });
}

fn certificate(edge: &Edge) -> anyhow::Result<String> {
    let folder = edge.config().parent().unwrap_or(Path::new("."));
    Ok(std::fs::read_to_string(folder.join("state/identity/certificate.pem"))?)
}

#[test]
fn a_vehicle_revoked_while_connected_is_out_within_a_minute_keeps_all_and_comes_back_with_a_new_token() {
    const SEEN_WITHIN: Duration = Duration::from_secs(60);
    play(async {
        let Some(path) = URBAN.path() else { return Ok(()) };
        let mut stage = Stage::set("revoked", &path).await?;
        let receiver =
            VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Accelerated(150.0), None)?;
        let quic = stage.cloud.ports().quic.clone();
        let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
        edge.start()?;
        more_fixes_than(&stage, 200).await?;
        let vehicle = format!("{FLEET}/{VEHICLE}");
        stage.cloud.command("revoke", &["--vehicle", &vehicle, "--reason", "reported stolen"]).await?;
        tokio::time::timeout(SEEN_WITHIN, says(&edge, "reported stolen")).await??;
        let listed = stage.cloud.command("revoke", &["--list"]).await?;
        anyhow::ensure!(listed.contains(&vehicle) && listed.contains("reported stolen"), "{listed}");
        anyhow::ensure!(stage.cloud.command("crl", &[]).await?.contains("BEGIN X509 CRL"));
        // It goes on recording, and nothing of it arrives.
        let before = fixes(&stage).await?;
        tokio::time::timeout(PATIENCE, receiver.finished()).await?;
        says(&edge, "the cloud has revoked this vehicle's certificate").await?;
        anyhow::ensure!(before < stage.printed.len() as u64, "the drive was over before the revocation");
        // What was on its way when it was closed may still be counted.
        let after = fixes(&stage).await?;
        anyhow::ensure!(after < stage.printed.len() as u64, "{after} fixes of a revoked vehicle");
        edge.enrol_with(&stage.cloud, FLEET, VEHICLE, &["--force"]).await?;
        stage.judge().await?;
        edge.stop().await
    });
}

#[test]
fn a_gateway_that_nobody_enrolled_records_and_enrols_by_itself_when_an_invitation_appears() {
    play(async {
        let Some(path) = URBAN.path() else { return Ok(()) };
        let mut stage = Stage::set("invitation", &path).await?;
        let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Unpaced, None)?;
        let quic = stage.cloud.ports().quic.clone();
        let mut edge = stage.stranger(&Source::virtual_serial(receiver.device()), &quic)?;
        edge.start()?;
        tokio::time::timeout(PATIENCE, receiver.finished()).await?;
        says(&edge, "not enrolled").await?;
        let url = stage.cloud.enrolment_url();
        let arguments = ["--fleet", FLEET, "--vehicle", VEHICLE, "--url", &url, "--text"];
        let text = stage.cloud.command("token", &arguments).await?;
        let file = edge.config().parent().unwrap_or(Path::new(".")).join("state/enrol.txt");
        std::fs::write(&file, text)?;
        stage.judge().await?;
        anyhow::ensure!(!file.exists(), "the used invitation is still there");
        edge.stop().await
    });
}

#[test]
fn an_agent_told_to_stop_while_it_starts_ends_in_order() {
    play(async {
        let scratch = tempfile::tempdir()?;
        let log = drive_of_today(scratch.path(), 1)?;
        let stage = Stage::set("early-stop", &log).await?;
        let mut edge =
            stage.gateway(&Source::virtual_serial(&scratch.path().join("absent")), "localhost:1").await?;
        edge.start()?;
        let state = edge.config().parent().unwrap_or(Path::new(".")).join("state");
        eventually("the buffer being opened", PATIENCE, || async {
            Ok(state.join("buffer").exists().then_some(()))
        })
        .await?;
        edge.stop().await
    });
}
