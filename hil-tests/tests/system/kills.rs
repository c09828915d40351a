//! Signal 9 at random moments: nothing that the gateway claimed to hold is lost, nothing comes twice.
//!
//! The receiver is a log, so it can do what no real one can: after each kill it goes on just behind the fix that
//! the dead gateway's buffer claims as its newest. A false claim is a gap; a forgotten one is a duplicate.

use std::time::Duration;

use anyhow::Context as _;
use hil_tests::logs::{HIGHWAY, Log, MOORED, URBAN};
use hil_tests::process::{Edge, Source, Tuning};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::stage::{PATIENCE, Stage, play};

/// What a loaded machine may add to the durability period: the gateway has to start, read and be scheduled.
const SCHEDULING: Duration = Duration::from_secs(3);

/// Another seed by `AVL_SEED`, to look for trouble or to see it again.
fn dice(default: u64) -> StdRng {
    let seed = std::env::var("AVL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
    println!("seed {seed} (AVL_SEED={seed} plays the same moments again)");
    StdRng::seed_from_u64(seed)
}

/// Kills the gateway, winds the receiver back to what the buffer claims, and starts the gateway again.
/// Returns the claim, in GNSS time.
async fn kill_gateway(edge: &mut Edge, receiver: &VirtualReceiver, log: &Log) -> anyhow::Result<Option<i64>> {
    edge.kill().await?;
    let killed = Instant::now();
    receiver.halt().await;
    let claim = edge.buffer().await?.last_time()?;
    let oldest_unsafe = killed - Tuning::HASTY.durability - SCHEDULING;
    let lost =
        receiver.printed().into_iter().find(|printed| printed.at < oldest_unsafe && printed.time > claim);
    if let Some(lost) = lost {
        anyhow::bail!(
            "{}: the fix of {:?} was printed {:?} before the kill and is not in the buffer, which ends at {claim:?}",
            log.file,
            lost.time,
            killed - lost.at
        );
    }
    receiver.continue_after(claim).await?;
    edge.start()?;
    receiver.go().await;
    Ok(claim)
}

/// A serial drive, in which gateway and cloud are killed again and again.
async fn survives_kills(log: Log, acceleration: f64, seed: u64) -> anyhow::Result<()> {
    let Some(path) = log.path() else { return Ok(()) };
    let mut dice = dice(seed);
    let mut stage = Stage::set(&format!("kills-{}", log.file), &path).await?;
    let pace = Pace::Accelerated(acceleration);
    let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), pace, None)?;
    let quic = stage.cloud.ports().quic.clone();
    let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
    edge.start()?;

    let (mut edge_kills, mut cloud_kills) = (0, 0);
    while !receiver.is_finished() {
        let moment = Duration::from_millis(dice.random_range(50..3000));
        if tokio::time::timeout(moment, receiver.finished()).await.is_ok() {
            break;
        }
        if dice.random_bool(0.65) {
            kill_gateway(&mut edge, &receiver, &log).await.context("after a kill of avl-edge")?;
            edge_kills += 1;
        } else {
            stage.cloud.kill().await?;
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..500))).await;
            stage.cloud.resume().await?;
            cloud_kills += 1;
        }
    }
    println!("{}: avl-edge killed {edge_kills} times, avl-cloud {cloud_kills} times", log.file);
    anyhow::ensure!(edge_kills >= 2 && cloud_kills >= 1, "too few kills to prove anything: drive slower");
    stage.judge().await?;
    edge.stop().await
}

#[test]
fn urban_drive_survives_kills_of_both_sides() {
    play(survives_kills(URBAN, 70.0, 41));
}

#[test]
fn highway_drive_survives_kills_of_both_sides() {
    play(survives_kills(HIGHWAY, 400.0, 42));
}

#[test]
fn moored_boat_survives_kills_of_both_sides() {
    play(survives_kills(MOORED, 50.0, 43));
}

/// A replay needs no help: it keeps its place in the log with the fixes.
async fn replay_resumes(log: Log, speed: f64, seed: u64) -> anyhow::Result<()> {
    let Some(path) = log.path() else { return Ok(()) };
    let mut dice = dice(seed);
    let mut stage = Stage::set(&format!("replay-kills-{}", log.file), &path).await?;
    let quic = stage.cloud.ports().quic.clone();
    let mut edge = stage.gateway(&Source::Replay { path, speed }, &quic).await?;
    let begun = Instant::now();
    let mut kills = 0;
    loop {
        edge.start()?;
        let moment = Instant::now() + Duration::from_millis(dice.random_range(100..2500));
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
    println!("{}: avl-edge killed {kills} times", log.file);
    anyhow::ensure!(kills >= 3, "too few kills to prove anything: replay slower");
    stage.judge().await
}

#[test]
fn replay_resumes_exactly_where_it_was_killed() {
    play(replay_resumes(URBAN, 100.0, 44));
}

/// The other drives are so fast that a block of fixes is full, and written, before the durability period ends. This
/// one is slow: only the period itself can have brought its fixes to the disk.
#[test]
fn a_kill_takes_no_more_than_the_durability_period() {
    play(async {
        let Some(path) = MOORED.path() else { return Ok(()) };
        let mut dice = dice(45);
        let stage = Stage::set("kills-durability", &path).await?;
        let feed = Feed::log(Log::read(&path)?);
        let receiver = VirtualReceiver::plug_in(feed, Pace::Accelerated(4.0), None)?;
        let quic = stage.cloud.ports().quic.clone();
        let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
        edge.start()?;
        let mut claimed = None;
        for _ in 0..3 {
            let goal = receiver.count() + dice.random_range(20..30);
            while receiver.count() < goal {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let claim = kill_gateway(&mut edge, &receiver, &MOORED).await?;
            anyhow::ensure!(claim > claimed, "the gateway claims {claim:?} after it had claimed {claimed:?}");
            claimed = claim;
        }
        Ok(())
    });
}
