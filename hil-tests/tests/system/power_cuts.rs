//! A hundred power cuts: everything that the gateway had called durable is there afterwards, under its number.
//!
//! The real agent records a drive while a preloaded library writes down what it does to its files. Each cut is a
//! moment of that record and the image that a disk may be left with ([`hil_tests::flash`]). The claim is the agent's own
//! log, in the order in which it said it; what the image holds is read by `avl-edge buffer`, and one of the images is
//! driven on to the end, where the oracle judges.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::Context as _;
use hil_tests::flash::{Disk, Event, Tracer};
use hil_tests::logs::{Log, MOORED};
use hil_tests::process::{Edge, Source, Tuning, eventually, program};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::stage::{PATIENCE, Stage, play};

const CUTS: usize = 100;
/// Of this image the drive goes on. Only of one: to the cloud, another would be a disk that was put back to before it
/// sent what the cloud has.
const RESUMED: usize = 50;
/// Nobody listens there: nothing is acknowledged, so everything must be held.
const NOWHERE: &str = "127.0.0.1:9";

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fixes that the agent says are on flash.
fn claimed(event: &Event) -> u64 {
    let Event::Said { text } = event else { return 0 };
    text.lines()
        .filter(|line| line.contains("on flash"))
        .filter_map(|line| line.split_once("fixes=")?.1.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// An image is a copy of the file, which a power cut is not: the buffer must not take it for a restored one.
fn same_file_as_before(state: &Path) -> anyhow::Result<()> {
    let note = state.join("buffer.extent");
    let Ok(text) = std::fs::read_to_string(&note) else { return Ok(()) };
    let words: Vec<&str> = text.split_whitespace().collect();
    if let ([epoch, next, _, end], Ok(file)) = (&words[..], std::fs::metadata(state.join("buffer/db"))) {
        std::fs::write(&note, format!("{epoch} {next} {} {end}\n", file.ino()))?;
    }
    Ok(())
}

fn only_for_the_owner(state: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(state.join("identity"))? {
        std::fs::set_permissions(entry?.path(), std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

async fn power_cuts(log: Log, seed: u64) -> anyhow::Result<()> {
    let Some(path) = log.path() else { return Ok(()) };
    let mut dice = StdRng::seed_from_u64(seed);
    let mut stage = Stage::set("power-cuts", &path).await?;
    let source = Source::Replay { path: path.clone(), speed: 300.0 };
    let edge = stage.gateway(&source, NOWHERE).await?;
    let state = stage.scene.folder("edge")?.join("state");
    let mut disk = Disk::of(&state)?;
    let tracer = Tracer::build(&stage.scene.folder("trace")?, &state)?;
    let config = edge.config().display().to_string();
    let recording = Killed(tracer.start(
        &program("avl-edge")?,
        &["run", "--config", &config, "--once"],
        &stage.scene.log("avl-edge-traced.log"),
    )?);
    let total = stage.printed.len() as u64;
    eventually("the whole drive on flash", PATIENCE, || async {
        let claim: u64 = tracer.events()?.iter().map(claimed).sum();
        anyhow::ensure!(claim >= total, "{claim} of {total} fixes");
        Ok(Some(claim))
    })
    .await?;
    drop(recording);
    let epoch = edge.buffer().await?.epoch;

    let events = tracer.events()?;
    let first = events.iter().position(|event| claimed(event) > 0).context("nothing was claimed")?;
    let mut moments: Vec<usize> = (0..CUTS).map(|_| dice.random_range(first + 1..=events.len())).collect();
    moments.sort_unstable();
    let (mut seen, mut claim, mut late) = (0, 0, 0);
    for (cut, moment) in moments.into_iter().enumerate() {
        for event in &events[seen..moment] {
            disk.see(event);
            claim += claimed(event);
        }
        seen = moment;
        let folder = stage.scene.folder(&format!("cut-{cut}"))?;
        let image = folder.join("state");
        disk.cut(&image, &mut dice)?;
        same_file_as_before(&image)?;
        only_for_the_owner(&image)?;
        let quic = stage.cloud.ports().quic.clone();
        let again = Source::Replay { path: path.clone(), speed: 0.0 };
        let mut edge = Edge::configure(
            &folder,
            &stage.scene.log("avl-edge-after-cut.log"),
            &again,
            &quic,
            Tuning::HASTY,
        )?;
        let buffer = edge.buffer().await.with_context(|| format!("cut {cut} at event {moment}"))?;
        let next = buffer.next_sequence.context("no next number")?;
        anyhow::ensure!(buffer.epoch == epoch, "cut {cut}: another epoch, {:?}", buffer.epoch);
        anyhow::ensure!(
            next >= claim,
            "cut {cut} at event {moment}: {next} of {claim} durable fixes are there"
        );
        anyhow::ensure!(buffer.held == [[0, next - 1]], "cut {cut}: held is {:?} of {next}", buffer.held);
        let last = buffer.last_sequence.context("no last number")?;
        let printed = &stage.printed[usize::try_from(last)?];
        anyhow::ensure!(
            last + 1 == next && buffer.last_time()? == printed.time,
            "cut {cut}: number {last} is the fix of {:?} instead of {:?}",
            buffer.last_time()?,
            printed.time
        );
        late += usize::from(next > claim);
        if cut == RESUMED {
            edge.start()?;
            edge.ended(PATIENCE).await.with_context(|| format!("driving on after cut {cut}"))?;
        } else {
            std::fs::remove_dir_all(&folder)?;
        }
    }
    println!("{CUTS} cuts in {} events; in {late} the disk held more than was claimed", events.len());
    tokio::time::timeout(Duration::from_secs(60), stage.judge()).await?
}

#[test]
fn a_hundred_power_cuts_take_nothing_that_was_durable() {
    play(power_cuts(MOORED, 51));
}
