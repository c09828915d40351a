//! Makes sure that the folder of the built web page exists, so that the embed compiles before the first `make web`.
//! Without a built page the server answers with `src/api/page/not_built.html`.

use std::path::Path;

fn main() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/dist");
    if let Err(error) = std::fs::create_dir_all(&dist) {
        println!("cargo::error=cannot make the folder {} for the web page: {error}", dist.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    // A release build embeds the page; a debug build reads it from disk, so a new page needs no new binary.
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo::rerun-if-changed={}", dist.display());
    }
}
