//! Any bytes: the receiver never panics, gives the same fixes however the bytes are cut and wherever reading is taken
//! up again, and a fix is on the globe.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// Taken by its path: the rest of the gateway, its stores and its transports, has no part in this and would only have
/// to be built with the sanitiser.
#[allow(dead_code, unused_imports)]
#[path = "../../src/receiver/mod.rs"]
mod receiver;

use receiver::{Observation, Receiver};

fn read(mut receiver: Receiver, bytes: &[u8], cut: usize) -> Vec<Observation> {
    let mut all = Vec::new();
    for chunk in bytes.chunks(cut.max(1)) {
        receiver.push(chunk, None, |observation| all.push(observation));
    }
    receiver.finish(None, |observation| all.push(observation));
    all
}

fuzz_target!(|bytes: &[u8]| {
    // The checksum is what a fuzzer never guesses, so `#` stands for the one that is right.
    let bytes = with_checksums(bytes);
    let whole = read(Receiver::recorded(), &bytes, bytes.len());
    assert_eq!(read(Receiver::recorded(), &bytes, 7), whole);
    if let Some(middle) = whole.get(whole.len() / 2) {
        let rest = read(Receiver::resumed(&middle.resume), &bytes[middle.resume.offset as usize..], 64);
        assert_eq!(rest[..], whole[whole.len() / 2 + 1..]);
    }
    for Observation { fix, .. } in whole.iter().chain(&read(Receiver::live().dating_from(20_000), &bytes, 33)) {
        assert!(fix.latitude_degrees().is_none_or(|degrees| degrees.abs() <= 90.0));
        assert!(fix.longitude_degrees().is_none_or(|degrees| degrees.abs() <= 180.0));
        assert!(fix.speed.is_none_or(|speed| speed.mantissa() >= 0));
    }
});

fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut xor) = (Vec::with_capacity(bytes.len() + 64), 0);
    for &byte in bytes {
        match byte {
            b'#' => out.extend_from_slice(format!("*{xor:02X}\r\n").as_bytes()),
            _ => out.push(byte),
        }
        xor = if byte == b'$' { 0 } else { xor ^ byte };
    }
    out
}
