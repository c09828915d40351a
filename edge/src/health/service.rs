//! Everything of this part that runs beside the agent, started together and ended together.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::sync::mpsc::WeakSender;
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::log::Limiter;
use super::server::{self, StatusSocket};
use super::watchdog::{self, Manager, Systemd, Watched};
use super::{HealthConfig, Report};
use crate::buffer::Buffer;

/// How often suppressed log lines are counted up.
const LIMITER_INTERVAL: Duration = Duration::from_secs(15);

/// The tasks. To be ended by [`Service::end`], which also frees the buffer.
#[derive(Debug)]
pub struct Service {
    tasks: Vec<JoinHandle<()>>,
    limiter: Limiter,
}

impl Service {
    /// Whatever of it cannot be had is a warning in the log: the fixes matter more.
    #[must_use]
    pub fn start(
        config: &HealthConfig,
        report: &Report,
        parts: impl Watched + Send + Sync + 'static,
    ) -> Self {
        let limiter = report.log().limiter.clone();
        let mut tasks = vec![
            tokio::spawn(watchdog::watch(parts, Systemd, report.clone(), sd_notify::watchdog_enabled())),
            tokio::spawn(count_suppressed(limiter.clone())),
        ];
        match StatusSocket::bind(&config.socket(report.state_dir())) {
            Ok(socket) => tasks.push(tokio::spawn(socket.serve(report.clone()))),
            Err(error) => tracing::warn!("{error}"),
        }
        if let Some(address) = config.metrics {
            tasks.push(tokio::spawn(metrics(address, report.clone())));
        }
        Self { tasks, limiter }
    }

    /// Ends all of it. When it returns, nothing here holds the buffer or the socket any more.
    pub async fn end(self) {
        Systemd.tell(&[NotifyState::Stopping]);
        for task in self.tasks {
            task.abort();
            // An aborted task is gone only when it was waited for.
            let _ = task.await;
        }
        self.limiter.tell(true);
    }
}

async fn count_suppressed(limiter: Limiter) {
    let mut ticks = interval(LIMITER_INTERVAL);
    loop {
        ticks.tick().await;
        limiter.tell(false);
    }
}

async fn metrics(address: SocketAddr, report: Report) {
    match TcpListener::bind(address).await {
        Ok(listener) => {
            tracing::info!(address = %listener.local_addr().unwrap_or(address), "metrics for Prometheus at /metrics");
            server::serve_metrics(listener, report).await;
        }
        Err(error) => {
            tracing::warn!("no metrics: {address} cannot be listened on ({error}): change health.metrics");
        }
    }
}

/// The agent's parts as the watchdog sees them.
pub struct Parts<Fix> {
    buffer: Buffer,
    fixes: WeakSender<Fix>,
    /// Fixes that had come through at the last look.
    through: AtomicU64,
}

impl<Fix> Parts<Fix> {
    /// `fixes` is where the source hands its fixes over. Weak: the queue must still end with its source.
    #[must_use]
    pub fn new(buffer: Buffer, fixes: WeakSender<Fix>) -> Self {
        Self { buffer, fixes, through: AtomicU64::new(u64::MAX) }
    }
}

impl<Fix: Send> Watched for Parts<Fix> {
    async fn probe_buffer(&self) -> bool {
        self.buffer.probe().await.is_ok()
    }

    fn fixes_pile_up(&self) -> bool {
        let through = {
            let status = self.buffer.status();
            let status = status.borrow();
            status.next_sequence + status.flash.waiting_fixes + status.flash.dropped_fixes
        };
        let unmoved = self.through.swap(through, Ordering::Relaxed) == through;
        // A replay as fast as it goes always finds the queue full, and moves on.
        unmoved && self.fixes.upgrade().is_some_and(|fixes| fixes.capacity() == 0)
    }
}
