//! What a damaged or hostile sender can do to a decoder: get a clear error, and nothing else.

use super::super::*;
use crate::fix::{Decimal, FixMode, Quality};

fn drive(count: i64) -> Batch {
    let fixes = (0..count)
        .map(|i| Fix {
            time: Some(1_764_931_200_000 + i * 1000),
            latitude: Some(Decimal::new(224_558_362 + i * 37 + i * i % 7, 5)),
            longitude: Some(Decimal::new(-732_561_915 + i * 91 + i * i % 11, 5)),
            altitude: Some(Decimal::new(44 + i / 5, 1)),
            speed: Some(Decimal::new(3100 + i * 13 % 50, 3)),
            course: Some(Decimal::new(6000 + i * 17 % 90, 2)),
            hdop: Some(Decimal::new(76 + i % 3, 2)),
            satellites: Some(12),
            quality: Quality::Rtk,
            ..Fix::default()
        })
        .collect();
    Batch { epoch: Epoch(0xE9_0C4), first: 4711, boot_id: None, fixes }
}

/// The same with every optional column.
fn rich_drive(count: i64) -> Batch {
    let mut batch = drive(count);
    for (i, fix) in (0..).zip(&mut batch.fixes) {
        fix.vdop = Some(Decimal::new(110 + i % 4, 2));
        fix.pdop = Some(Decimal::new(133 + i % 3, 2));
        fix.in_view = Some(21);
        fix.mode = Some(FixMode::ThreeD);
        fix.odometer = Some(123_456 + 2 * i.unsigned_abs());
    }
    batch
}

#[test]
fn any_flipped_bit_is_noticed() {
    for batch in [drive(60), rich_drive(60)] {
        any_flipped_bit_of(&batch);
    }
}

fn any_flipped_bit_of(batch: &Batch) {
    let bytes = encode(batch).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // The last bits of the code may be free: then the fixes are the same.
        assert!(decode(&flipped).map_or(true, |read| read == *batch), "bit {bit}");
    }
}

/// A xorshift generator (Marsaglia 2003): the same inputs in every run.
struct Mutations(u64);

impl Mutations {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1));
            let byte = self.below(256).to_le_bytes()[0];
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(bytes.len().saturating_sub(self.below(8))),
            }
        }
    }
}

/// The short cousin of the fuzz target in `shared/fuzz`, for every run of the tests. A batch that passes after a
/// mutation must be one that an encoder can write.
#[test]
fn two_hundred_thousand_mutated_batches_do_no_harm() {
    let seeds = [drive(1), drive(2), drive(7)].map(|batch| encode(&batch).unwrap());
    let mut mutations = Mutations(0x9E37_79B9_7F4A_7C15);
    let mut refused = 0;
    for round in 0..200_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        mutations.mutate(&mut bytes);
        // A count above 30 only makes the walk longer.
        if peek(&bytes).is_ok_and(|header| header.range.count() > 30) {
            continue;
        }
        match decode(&bytes) {
            Ok(batch) => assert_eq!(decode(&encode(&batch).unwrap()).unwrap(), batch),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 150_000, "{refused}");
}

#[test]
fn errors_name_what_is_wrong() {
    let bytes = encode(&drive(3)).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(decode(b""), Err(DecodeError::Truncated { length: 0 }));
    assert_eq!(decode(b"{\"lat\":1}"), Err(DecodeError::NotABatch(b'{')));
    assert_eq!(decode(&with(0, 0xA3)), Err(DecodeError::UnknownVersion(3)));
    assert_eq!(peek(&with(0, 0xAF)), Err(DecodeError::UnknownVersion(15)));
    assert_eq!(decode(&vec![0xA1; MAX_BYTES + 1]), Err(DecodeError::TooLong { length: MAX_BYTES + 1 }));
    assert_eq!(decode(&bytes[..9]), Err(DecodeError::Truncated { length: 9 }));
    let last = bytes.len() - 1;
    assert!(matches!(decode(&with(last, !bytes[last])), Err(DecodeError::Checksum { .. })));
}

#[test]
fn counts_and_sequences_are_checked_before_any_work() {
    let frame = |first: &[u8], count: &[u8]| [&[0xA1, 0, 0, 0, 1], first, count, &[0; 8][..]].concat();
    assert_eq!(decode(&frame(&[0], &[0])), Err(DecodeError::Count(0)));
    assert_eq!(decode(&frame(&[0], &[0x81, 0x20])), Err(DecodeError::Count(4097)));
    let huge = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    assert_eq!(peek(&frame(&[0], &huge)), Err(DecodeError::Count(u64::MAX)));
    assert_eq!(peek(&frame(&huge, &[2])), Err(DecodeError::SequenceOverflow { first: u64::MAX, count: 2 }));
    assert!(matches!(peek(&frame(&[0x80, 0x00], &[1])), Err(DecodeError::Malformed(_))));
    assert!(matches!(peek(&frame(&[0xFF; 10], &[1])), Err(DecodeError::Malformed(_))));
}
