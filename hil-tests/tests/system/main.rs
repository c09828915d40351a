//! The whole system, as real processes on this machine, judged from outside. `docs/testing.md` says what is
//! proven where. Logs of every process are kept in `artifacts/system/SCENARIO`.

// This crate is all tests; clippy grants the licence to `#[test]` functions only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control;
mod database;
mod decode_and_pack;
mod demo;
mod flash;
mod fleet;
mod front_door;
mod identity;
mod installers;
mod kafka;
mod kills;
mod link_faults;
mod live_map;
mod mqtt;
mod networks;
mod observability;
mod policy;
mod power_cuts;
mod published;
mod receivers;
mod roles;
mod sd_card;
mod security_module;
mod shared_state;
mod stage;
mod whole_way;
