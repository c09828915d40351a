//! Speed of the wire batch, per fix: `cargo bench --bench batch`.

use std::hint::black_box;

use avl_shared::batch::{Batch, decode, encode, peek};
use avl_shared::fix::{Decimal, Fix, Quality};
use avl_shared::sequence::Epoch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A city drive at 1 Hz, five decimals: speeds and turns from a small linear congruential generator.
fn drive(count: usize) -> Batch {
    let mut state = 12_345_u64;
    let mut random = |spread: i64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).cast_signed() % (2 * spread + 1) - spread
    };
    let (mut speed, mut course, mut latitude, mut longitude) =
        (18_000_i64, 4_500_i64, 224_558_362_i64, -732_561_915_i64);
    let fixes = (0_i64..)
        .take(count)
        .map(|second| {
            speed = (speed + random(600)).max(0);
            course = (course + random(250)).rem_euclid(36_000);
            latitude += speed / 50 + random(4);
            longitude += speed / 40 + random(5);
            Fix {
                time: Some(1_764_931_200_000 + second * 1000),
                latitude: Some(Decimal::new(latitude, 5)),
                longitude: Some(Decimal::new(longitude, 5)),
                altitude: Some(Decimal::new(44 + second / 9, 1)),
                speed: Some(Decimal::new(speed, 3)),
                course: Some(Decimal::new(course, 2)),
                hdop: Some(Decimal::new(76 + random(1), 2)),
                satellites: Some(12),
                quality: Quality::Rtk,
                ..Fix::default()
            }
        })
        .collect();
    Batch { epoch: Epoch(1), first: 1000, boot_id: None, fixes }
}

#[allow(clippy::unwrap_used)] // a bench may stop
fn batches(criterion: &mut Criterion) {
    for count in [10, 60, 300] {
        let batch = drive(count);
        let bytes = encode(&batch).unwrap();
        let mut group = criterion.benchmark_group(format!("batch of {count}"));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function("encode", |b| b.iter(|| encode(black_box(&batch)).unwrap()));
        group.bench_function("decode", |b| b.iter(|| decode(black_box(&bytes)).unwrap()));
        group.bench_function("peek", |b| b.iter(|| peek(black_box(&bytes)).unwrap()));
        group.finish();
    }
}

criterion_group!(benches, batches);
criterion_main!(benches);
