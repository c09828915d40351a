//! The agent: source, recorder, buffer and uplink joined, and how it ends.
//!
//! source → bounded channel → [`policy`] → bounded channel → [`recorder`] → buffer thread → uplink. Each waits for the next, so a slow flash slows
//! the source and nothing grows. A replay ends the agent only with `once`; a signal always does.

mod boot;
mod hands;
mod recorder;

pub use boot::{Boot, uptime_ms};
pub use recorder::{Flush, Intake, Recorded, RecorderSettings, record};

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::DateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::buffer::Buffer;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::control::{self, Ending, Port, Startup};
use crate::health::log::Log;
use crate::health::{Board, Parts, Report, Service};
use crate::identity::{self, Identity, Keeper};
use crate::policy::{self, Assembled, Remembered, Streams};
use crate::receiver::Counts;
use crate::sensors;
use crate::source::{self, Kind, Observed, ReplayCursor};
use crate::uplink::lane::LanePolicy;
use crate::uplink::quic::QuicTransport;
use crate::uplink::{self, Agent, Calendar, Desk, Ports, Traffic, Transports, UplinkSettings};

/// Fixes between source and policy, and between policy and recorder.
const QUEUED_FIXES: usize = 64;
/// Changes of inputs between the lines and the policy.
const QUEUED_LEVELS: usize = 16;
/// After a signal: for the last batch and its acknowledgement. What is not acknowledged is still in the buffer.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs the agent until a signal, or with `once` until the replay is over and the cloud has everything; or until control
/// wants it started anew, which is what it returns then.
///
/// # Errors
/// When it cannot start, or can no longer keep its promises.
pub async fn run(config: Config, once: bool, startup: Startup, log: Log) -> anyhow::Result<Option<Ending>> {
    // Before anything that takes time: whoever stops an agent that is still starting is heard.
    let signals = Signals::listen()?;
    if once {
        // A replay that is to end when the cloud has it would wait for ever.
        Identity::load(&config.state_dir, &config.identity)?;
    }
    identity::create_private(&config.state_dir)?;
    let (buffer, thread) = Buffer::launch(&config.state_dir, &config.buffer)?;
    if config.source.kind == Kind::Replay {
        // A log can wait for the flash, and without its place it would begin anew.
        buffer.opened().await?;
    }
    let resume = resume_point(&buffer.cursor().await?);
    let remembered = Remembered { odometer_m: buffer.odometer_m().await?, resumed: resume.is_some() };
    let known = buffer.status().borrow().clone();
    tracing::info!(
        epoch = %known.epoch, next = known.next_sequence, held = known.held.count(),
        version = env!("CARGO_PKG_VERSION"), "agent started"
    );
    let board = Board::default();
    let report = Report::new(board.clone(), buffer.status(), log, config.state_dir.clone());
    let fixes = mpsc::channel(1);
    let health = Service::start(&config.health, &report, Parts::new(buffer.clone(), fixes.0.downgrade()));
    let outcome = drive(config, once, signals, &buffer, (resume, remembered), startup, &board, fixes).await;
    health.end().await;
    drop(buffer);
    // Closing the store takes its time and nothing else is left to do.
    thread.join();
    outcome
}

