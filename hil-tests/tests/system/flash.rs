//! Flash that fills up, is read-only, or is damaged under a running fleet of one; and two hundred kills.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hil_tests::logs::{Log, MOORED, URBAN};
use hil_tests::oracle::verdict;
use hil_tests::process::{Edge, Source, Tuning, eventually};
use hil_tests::receiver::{Feed, Pace, VirtualReceiver};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::stage::{FLEET, PATIENCE, Stage, VEHICLE, play};

/// A file system of its own, small enough to be filled. Gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said loudly, where mounting is not allowed. In CI that is a failure.
    fn mount(at: &Path, size: &str) -> anyhow::Result<Option<Self>> {
        std::fs::create_dir_all(at)?;
        let options = format!("size={size},mode=0700");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output()?;
        if output.status.success() {
            return Ok(Some(Self(at.to_owned())));
        }
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        hil_tests::skip(&format!("a file system of its own can be mounted by root only: {why}"));
        Ok(None)
    }

    fn remount(&self, option: &str) -> anyhow::Result<()> {
        let output =
            Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Takes every byte that is left.
    fn fill(&self) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut ballast = std::fs::File::create(self.0.join("ballast"))?;
        for size in [1 << 16, 1 << 12, 1] {
            while ballast.write_all(&vec![0x55; size]).is_ok() {}
        }
        Ok(())
    }

    fn free(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.0.join("ballast"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

async fn printed(receiver: &VirtualReceiver, count: usize) -> anyhow::Result<()> {
    eventually("the receiver prints", PATIENCE, || async {
        Ok((receiver.count() >= count || receiver.is_finished()).then_some(()))
    })
    .await
}

async fn said(stage: &Stage, words: &str, times: usize) -> anyhow::Result<()> {
    eventually(words, PATIENCE, || async { Ok((self::times(stage, words) >= times).then_some(())) }).await
}

fn times(stage: &Stage, words: &str) -> usize {
    std::fs::read_to_string(stage.scene.log("avl-edge.log")).map_or(0, |text| text.matches(words).count())
}

/// Full while it runs, read-only when it starts: every fix arrives once, because memory bridges both.
async fn full_and_read_only(log: Log) -> anyhow::Result<()> {
    let Some(path) = log.path() else { return Ok(()) };
    let mut stage = Stage::set("flash-full", &path).await?;
    let state = stage.scene.folder("edge")?.join("state");
    let Some(disk) = SmallDisk::mount(&state, "6m")? else { return Ok(()) };
    let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Accelerated(100.0), None)?;
    let quic = stage.cloud.ports().quic.clone();
    let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
    edge.start()?;
    printed(&receiver, 150).await?;
    disk.fill()?;
    said(&stage, "the buffer's flash fails", 1).await?;
    printed(&receiver, receiver.count() + 150).await?;
    anyhow::ensure!(!edge.has_ended(), "a full disk ended the agent");
    disk.free()?;
    said(&stage, "the buffer's flash is back", 1).await?;

    receiver.halt().await;
    edge.stop().await?;
    // The fix that was being printed when it stopped is printed again.
    receiver.continue_after(edge.buffer().await?.last_time()?).await?;
    disk.remount("ro")?;
    edge.start()?;
    said(&stage, "the buffer cannot be opened", 1).await?;
    receiver.go().await;
    printed(&receiver, receiver.count() + 150).await?;
    anyhow::ensure!(!edge.has_ended(), "a read-only disk ended the agent");
    disk.remount("rw")?;
    said(&stage, "the buffer's flash is back", 2).await?;
    tokio::time::timeout(PATIENCE, receiver.finished()).await?;
    stage.judge().await?;
    edge.stop().await
}

#[test]
fn a_full_and_a_read_only_disk_lose_nothing() {
    play(full_and_read_only(MOORED));
}

/// The store is damaged so that it cannot be opened: what is whole arrives under the old epoch, the rest is declared.
async fn damaged(log: Log, seed: u64) -> anyhow::Result<()> {
    let Some(path) = log.path() else { return Ok(()) };
    let mut dice = StdRng::seed_from_u64(seed);
    let mut stage = Stage::set("flash-damaged", &path).await?;
    let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Accelerated(200.0), None)?;
    let source = Source::virtual_serial(receiver.device());
    let mut edge = stage.gateway(&source, "127.0.0.1:9").await?;
    edge.start()?;
    printed(&receiver, 600).await?;
    receiver.halt().await;
    edge.stop().await?;
    let claim = edge.buffer().await?;
    anyhow::ensure!(claim.next_sequence >= Some(300), "too little was recorded: {claim:?}");
    receiver.continue_after(claim.last_time()?).await?;
    let recorded = claim.next_sequence.unwrap_or(0);

    let folder = stage.scene.folder("edge")?;
    let store = folder.join("state/buffer");
    std::fs::write(store.join("conf"), "not a configuration of sled")?;
    let mut bytes = std::fs::read(store.join("db"))?;
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    for _ in 0..20 {
        let at = dice.random_range(0..used);
        let end = (at + dice.random_range(100..4096)).min(used);
        bytes[at..end].fill(0);
    }
    std::fs::write(store.join("db"), bytes)?;

    let quic = stage.cloud.ports().quic.clone();
    let mut edge = Edge::configure(&folder, &stage.scene.log("avl-edge.log"), &source, &quic, Tuning::HASTY)?;
    edge.start()?;
    receiver.go().await;
    tokio::time::timeout(PATIENCE, receiver.finished()).await?;
    let (api, vehicle) = (stage.cloud.api()?, format!("{FLEET}/{VEHICLE}"));
    let expected = stage.printed.len() as u64;
    eventually("every fix received or declared", PATIENCE, || async {
        let claim = api.completeness(&vehicle).await?;
        anyhow::ensure!(
            claim.received + claim.lost >= expected && claim.missing == 0,
            "{claim:?} of {expected}"
        );
        Ok(Some(()))
    })
    .await?;
    let (claim, rows) = (api.completeness(&vehicle).await?, api.positions(&vehicle).await?);
    let report = verdict::compare(&stage.printed, &rows);
    println!("{report}\n{claim:?}");
    anyhow::ensure!(claim.lost > 0, "nothing was damaged: the test proves nothing");
    anyhow::ensure!(claim.lost < recorded, "nothing of {recorded} was saved: {claim:?}");
    let there: std::collections::BTreeSet<_> = rows.iter().map(|row| row.time.clone()).collect();
    anyhow::ensure!(
        there.len() == rows.len(),
        "{} times for {} rows: some came twice",
        there.len(),
        rows.len()
    );
    anyhow::ensure!(
        claim.received == rows.len() as u64 && claim.received + claim.lost == expected,
        "{claim:?}"
    );
    anyhow::ensure!(
        !folder
            .join("state")
            .read_dir()?
            .any(|entry| entry.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("buffer.old"))),
        "the old epoch's store is still there"
    );
    edge.stop().await?;
    stage.cloud.stop().await
}

