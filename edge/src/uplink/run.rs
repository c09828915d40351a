//! One connection after the other, for as long as the agent runs.

use std::time::Duration;

use avl_shared::batch;
use avl_shared::link::{Hello, PROTOCOL, ranges_from_message, ranges_to_message};
use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::budget::Allowance;
use super::lane::LanePolicy;
use super::old_epochs;
use super::repeated::Repeated;
use super::session::{Session, SessionEnd};
use super::{Desk, Ending, Link, LinkState, Pace, Transport};
use crate::buffer::{Buffer, BufferError, Status};
use crate::control::{Feed, Port};
use crate::run::Flush;

/// A cloud that drains sooner than this was draining before we came; do not come back at once.
const SHORT_STAY: Duration = Duration::from_secs(1);

/// How soon a new month, or the way home over a border, is noticed.
const FORBIDDEN_LOOK: Duration = Duration::from_secs(30);

/// A range costs up to 22 bytes in a Hello, which is limited to 64 KiB. Leaving some out is harmless: `held` informs,
/// only acknowledgements decide.
const MAX_HELLO_RANGES: usize = 2_000;

#[derive(Clone, Copy, Debug)]
pub struct UplinkSettings {
    pub lane: LanePolicy,
    pub reconnect_max: Duration,
}

/// What the agent says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    pub boot_id: u32,
}

/// How the rest of the agent speaks to the uplink while it runs.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Becomes true when no more fixes will come.
    pub finish: watch::Receiver<bool>,
    pub pace: watch::Receiver<Pace>,
    /// Where commands go and reports come from.
    pub control: Option<Port>,
    /// Where fixes still wait in memory.
    pub flush: Option<Flush>,
}

/// Keeps the buffer flowing to the cloud. Ends only once `ports.finish` is true and the cloud has everything.
///
/// # Errors
/// When the buffer fails.
pub async fn run<T: Transport>(
    mut transport: T,
    buffer: &Buffer,
    settings: UplinkSettings,
    agent: Agent,
    mut ports: Ports,
    desk: impl Into<Desk>,
) -> Result<(), BufferError> {
    let desk = desk.into();
    let view = desk.view.clone();
    let show = |state, trouble: Option<&String>| {
        view.update(|view| {
            view.since_ms = (view.state != state).then(|| Utc::now().timestamp_millis()).or(view.since_ms);
            view.state = state;
            view.trouble = trouble.cloned();
        });
    };
    let mut backoff = Backoff::new(settings.reconnect_max);
    let mut failures = Repeated::default();
    loop {
        if *ports.finish.borrow() && nothing_to_send(&buffer.status().borrow()) {
            return Ok(());
        }
        if desk.allowance() == Allowance::Stop && !*ports.finish.borrow() {
            forbidden(&desk, &mut ports.finish).await;
            continue;
        }
        show(LinkState::Connecting, view.read().trouble.as_ref());
        if let Some(state_dir) = buffer.state_dir() {
            old_epochs::deliver(&mut transport, state_dir, settings, agent, &desk).await;
        }
        let config_version = ports.control.as_ref().map_or(0, Port::config_version);
        let hello = Hello { config_version, ..hello(&buffer.status().borrow(), agent) };
        let trouble = match transport.connect(hello).await {
            Err(error) => error.to_string(),
            Ok(link) => {
                let since = Instant::now();
                failures.clear();
                show(LinkState::Connected, None);
                view.update(|view| {
                    view.connections += 1;
                    view.transport = Some(link.transport);
                });
                desk.show_use();
                if forget_durable(&link, buffer).await? {
                    continue;
                }
                if let Some(control) = &ports.control {
                    control.welcomed();
                }
                let held = buffer.status().borrow().held.count();
                let name = link.transport;
                tracing::info!(held, transport = name, "connected");
                let end = Session::new(link, buffer, &ports, settings.lane, desk.clone()).run().await?;
                let lasted = since.elapsed();
                backoff.connection_ended(since, Instant::now());
                transport.ended(match end {
                    SessionEnd::Unanswered | SessionEnd::Broken(_) => Ending::Broken,
                    _ => Ending::Orderly,
                });
                match end {
                    SessionEnd::Done => return Ok(()),
                    SessionEnd::Superseded => continue,
                    SessionEnd::Drained if lasted >= SHORT_STAY => continue,
                    SessionEnd::Drained => "the cloud is draining".to_owned(),
                    SessionEnd::Lapsed => {
                        tracing::info!("connection lapsed: nothing to send");
                        show(LinkState::Idle, None);
                        wait_for_demand(buffer, &mut ports, settings.lane.ack_interval).await?;
                        continue;
                    }
                    SessionEnd::Forbidden => continue,
                    SessionEnd::Unanswered => {
                        "connection given up: a request for an acknowledgement was not answered".to_owned()
                    }
                    SessionEnd::Broken(cause) => format!("connection lost: {cause}"),
                }
            }
        };
        show(LinkState::Idle, Some(&trouble));
        let wait = backoff.next_wait(&mut rand::rng());
        if let Some(repeats) = failures.admit(&trouble, Instant::now()) {
            tracing::warn!(repeats, next_attempt = ?wait, "{trouble}");
        }
        sleep(wait).await;
    }
}

