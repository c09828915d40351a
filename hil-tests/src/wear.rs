//! What days of recording do to the flash: one fix a second into a real buffer, acknowledged with a lag.

use std::path::Path;

use anyhow::Context as _;
use avl_edge::buffer::{self, taken_bytes};
use avl_shared::batch::{self, Batch};
use avl_shared::fix::{Decimal, Fix, Quality};
use avl_shared::sequence::{Epoch, SequenceRange};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Seconds between two acknowledgements, and how far they lag behind: the agent's default.
const ACK_EVERY: u64 = 180;

/// What the kernel's cache, and most flash, writes at the least.
pub const PAGE_BYTES: u64 = 4096;

/// What was recorded, and what that took.
#[derive(Clone, Copy, Debug)]
pub struct Worn {
    pub fixes: u64,
    /// Appends, each of them synced.
    pub blocks: u64,
    /// Wire batches as they would go on the air.
    pub payload_bytes: u64,
    /// Given to the kernel by `write` and its kin (`wchar`).
    pub handed_bytes: u64,
    /// Whole pages that the kernel sent to storage (`write_bytes`); 0 on a file system in memory.
    pub storage_bytes: u64,
    /// The largest that the store was in the first half, and at all.
    pub half_time_bytes: u64,
    pub largest_bytes: u64,
}

impl Worn {
    /// Bytes handed to the kernel for each byte of payload.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn amplification(&self) -> f64 {
        self.handed_bytes as f64 / self.payload_bytes as f64
    }

    /// Pages sent to storage for each append. One is the least that is possible: an append that is durable has changed a page.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn pages_an_append(&self) -> f64 {
        self.storage_bytes as f64 / (self.blocks * PAGE_BYTES) as f64
    }
}

/// Records `seconds` of a drive in blocks of `block_s` seconds, as fast as the disk takes them. Nothing else may write in this process meanwhile.
///
/// # Errors
/// When the buffer or the kernel's counters fail.
pub fn record(state_dir: &Path, seconds: u64, block_s: u64) -> anyhow::Result<Worn> {
    let mut dice = StdRng::seed_from_u64(5);
    let mut outbox = buffer::open(state_dir, 256 << 20, Epoch(1))?.outbox;
    let (handed, storage) = counters()?;
    let (mut payload, mut half, mut largest) = (0, 0, 0);
    let mut vehicle = Vehicle::default();
    let (mut second, mut acknowledged) = (0, 0);
    while second < seconds {
        let fixes: Vec<Fix> = (0..block_s).map(|_| vehicle.next(&mut dice)).collect();
        let batch = Batch { epoch: Epoch(1), first: second, boot_id: None, fixes };
        payload += batch::encode(&batch)?.len() as u64;
        outbox.append(batch.fixes, 1, None)?;
        second += block_s;
        if second >= acknowledged + 2 * ACK_EVERY {
            let durable = SequenceRange::starting_at(acknowledged, ACK_EVERY);
            outbox.forget(&durable.into_iter().collect())?;
            acknowledged += ACK_EVERY;
        }
        let taken = taken_bytes(&buffer::directory(state_dir))?;
        largest = largest.max(taken);
        if second <= seconds / 2 {
            half = largest;
        }
    }
    drop(outbox);
    let (handed_now, storage_now) = counters()?;
    Ok(Worn {
        fixes: second,
        blocks: second / block_s,
        payload_bytes: payload,
        handed_bytes: handed_now - handed,
        storage_bytes: storage_now - storage,
        half_time_bytes: half,
        largest_bytes: largest,
    })
}

/// `wchar` and `write_bytes` of this process.
fn counters() -> anyhow::Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).context("no counter")?;
        Ok::<u64, anyhow::Error>(value.trim().parse()?)
    };
    Ok((field("wchar: ")?, field("write_bytes: ")?))
}

/// A vehicle that wanders with the noise of a receiver.
struct Vehicle {
    second: i64,
    speed: i64,
    course: i64,
    north: f64,
    east: f64,
}

impl Default for Vehicle {
    fn default() -> Self {
        Self { second: 0, speed: 250, course: 900, north: 2_760.0, east: 480.0 }
    }
}

impl Vehicle {
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn next(&mut self, dice: &mut StdRng) -> Fix {
        self.second += 1;
        self.speed = (self.speed + dice.random_range(-6..=6)).clamp(0, 500);
        self.course = (self.course + dice.random_range(-15..=15)).rem_euclid(3_600);
        let (knots, course) = (self.speed as f64 / 10.0, (self.course as f64 / 10.0).to_radians());
        self.north += knots / 3_600.0 * course.cos();
        self.east += knots / 3_600.0 * course.sin() / 46_f64.to_radians().cos();
        let mut minutes =
            |value: f64| Decimal::new((value * 1e4).round() as i64 + dice.random_range(-3..=3), 4);
        Fix {
            time: Some(1_700_000_000_000 + self.second * 1000),
            latitude: Some(minutes(self.north)),
            longitude: Some(minutes(self.east)),
            altitude: Some(Decimal::new(4_000 + dice.random_range(-2..=2), 1)),
            speed: Some(Decimal::new(self.speed, 1)),
            course: Some(Decimal::new(self.course, 1)),
            hdop: Some(Decimal::new(9, 1)),
            satellites: Some(11),
            quality: Quality::Gps,
            ..Fix::default()
        }
    }
}