#[test]
fn a_damaged_buffer_delivers_what_is_whole_and_declares_the_rest() {
    play(damaged(URBAN, 61));
}

/// An image of the disk is put back: the same files, with old content. Numbers that the cloud has are given again, and
/// nothing is lost or repeated.
async fn restored(log: Log) -> anyhow::Result<()> {
    let Some(path) = log.path() else { return Ok(()) };
    let mut stage = Stage::set("flash-restored", &path).await?;
    let receiver = VirtualReceiver::plug_in(Feed::log(Log::read(&path)?), Pace::Accelerated(200.0), None)?;
    let quic = stage.cloud.ports().quic.clone();
    let mut edge = stage.gateway(&Source::virtual_serial(receiver.device()), &quic).await?;
    let store = stage.scene.folder("edge")?.join("state/buffer");
    let mut image = Vec::new();
    for stop in [200, 500] {
        edge.start()?;
        printed(&receiver, stop).await?;
        receiver.halt().await;
        edge.stop().await?;
        receiver.continue_after(edge.buffer().await?.last_time()?).await?;
        if image.is_empty() {
            for name in ["db", "conf", "../buffer.extent"] {
                image.push((store.join(name), std::fs::read(store.join(name))?));
            }
        }
        if stop < 500 {
            receiver.go().await;
        }
    }
    for entry in std::fs::read_dir(&store)? {
        let path = entry?.path();
        if path.is_file() && !image.iter().any(|(known, _)| *known == path) {
            std::fs::remove_file(&path)?;
        }
    }
    for (path, content) in &image {
        // Into the same file: a copy would be noticed at once.
        std::fs::write(path, content)?;
    }
    edge.start()?;
    receiver.go().await;
    tokio::time::timeout(PATIENCE, receiver.finished()).await?;
    stage.judge().await?;
    anyhow::ensure!(times(&stage, "starts a new epoch") == 1, "the numbers were not found to be taken");
    edge.stop().await
}

