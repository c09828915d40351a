//! Whether the agent still makes progress, told to the service manager, which restarts one that does not.
//!
//! What is watched: the buffer's thread answers a probe (a flash write that never returns, a store that deadlocks), the
//! queue of fixes is emptied (the recorder), an attempt to connect ends (the uplink). That the agent's own thread turns
//! is implied: the watchdog lives on it. What is deliberately not watched: the link. A gateway in a tunnel is healthy.
//!
//! [`liveness`] decides, without I/O and with the time from outside; here are the probe and the words to the manager
//! (sd_notify(3)): `READY=1` when the buffer is open and the source has begun its work, `WATCHDOG=1` only while there is
//! progress, `STATUS=` for `systemctl status`, `STOPPING=1` at the end.

pub mod liveness;

use std::future::Future;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, interval, timeout};

use self::liveness::{Liveness, Observation};
use super::Report;
use super::words::{duration_ms, fixes};
use crate::source::SourceState;
use crate::uplink::LinkState;

/// Without a manager's watchdog the state is still looked at this often, for the log and the status line.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(15);
/// A source that has not begun by then is waiting for something outside; that is no reason to hold up the boot.
const READY_AFTER: Duration = Duration::from_secs(10);

/// What is to be watched.
pub trait Watched {
    /// Returns when the buffer's thread has done everything that was asked of it before.
    fn probe_buffer(&self) -> impl Future<Output = bool> + Send;
    /// The source cannot hand a fix over, and none has come through since the last look.
    fn fixes_pile_up(&self) -> bool;
}

/// Says something to the service manager.
pub trait Manager {
    fn tell(&self, words: &[NotifyState<'_>]);
}

/// systemd, or whoever set `NOTIFY_SOCKET`; nobody otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Systemd;

impl Manager for Systemd {
    fn tell(&self, words: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(words) {
            tracing::debug!(%error, "the service manager cannot be told");
        }
    }
}

/// Watches until it is dropped. `limit` is the manager's `WatchdogSec=`, if it set one.
pub async fn watch(watched: impl Watched, manager: impl Manager, report: Report, limit: Option<Duration>) {
    let mut receiver = report.board().receiver.watch();
    let begun = receiver.wait_for(|view| view.state != SourceState::Starting);
    let _ = timeout(READY_AFTER, begun).await;
    manager.tell(&[NotifyState::Ready]);

    // Twice within the limit, as sd_watchdog_enabled(3) recommends.
    let mut ticks =
        interval(limit.map_or(DEFAULT_INTERVAL, |limit| limit / 2).max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut liveness = Liveness::new(Instant::now());
    let mut said = None;
    loop {
        let probe = watched.probe_buffer();
        tokio::pin!(probe);
        let mut answered = false;
        // One probe at a time: while it is not answered, the ticks go on and say so.
        while !answered {
            tokio::select! {
                alive = &mut probe, if !answered => {
                    answered = true;
                    if !alive {
                        // The buffer's thread has ended; the agent is ending too.
                        return;
                    }
                }
                _ = ticks.tick() => {}
            }
            let observation = Observation {
                buffer_answered: answered,
                queue_full: watched.fixes_pile_up(),
                connecting: report.board().link.read().state == LinkState::Connecting,
            };
            let stuck = liveness.observe(observation, Instant::now());
            let line = status_line(&report, stuck.as_ref().map(ToString::to_string));
            match &stuck {
                None => manager.tell(&[NotifyState::Watchdog, NotifyState::Status(&line)]),
                Some(_) => manager.tell(&[NotifyState::Status(&line)]),
            }
            let part = stuck.map(|stuck| stuck.part);
            if part != said {
                match &stuck {
                    Some(stuck) => {
                        tracing::error!("{stuck}: no sign of life to the service manager until it goes on");
                    }
                    None => tracing::info!("all parts make progress again"),
                }
                said = part;
            }
        }
        ticks.tick().await;
    }
}

/// For `systemctl status`.
fn status_line(report: &Report, stuck: Option<String>) -> String {
    if let Some(stuck) = stuck {
        return stuck;
    }
    let receiver = report.board().receiver.read();
    let link = report.board().link.read();
    let receiver = match &receiver.state {
        SourceState::Reading => format!("reading {}", receiver.from),
        SourceState::Silent => format!("{} is silent", receiver.from),
        SourceState::Absent { .. } => format!("waiting for {}", receiver.from),
        SourceState::Over => format!("{} is over", receiver.from),
        _ => "starting".to_owned(),
    };
    let waiting = fixes(report.waiting());
    let link = match (link.state, link.transport) {
        (LinkState::Connected, Some(transport)) => format!("connected by {transport}"),
        (LinkState::Connected, None) => "connected".to_owned(),
        (LinkState::Connecting, _) => "connecting".to_owned(),
        (LinkState::Idle, _) => "not connected".to_owned(),
    };
    format!("{receiver}; {waiting} waiting; {link}")
}

impl std::fmt::Display for liveness::Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = duration_ms(u64::try_from(self.since.as_millis()).unwrap_or(u64::MAX));
        write!(f, "{} has made no progress for {since}", self.part.name())
    }
}

#[cfg(test)]
mod tests;
