use super::*;
use proptest::prelude::*;

fn fix(second: i64) -> Fix {
    Fix { time: Some(second * 1000), satellites: Some(9), ..Fix::default() }
}

fn fixes(seconds: std::ops::Range<i64>) -> Vec<Fix> {
    seconds.map(fix).collect()
}

fn all(ring: &mut Ring, period: (i64, i64)) -> Vec<(u64, i64)> {
    let (mut found, mut position) = (Vec::new(), Position::default());
    while let Some((block, behind)) = ring.next_block(position, period).unwrap() {
        found.extend((block.first..).zip(block.fixes.iter().map(|fix| fix.time.unwrap() / 1000)));
        position = behind;
    }
    found
}

const EVER: (i64, i64) = (i64::MIN, i64::MAX);

#[test]
fn what_was_appended_is_read_after_a_restart_and_numbering_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), 1 << 20, 1).unwrap();
    ring.append(fixes(0..100)).unwrap();
    let mut ring = Ring::open(folder.path(), 1 << 20, 2).unwrap();
    assert_eq!((ring.id(), ring.numbers()), (1, (0, 100)));
    ring.append(fixes(100..150)).unwrap();
    assert_eq!(all(&mut ring, EVER), (0..150_u64).map(|n| (n, n.cast_signed())).collect::<Vec<_>>());
    assert_eq!(all(&mut ring, (120_000, 120_000)).len(), 50, "a block is read whole");
    assert!(all(&mut ring, (200_000, 300_000)).is_empty());
}

#[test]
fn it_stays_within_its_bound_and_drops_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let bound = 16 << 10;
    let mut ring = Ring::open(folder.path(), bound, 1).unwrap();
    for block in 0..400 {
        ring.append(fixes(block * 60..(block + 1) * 60)).unwrap();
        assert!(ring.bytes() <= bound);
    }
    let on_disk: u64 =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(on_disk, ring.bytes());
    let (oldest, next) = ring.numbers();
    assert_eq!(next, 24_000);
    assert!(oldest > 0);
    let found = all(&mut ring, EVER);
    assert_eq!((found[0].0, found.len() as u64), (oldest, next - oldest));
}

proptest! {
    /// A power cut tears the end anywhere, damage flips bytes anywhere: what is whole before it is still there, and
    /// nothing that was never written is read.
    #[test]
    fn a_torn_or_damaged_file_costs_at_most_what_is_damaged(
        blocks in 1..6_i64, cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), tear in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 1 << 20, 1).unwrap();
        let mut ends = Vec::new();
        for block in 0..blocks {
            ring.append(fixes(block * 20..(block + 1) * 20)).unwrap();
            ends.push(ring.bytes());
        }
        let path = ring.path(0);
        let mut bytes = fs::read(&path).unwrap();
        let harmed_from = if tear {
            bytes.truncate(cut.index(bytes.len()));
            bytes.len()
        } else {
            let at = flip.index(bytes.len());
            bytes[at] ^= 0x10;
            at
        } as u64;
        fs::write(&path, &bytes).unwrap();
        let mut ring = Ring::open(folder.path(), 1 << 20, 2).unwrap();
        ring.append(fixes(1000..1001)).unwrap();
        let found: Vec<i64> = all(&mut ring, EVER).iter().map(|(_, second)| *second).collect();
        let whole = ends.iter().filter(|end| **end <= harmed_from).count();
        let whole = 20 * i64::try_from(whole).unwrap();
        prop_assert_eq!(&found[..usize::try_from(whole).unwrap()], (0..whole).collect::<Vec<_>>());
        prop_assert_eq!(found.last(), Some(&1000));
        prop_assert!(found.iter().all(|second| (0..blocks * 20).contains(second) || *second == 1000));
    }
}
