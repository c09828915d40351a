//! Bytes of one epoch (RMC VTG GGA GSA GLL) → one fix, side by side with the `nmea` crate, which parses the same five
//! sentences one by one and neither finds them in a stream nor joins them.

use std::hint::black_box;

use avl_edge::receiver::Receiver;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const EPOCHS: u32 = 1000;

fn sentence(body: &str) -> String {
    let checksum = body.bytes().fold(0, |xor, byte| xor ^ byte);
    format!("${body}*{checksum:02X}")
}

/// Five sentences a second, each with its place a little further on.
fn drive() -> Vec<String> {
    (0..EPOCHS)
        .flat_map(|second| {
            let time = format!("{:02}{:02}{:02}.00", 8 + second / 3600, second / 60 % 60, second % 60);
            let place = format!("3725.{:05},N,12205.{:05},W", 10_000 + second * 7, 90_000 - second * 11);
            [
                format!("GNRMC,{time},A,{place},13.944,144.50,070220,13.06,E,A"),
                "GNVTG,144.50,T,131.44,M,13.944,N,25.825,K,A".to_owned(),
                format!("GNGGA,{time},{place},1,12,0.76,4.4,M,-30.0,M,,"),
                "GNGSA,A,3,17,02,06,28,12,13,15,24,19,,,,1.48,0.76,1.27".to_owned(),
                format!("GNGLL,{place},{time},A,A"),
            ]
        })
        .map(|body| sentence(&body))
        .collect()
}

fn per_epoch(criterion: &mut Criterion) {
    let sentences = drive();
    let stream: String = sentences.iter().map(|sentence| format!("{sentence}\r\n")).collect();
    let mut group = criterion.benchmark_group("epoch of five sentences");
    group.throughput(Throughput::Elements(u64::from(EPOCHS)));

    for (name, make) in [("recorded", Receiver::recorded as fn() -> Receiver), ("live", Receiver::live)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                make,
                |receiver| {
                    let mut fixes = 0_u32;
                    receiver.push(black_box(stream.as_bytes()), None, |observation| {
                        black_box(&observation.fix);
                        fixes += 1;
                    });
                    assert!(fixes >= EPOCHS - 1);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.bench_function("nmea crate, parsing alone", |bencher| {
        bencher.iter(|| {
            for sentence in &sentences {
                assert!(black_box(nmea::parse_str(black_box(sentence))).is_ok());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, per_epoch);
criterion_main!(benches);