/// The budget is used up, or the vehicle roams and must not: looks again from time to time.
async fn forbidden(desk: &Desk, finish: &mut watch::Receiver<bool>) {
    let why = "no connection: the month's data budget is used up, or the vehicle roams and uplink.budget.roaming is off";
    tracing::warn!("{why}");
    desk.view.update(|view| {
        view.state = LinkState::Idle;
        view.trouble = Some(why.to_owned());
    });
    while desk.allowance() == Allowance::Stop {
        tokio::select! {
            () = sleep(FORBIDDEN_LOOK) => {}
            Ok(_) = finish.wait_for(|finish| *finish) => return,
        }
    }
}

fn nothing_to_send(status: &Status) -> bool {
    status.is_settled()
}

pub(super) fn hello(status: &Status, agent: Agent) -> Hello {
    let mut held = ranges_to_message(&status.held);
    held.truncate(MAX_HELLO_RANGES);
    Hello {
        protocol: PROTOCOL,
        epoch: status.epoch.0,
        next_sequence: status.next_sequence,
        held,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: agent.boot_id,
        batch_versions: batch::FORMATS.map(u32::from).to_vec(),
        ..Hello::default()
    }
}

/// Returns whether the buffer has a new epoch now: then this connection is of no more use.
pub(super) async fn forget_durable(link: &Link, buffer: &Buffer) -> Result<bool, BufferError> {
    let durable = match ranges_from_message(&link.welcome.durable) {
        Ok(durable) => durable,
        Err(error) => {
            tracing::warn!(%error, "what the cloud calls durable is ignored");
            return Ok(false);
        }
    };
    let next = buffer.status().borrow().next_sequence;
    if durable.last().is_some_and(|last| last >= next) {
        tracing::error!(
            next,
            %durable,
            "the cloud has numbers that this buffer has not given out yet: it was restored from a copy, and starts a new epoch"
        );
        // Before anything is forgotten: some of these numbers may mean other fixes here.
        if buffer.renew().await? {
            return Ok(true);
        }
    }
    buffer.forget(durable).await?;
    Ok(false)
}

/// A vehicle with nothing to say lets the connection lapse. New fixes end the wait, or what is still unacknowledged
/// after a while: asking what became of it costs one handshake.
async fn wait_for_demand(buffer: &Buffer, ports: &mut Ports, patience: Duration) -> Result<(), BufferError> {
    let mut status = buffer.status();
    let next = status.borrow().next_sequence;
    let unacknowledged = !nothing_to_send(&status.borrow());
    let mut feed = ports.control.as_ref().map(Port::feed);
    tokio::select! {
        changed = status.wait_for(|now| now.next_sequence != next) => changed.map(drop).map_err(|_| BufferError::Stopped),
        Ok(_) = ports.finish.wait_for(|finish| *finish) => Ok(()),
        () = Feed::filled(feed.as_mut()) => Ok(()),
        () = sleep(patience), if unacknowledged => Ok(()),
    }
}
