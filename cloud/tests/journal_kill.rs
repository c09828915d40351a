//! `kill -9` of a process that appends to the journal: everything that was answered is there, in order, once.
//!
//! The program starts itself as the victim, reads the numbers that the victim says were answered, kills it at a
//! moment that differs from round to round, and opens what is left. The journal is used over again: recovery of a
//! recovered journal is the usual case.

// A test program without the harness: clippy grants the licence to `#[test]` functions only.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use avl_cloud::journal::sqlite::SqliteJournal;
use avl_cloud::journal::{Journal, Kind, ReadLimit, Record, Transport};
use bytes::Bytes;

const ROUNDS: usize = 10;
const VICTIM: &str = "AVL_JOURNAL_VICTIM";

fn main() {
    match std::env::var_os(VICTIM) {
        Some(path) => append_for_ever(Path::new(&path)),
        None => kill_and_look(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Appends 0, 1, 2, … after what is there, many at a time, and prints each number once it is answered.
fn append_for_ever(path: &Path) {
    runtime().block_on(async {
        let journal = SqliteJournal::open(path).unwrap();
        let mut next = *journal.end().borrow();
        let mut out = std::io::stdout();
        loop {
            let mut receipts = Vec::new();
            for _ in 0..50 {
                let record = Record {
                    vehicle: "demo/van-1".parse().unwrap(),
                    kind: Kind::Batch,
                    transport: Transport::Quic,
                    received_at: 0,
                    value: Bytes::from(next.to_be_bytes().repeat(40)),
                };
                receipts.push((next, journal.append(record).await.unwrap()));
                next += 1;
            }
            for (number, receipt) in receipts {
                assert_eq!(receipt.await.unwrap().offset, number, "offsets follow the order of appends");
                writeln!(out, "{number}").unwrap();
            }
        }
    });
}

fn kill_and_look() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("journal.sqlite");
    let (mut answered, mut kept) = (0, 0);
    for round in 0..ROUNDS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines {
            // A line that the kill cut short was not answered in full.
            let Some(number) = line.ok().and_then(|line| line.parse::<u64>().ok()) else { break };
            answered = answered.max(number + 1);
            seen += 1;
            // Not a multiple of the group: the kill falls into the middle of one.
            if seen == 73 + 131 * round {
                victim.kill().unwrap();
            }
        }
        victim.wait().unwrap();
        assert!(seen >= 73 + 131 * round, "the victim ended by itself in round {round}");
        kept = look(&path, kept);
        assert!(kept >= answered, "round {round}: {answered} were answered, {kept} are there");
    }
    println!("journal_kill: {ROUNDS} kills, {answered} answered, {kept} kept: ok");
}

/// Reads everything from `from` on and checks that it is whole and without holes; returns the end.
fn look(path: &Path, from: u64) -> u64 {
    runtime().block_on(async {
        let journal = SqliteJournal::open_read_only(path).unwrap();
        let end = *journal.end().borrow();
        let mut next = from;
        let mut reader = journal.reader();
        loop {
            let limit = ReadLimit { entries: 500, bytes: usize::MAX };
            let entries = reader.read(next, limit, Duration::ZERO).await.unwrap().entries;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                assert_eq!(entry.offset, next, "no hole");
                assert_eq!(entry.record.unwrap().value, next.to_be_bytes().repeat(40), "whole");
                next += 1;
            }
        }
        assert_eq!(next, end);
        end
    })
}
