//! Bakes the day of the build into the program: today is never before it, which is how a receiver whose week number
//! has rolled over is known (see `receiver`). `SOURCE_DATE_EPOCH` (seconds since 1970, reproducible-builds.org) sets it. Also the platform
//! that it is built for: an update must be made for the same.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 86_400;

fn main() {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.trim().parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds: u64 = given.unwrap_or_else(now);
    println!("cargo::rustc-env=AVL_BUILD_DAY={}", seconds / SECONDS_PER_DAY);
    println!("cargo::rustc-env=AVL_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=build.rs");
}