#[test]
fn a_disk_image_that_is_put_back_loses_and_repeats_nothing() {
    play(restored(MOORED));
}

/// Two hundred kills in one drive, with a link: a replay keeps its place with the fixes, so the oracle sees any slip.
async fn two_hundred_kills(log: Log, seed: u64) -> anyhow::Result<()> {
    const KILLS: usize = 200;
    let Some(path) = log.path() else { return Ok(()) };
    let mut dice = StdRng::seed_from_u64(seed);
    let mut stage = Stage::set("kills-200", &path).await?;
    let quic = stage.cloud.ports().quic.clone();
    let edge = stage.gateway(&Source::Replay { path: path.clone(), speed: 80.0 }, &quic).await?;
    drop(edge);
    let tuning =
        Tuning { durability: Duration::from_millis(10), latency: Duration::from_millis(10), ..Tuning::HASTY };
    let folder = stage.scene.folder("edge")?;
    let source = Source::Replay { path: path.clone(), speed: 80.0 };
    let mut edge = Edge::configure(&folder, &stage.scene.log("avl-edge.log"), &source, &quic, tuning)?;
    let (begun, mut claim, mut advances) = (Instant::now(), None, 0);
    for kill in 0..KILLS {
        let starts = times(&stage, "agent started");
        edge.start()?;
        // Half of them while it starts, half while it works.
        if dice.random_bool(0.5) {
            let deadline = Instant::now() + PATIENCE;
            while times(&stage, "agent started") == starts && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.random_range(5..90))).await;
        anyhow::ensure!(!edge.has_ended(), "the drive was over after {kill} kills: drive slower");
        edge.kill().await?;
        if kill % 10 == 9 && folder.join("state/buffer/db").exists() {
            let now = edge.buffer().await?.next_sequence;
            anyhow::ensure!(now >= claim, "numbers went back from {claim:?} to {now:?}");
            advances += usize::from(now > claim);
            claim = now;
        }
    }
    println!(
        "{KILLS} kills in {:?}, up to number {claim:?}, which grew in {advances} of 20 looks",
        begun.elapsed()
    );
    anyhow::ensure!(advances >= 10, "the drive made no headway between the kills");
    let rest = Source::Replay { path, speed: 0.0 };
    let mut edge = Edge::configure(&folder, &stage.scene.log("avl-edge.log"), &rest, &quic, Tuning::HASTY)?;
    edge.start()?;
    edge.ended(PATIENCE).await?;
    stage.judge().await
}

#[test]
fn two_hundred_kills_in_a_drive_lose_and_repeat_nothing() {
    play(two_hundred_kills(MOORED, 62));
}
