//! `avl-demo`: the whole system on this machine, with something to look at and something to try.
//!
//! It starts the real `avl-cloud all` on a fresh folder, enrols and starts a real `avl-edge` that reads a serial
//! receiver (virtual, or a real one), adds a simulated fleet, and plays init system: what is killed comes back.

mod options;
mod show;
mod system;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use options::Options;
use show::Show;
use system::System;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match demo(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\navl-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(options: &Options) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut stop = std::pin::pin!(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = forever_or(options.duration) => {}
        }
    });

    let mut show = Show::new();
    // Whatever is started is stopped again on every way out: the system's parts kill what they own when dropped.
    let mut system = tokio::select! {
        system = System::start(options, &mut show) => system?,
        () = &mut stop => return Ok(()),
    };
    show.what_to_try(&system).await?;
    tokio::select! {
        outcome = system.run(&mut show) => outcome?,
        () = &mut stop => {}
    }
    system.stop(&mut show).await
}

async fn forever_or(duration: Option<f64>) {
    match duration {
        Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await,
        None => std::future::pending().await,
    }
}
