//! The test vectors in `shared/testdata/batch`: what a batch holds as JSON, and its bytes as hexadecimal digits.
//! Another implementation must produce and read the same. After a change of format, `AVL_WRITE_VECTORS=1` writes them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::*;
use crate::fix::{Decimal, FixMode, Quality, Verdict};

const NAMES: [&str; 5] = ["one-fix", "short-drive", "odd-values", "optional-columns", "odd-optional-columns"];

fn path(name: &str, extension: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/batch").join(name).with_extension(extension)
}

fn batch_of(json: &Value) -> Batch {
    let fixes = json["fixes"].as_array().unwrap().iter().map(fix_of).collect();
    Batch {
        epoch: Epoch(json["epoch"].as_u64().unwrap().try_into().unwrap()),
        first: json["first"].as_u64().unwrap(),
        boot_id: json["boot_id"].as_u64().map(|id| id.try_into().unwrap()),
        fixes,
    }
}

fn fix_of(json: &Value) -> Fix {
    let decimal = |name: &str| {
        json[name].as_str().map(|printed| {
            // The one number that is out of reach of its own digits read as a positive one.
            if printed == "-9223372036854775808" {
                Decimal::new(i64::MIN, 0)
            } else {
                printed.parse().unwrap()
            }
        })
    };
    let number = |name: &str| json[name].as_u64();
    Fix {
        time: json["time"].as_i64(),
        latitude: decimal("latitude"),
        longitude: decimal("longitude"),
        altitude: decimal("altitude"),
        speed: decimal("speed"),
        course: decimal("course"),
        hdop: decimal("hdop"),
        satellites: number("satellites").map(|count| count.try_into().unwrap()),
        quality: Quality::from_code(number("quality").unwrap().try_into().unwrap()).unwrap(),
        verdict: Verdict::from_bits_retain(number("verdict").unwrap().try_into().unwrap()),
        inputs: number("inputs").map(|inputs| inputs.try_into().unwrap()),
        uptime: number("uptime"),
        vdop: decimal("vdop"),
        pdop: decimal("pdop"),
        in_view: number("in_view").map(|count| count.try_into().unwrap()),
        mode: number("mode").map(|code| FixMode::from_code(code.try_into().unwrap()).unwrap()),
        odometer: number("odometer"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .chunks(32)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
        .collect()
}

#[test]
fn vectors_are_written_and_read_as_they_stand() {
    for name in NAMES {
        let json = std::fs::read_to_string(path(name, "json")).unwrap();
        let batch = batch_of(&serde_json::from_str(&json).unwrap());
        let bytes = encode(&batch).unwrap();
        if std::env::var_os("AVL_WRITE_VECTORS").is_some() {
            std::fs::write(path(name, "hex"), hexadecimal(&bytes)).unwrap();
        }
        let expected = std::fs::read_to_string(path(name, "hex")).unwrap();
        assert_eq!(
            hexadecimal(&bytes),
            expected,
            "{name}: the format changed; it needs another format number"
        );
        assert_eq!(decode(&bytes).unwrap(), batch, "{name}");
    }
}