#[allow(clippy::too_many_arguments)] // each is a part of the agent, made before and ended after
async fn drive(
    config: Config,
    once: bool,
    mut signals: Signals,
    buffer: &Buffer,
    (resume, remembered): (Option<ReplayCursor>, Remembered),
    startup: Startup,
    board: &Board,
    (fixes, printed): (mpsc::Sender<Observed>, mpsc::Receiver<Observed>),
) -> anyhow::Result<Option<Ending>> {
    let boot = Boot::read();
    let clock = Clock::new(&config.clock, clock::Kernel);
    let keeper = Keeper::open(
        &config.state_dir,
        config.identity.clone(),
        &config.uplink.quic.address,
        clock.clone(),
        board.identity.clone(),
    );
    let access = keeper.access();
    let (clock_config, state_dir) = (config.clock.clone(), config.state_dir.clone());
    let keeping = async {
        let clock_keeping = clock::keep(clock.clone(), clock_config, &state_dir, board.clock.clone());
        tokio::join!(clock_keeping, keeper.run())
    };
    let transport = QuicTransport::new(&config.uplink, access.clone());
    let traffic = Traffic::default();
    let dated = clock.clone();
    let calendar = Calendar::new(move || DateTime::from_timestamp_millis(dated.now()?));
    let (view, budget) = (board.link.clone(), config.uplink.budget);
    let desk = Desk::new(view, budget, &config.state_dir, traffic.clone(), calendar);
    let settings = UplinkSettings {
        lane: LanePolicy {
            durability: config.buffer.durability,
            ack_interval: config.uplink.ack_interval,
            ack_timeout: config.uplink.ack_timeout,
            backlog_rate: config.uplink.backlog_rate.0,
        },
        reconnect_max: config.uplink.reconnect_max,
    };
    let (timed, tapped) = mpsc::channel(QUEUED_FIXES);
    // What is replayed tells nothing about now.
    let timing = clock::tap(&clock, config.source.kind != Kind::Replay, printed, timed);
    let (to_recorder, queue) = mpsc::channel(QUEUED_FIXES);
    let flush = Flush::of(&to_recorder);
    let (changes, levels) = mpsc::channel(QUEUED_LEVELS);
    let Assembled { parts, handles, asks, pace, pulses } =
        policy::assemble(&config, remembered, buffer, board);
    let streams = Streams { fixes: tapped, levels, asks, recorder: to_recorder };
    let watching = sensors::run(config.sensors.clone(), changes, pulses, board.sensors.clone());
    let deciding = policy::run(parts, streams);
    let quic = transport.watched(&config.uplink, pace.clone(), traffic.clone());
    let transport = Transports::new(&config.uplink, quic, access.clone(), traffic);
    let (port, inbox) = Port::new(startup.reports().clone(), startup.config_version());
    let (own, status, dated_orders) = (config.clone(), buffer.status(), clock.clone());
    let controlling = async {
        // What a trial has to show, and what a bundle tells, is in the buffer.
        let _ = buffer.opened().await;
        // Nobody orders anything of a gateway that is nobody yet.
        let identity = access.identity().await;
        let around = control::Surroundings {
            vehicle: identity.vehicle.clone(),
            config: own,
            authorities: identity.authorities.clone(),
            status,
            board: board.clone(),
            clock: dated_orders,
        };
        control::Service::new(around, handles, startup, inbox).run().await
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let (finish, finishing) = watch::channel(false);
    let recorder = RecorderSettings { durability: config.buffer.durability, boot };

    let dated = clock.clone();
    let near = source::Surroundings {
        state_dir: Some(config.state_dir.clone()),
        trusted_utc: Some(Arc::new(move || dated.confirmed_now())),
    };
    let reading = async {
        // Dropping the source closes the channel, and the recorder writes what it still has.
        let read = tokio::select! {
            read = source::run(config.source, resume, fixes, board.receiver.clone(), near) => Some(read),
            _ = stopped => None,
        };
        read.transpose()
    };
    let recording = record(queue, buffer, recorder);
    // The uplink may only finish once the recorder has written the last fix.
    let intake = async {
        let (read, recorded, (), (), ()) = tokio::join!(reading, recording, timing, deciding, watching);
        let recorded = recorded?;
        match read {
            Ok(None) => {}
            Ok(Some(counts)) => report(&counts, recorded),
            Err(error) => return Err(anyhow::Error::from(error)),
        }
        Ok(())
    };
    let ports = Ports { finish: finishing, pace, control: Some(port), flush: Some(flush) };
    let sending = async {
        // Before that the epoch is not known.
        buffer.opened().await?;
        uplink::run(transport, buffer, settings, Agent { boot_id: boot.id }, ports, desk).await
    };
    let mut stop = Some(stop);
    tokio::pin!(intake, sending, controlling, keeping);
    let (mut reading_over, mut farewell, mut restart) = (false, None, None);
    loop {
        let reason = tokio::select! {
            ended = &mut intake, if !reading_over => {
                reading_over = true;
                ended?;
                if once || farewell.is_some() {
                    finish.send_replace(true);
                } else {
                    tracing::info!("replay over; the link stays up until a signal (or use --once)");
                }
                continue;
            }
            _ = &mut keeping => continue,
            sent = &mut sending => {
                sent?;
                tracing::info!("everything is acknowledged");
                return Ok(restart);
            }
            name = signals.next(), if farewell.is_none() => name,
            ending = &mut controlling, if farewell.is_none() => {
                restart = Some(ending);
                "remote control"
            }
            () = until(farewell), if farewell.is_some() => {
                // The fixes in memory are written whatever the link does.
                if !reading_over {
                    timeout(FAREWELL, &mut intake).await.context("the flash does not take the last fixes")??;
                }
                let held = buffer.status().borrow().held.count();
                tracing::info!(held, "ended before the cloud acknowledged everything; it stays in the buffer");
                return Ok(restart);
            }
        };
        tracing::info!(reason, "ending: writing and sending what is left");
        farewell = Some(tokio::time::Instant::now() + FAREWELL);
        if let Some(stop) = stop.take() {
            let _ = stop.send(());
        }
        if reading_over {
            finish.send_replace(true);
        }
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

fn resume_point(cursor: &[u8]) -> Option<ReplayCursor> {
    if cursor.is_empty() {
        return None;
    }
    ReplayCursor::from_bytes(cursor).inspect_err(|error| tracing::warn!("{error}")).ok()
}

fn report(counts: &Counts, recorded: Recorded) {
    tracing::info!(?counts, fixes = recorded.fixes, blocks = recorded.blocks, "source ended");
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
