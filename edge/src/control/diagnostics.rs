//! A bundle for whoever investigates from afar: one JSON document, bounded, without secrets.

use std::path::Path;

use avl_shared::link::MAX_RESULT_BYTES;
use figment::Figment;
use figment::providers::{Format, Toml};
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::update::Slots;
use crate::buffer::Status;

/// A key with one of these in its name is hidden: none of today's holds a secret, one of tomorrow's may.
const SECRET: [&str; 6] = ["password", "passphrase", "secret", "token", "credential", "pin"];

pub(super) struct Facts<'a> {
    pub(super) vehicle: String,
    pub(super) version: String,
    pub(super) file: &'a Path,
    pub(super) state_dir: &'a Path,
    pub(super) remote: Value,
    pub(super) board: Value,
    pub(super) buffer: &'a Status,
    pub(super) ledger: &'a Ledger,
    pub(super) slots: &'a Slots,
    pub(super) log: Vec<String>,
}

/// The document; the oldest log lines make room when it would be too long.
pub(super) fn bundle(facts: &Facts<'_>) -> Vec<u8> {
    let mut log = facts.log.as_slice();
    loop {
        let bytes = serde_json::to_vec(&document(facts, log)).unwrap_or_default();
        if bytes.len() <= MAX_RESULT_BYTES {
            return bytes;
        }
        if log.is_empty() {
            return br#"{"error":"the facts alone exceed what a result may hold"}"#.to_vec();
        }
        log = &log[log.len().div_ceil(2)..];
    }
}

fn document(facts: &Facts<'_>, log: &[String]) -> Value {
    let status = facts.buffer;
    json!({
        "vehicle": facts.vehicle,
        "made_at": chrono::Utc::now().to_rfc3339(),
        "version": facts.version,
        "target": super::update::TARGET,
        "system": {
            "uptime": read("/proc/uptime"),
            "load": read("/proc/loadavg"),
            "kernel": read("/proc/version"),
            "memory_pages": read("/proc/self/statm"),
            "disk": disk(facts.state_dir),
        },
        "configuration": { "file": configuration(facts.file), "remote": facts.remote },
        "parts": facts.board,
        "buffer": {
            "epoch": status.epoch.to_string(),
            "next_sequence": status.next_sequence,
            "held": status.held.to_string(),
            "held_count": status.held.count(),
        },
        "commands": facts.ledger,
        "slots": facts.slots,
        "log": log,
    })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .map_or_else(|error| error.to_string(), |text| text.trim().chars().take(300).collect())
}

fn disk(path: &Path) -> Value {
    match rustix::fs::statvfs(path) {
        Ok(disk) => json!({
            "bytes": disk.f_blocks.saturating_mul(disk.f_frsize),
            "free_bytes": disk.f_bavail.saturating_mul(disk.f_frsize),
            "free_inodes": disk.f_favail,
        }),
        Err(error) => json!(error.to_string()),
    }
}

fn configuration(file: &Path) -> Value {
    let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let parsed = read.and_then(|text| {
        Figment::from(Toml::string(&text)).extract::<Value>().map_err(|error| error.to_string())
    });
    match parsed {
        Ok(mut value) => {
            hide(&mut value);
            value
        }
        Err(error) => json!(error),
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                let name = name.to_ascii_lowercase();
                // A whole word: "pin" is one, "shipping" has none.
                let secret = name.split(['_', '-']).any(|word| SECRET.contains(&word));
                if secret { *value = json!("(hidden)") } else { hide(value) }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let mut value = json!({
            "uplink": {"mqtt": {"password": "p1", "user": "u"}, "list": [{"api_token": "t1"}]},
            "pin": 1234, "shipping": "s",
        });
        hide(&mut value);
        let text = value.to_string();
        assert!(!text.contains("p1") && !text.contains("t1") && !text.contains("1234"), "{text}");
        assert!(text.contains("\"u\"") && text.contains("\"s\""), "{text}");
    }

    #[test]
    fn the_bundle_keeps_its_bound_and_the_newest_lines() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("gateway.toml");
        std::fs::write(&file, "[uplink.mqtt]\npassword = 'hunter2'\n").unwrap();
        let outbox =
            crate::buffer::open(temp.path(), 1 << 20, avl_shared::sequence::Epoch(1)).unwrap().outbox;
        let facts = Facts {
            vehicle: "demo/van-1".to_owned(),
            version: "1.0.0".to_owned(),
            file: &file,
            state_dir: temp.path(),
            remote: Value::Null,
            board: json!({}),
            buffer: &outbox.status(),
            ledger: &Ledger::default(),
            slots: &Slots::default(),
            log: (0..5000).map(|n| format!("{n} {}", "x".repeat(100))).collect(),
        };
        let bytes = bundle(&facts);
        assert!(bytes.len() <= MAX_RESULT_BYTES);
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(document["log"].as_array().unwrap().last().unwrap().as_str().unwrap().starts_with("4999 "));
        assert!(document["system"]["disk"]["free_bytes"].as_u64().is_some(), "{}", document["system"]);
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"));
    }
}
