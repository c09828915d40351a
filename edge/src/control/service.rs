//! Control at work: takes what the cloud asks, has it done, and sees to it that the answer arrives.
//!
//! One command at a time is recorded before it is begun; long ones go on beside the others. What cannot be recorded is
//! not done: the cloud repeats it on the next connection.

mod settings;
mod updating;

use std::sync::Arc;
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use avl_shared::identity::VehicleKey;
use avl_shared::link::message::UploadHistory;
use avl_shared::link::{
    Command, CommandResult, CommandState, MAX_COMMAND_ID_CHARS, RESULT_PART_BYTES, ReportAck,
    command::Action, to_cloud,
};
use avl_shared::release::Version;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::config::Permission;
use super::hands::{Hands, Located};
use super::ledger::{EndState, Ending as End, Ledger, Progress};
use super::port::{Downlink, Inbox};
use super::startup::Startup;
use super::update::Order;
use super::{Files, StateError, diagnostics, durable};
use crate::buffer::Status;
use crate::clock::Clock;
use crate::config::Config;
use crate::health::Board;

/// A vehicle that is asked where it is waits so long for a fix that is fresh.
const FRESH_FIX_WITHIN: Duration = Duration::from_secs(10);
const FRESH_MS: u64 = 10_000;
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The clock may be set meanwhile: the end of a reporting is looked at, not slept for.
const REPORTING_CHECK: Duration = Duration::from_secs(20);

/// Why the agent is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Start again, with what is configured now.
    Restart,
    /// Hand over to the launcher: another version is to run.
    NewVersion,
}

/// What control needs to know of the agent that it is in.
pub struct Surroundings {
    pub vehicle: VehicleKey,
    /// In force, with everything that was set from afar.
    pub config: Config,
    pub authorities: Vec<CertificateDer<'static>>,
    pub status: watch::Receiver<Status>,
    pub board: Board,
    pub clock: Clock,
}

pub struct Service<H> {
    around: Surroundings,
    hands: Arc<H>,
    startup: Startup,
    inbox: Inbox,
    files: Files,
    ledger: Ledger,
    jobs: JoinSet<Job>,
    ending: Option<Ending>,
    welcomed: bool,
    /// Number of the next fix when the agent started.
    first_sequence: u64,
    /// When the newest fix was buffered.
    newest: Option<Instant>,
}

/// A command that took its time.
enum Job {
    Ended { id: String, end: End, payload: Option<Payload> },
    Downloaded { order: Order, version: Version },
}

struct Payload {
    media_type: &'static str,
    bytes: Vec<u8>,
}

impl Payload {
    fn json(value: &Value) -> Self {
        Self { media_type: "application/json", bytes: value.to_string().into_bytes() }
    }
}

impl<H: Hands> Service<H> {
    #[must_use]
    pub fn new(around: Surroundings, hands: H, startup: Startup, inbox: Inbox) -> Self {
        let files = Files::new(&around.config.state_dir);
        let ledger = durable::read_json(&files.commands());
        let first_sequence = around.status.borrow().next_sequence;
        Self {
            around,
            hands: Arc::new(hands),
            startup,
            inbox,
            files,
            ledger,
            jobs: JoinSet::new(),
            ending: None,
            welcomed: false,
            first_sequence,
            newest: None,
        }
    }

    /// Runs until the agent is to end.
    pub async fn run(mut self) -> Ending {
        log(self.take_up());
        let confirm_within = self.around.config.control.confirm_within;
        let confirm_at = Instant::now() + confirm_within;
        let mut status = self.around.status.clone();
        loop {
            if let Some(ending) = self.ending {
                return ending;
            }
            let passing = self.startup.reporting.until_ms.is_some();
            tokio::select! {
                Some(downlink) = self.inbox.incoming.recv() => {
                    let taken = match downlink {
                        Downlink::Command(command) => self.command(command),
                        Downlink::Configuration(configuration) => self.configuration(configuration),
                        Downlink::ReportAck(ReportAck { receipts }) => self.startup.reports.settle(&receipts),
                    };
                    log(taken);
                }
                Ok(()) = self.inbox.welcomes.changed() => log(self.welcome()),
                Some(job) = self.jobs.join_next() => match job {
                    Ok(job) => log(self.job(job)),
                    Err(error) => tracing::error!(%error, "a command's task ended"),
                },
                Ok(()) = status.changed() => {
                    if status.borrow_and_update().next_sequence > self.first_sequence {
                        self.newest = Some(Instant::now());
                    }
                    log(self.prove());
                }
                () = sleep_until(confirm_at), if self.startup.remote.is_on_trial() => {
                    log(self.give_up_configuration(confirm_within));
                }
                () = sleep(REPORTING_CHECK), if passing => log(self.end_reporting()),
            }
        }
    }

    /// What the run of the agent before this one left.
    fn take_up(&mut self) -> Result<(), StateError> {
        for (id, end) in self.ledger.restarted() {
            self.report(&id, &end, None)?;
        }
        durable::write_json(&self.files.commands(), &self.ledger)?;
        let order: Option<Order> = durable::read_json(&self.files.update());
        match order {
            // The trial began and the note of the order outlived it.
            Some(_) if self.startup.slots.trial().is_some() => durable::remove(&self.files.update())?,
            Some(order) => self.begin_download(order)?,
            None => {}
        }
        self.tell_of_update()
    }

    fn command(&mut self, command: Command) -> Result<(), StateError> {
        let Command { id, expires_ms, action } = command;
        if id.is_empty() || id.chars().count() > MAX_COMMAND_ID_CHARS {
            tracing::warn!("a command without a usable id is ignored: it could not be answered");
            return Ok(());
        }
        match self.ledger.progress(&id) {
            None => {}
            Some(Progress::Ended(end)) => {
                let end = end.clone();
                // The cloud has not stored the answer: it is on its way, or was dropped.
                return if self.startup.reports.waits_for(&id) {
                    Ok(())
                } else {
                    self.report(&id, &end, None)
                };
            }
            Some(_) => return Ok(()),
        }
        let Some(action) = action else {
            return self.end(
                &id,
                &End::new(EndState::Refused, "this agent does not know the command: update it"),
                None,
            );
        };
        let permission = permission(&action);
        tracing::info!(id, command = permission.name(), "command received");
        if expires_ms > 0 && expires_ms <= self.now() {
            return self.end(
                &id,
                &End::new(EndState::Expired, "it arrived after its time: order it again"),
                None,
            );
        }
        if !self.around.config.control.allow.contains(&permission) {
            let name = permission.name();
            let cause = format!(
                "this vehicle does not allow '{name}': add it to control.allow in the gateway's own file"
            );
            return self.end(&id, &End::new(EndState::Refused, cause), None);
        }
        match action {
            Action::LocateNow(_) => self.locate(id),
            Action::SetReporting(order) => self.set_reporting(&id, &order),
            Action::UploadHistory(period) => self.recall(id, &period),
            Action::Diagnostics(_) => self.diagnose(&id),
            Action::Restart(_) => {
                self.record(&id, Progress::Restarting)?;
                self.ending = Some(Ending::Restart);
                Ok(())
            }
            Action::Update(order) => {
                self.update(Order::new(&id, &order.manifest, &order.signature, order.port))
            }
        }
    }

    fn locate(&mut self, id: String) -> Result<(), StateError> {
        self.record(&id, Progress::Running)?;
        let hands = Arc::clone(&self.hands);
        self.jobs.spawn(async move {
            let (end, payload) = match locate(&*hands).await {
                Ok(Located { fix, age_ms, below }) => {
                    let payload = json!({"position": fix, "age_ms": age_ms, "uploads_below": below});
                    (End::new(EndState::Done, ""), Some(Payload::json(&payload)))
                }
                Err(cause) => (End::new(EndState::Failed, cause), None),
            };
            Job::Ended { id, end, payload }
        });
        Ok(())
    }

    fn recall(&mut self, id: String, period: &UploadHistory) -> Result<(), StateError> {
        let (from, to) = (period.from_ms, period.to_ms);
        if from >= to {
            let cause = "the period ends before it starts: give 'from' before 'to'";
            return self.end(&id, &End::new(EndState::Failed, cause), None);
        }
        self.record(&id, Progress::Running)?;
        let hands = Arc::clone(&self.hands);
        self.jobs.spawn(async move {
            let (end, payload) = match hands.recall(from, to).await {
                Ok(fixes) => {
                    let detail = match fixes {
                        0 => "nothing of that period was withheld: what the vehicle has of it is in the cloud or on its way".to_owned(),
                        _ => format!("{fixes} withheld fixes are being uploaded"),
                    };
                    (End::new(EndState::Done, detail), Some(Payload::json(&json!({"fixes": fixes}))))
                }
                Err(cause) => (End::new(EndState::Failed, cause), None),
            };
            Job::Ended { id, end, payload }
        });
        Ok(())
    }

    fn diagnose(&mut self, id: &str) -> Result<(), StateError> {
        self.record(id, Progress::Running)?;
        let status = self.around.status.borrow().clone();
        let bytes = diagnostics::bundle(&diagnostics::Facts {
            vehicle: self.around.vehicle.to_string(),
            version: self.running().to_string(),
            file: &self.startup.file,
            state_dir: &self.around.config.state_dir,
            remote: json!({"configuration": self.startup.remote, "reporting": self.startup.reporting}),
            board: json!({
                "receiver": self.around.board.receiver.read(),
                "link": self.around.board.link.read(),
                "clock": self.around.board.clock.read(),
                "identity": self.around.board.identity.read(),
            }),
            buffer: &status,
            ledger: &self.ledger,
            slots: &self.startup.slots,
            log: self.startup.log.lines(),
        });
        let payload = Payload { media_type: "application/json", bytes };
        self.end(id, &End::new(EndState::Done, ""), Some(payload))
    }

    fn job(&mut self, job: Job) -> Result<(), StateError> {
        match job {
            Job::Ended { id, end, payload } => self.end(&id, &end, payload),
            Job::Downloaded { order, version } => self.install(&order, version),
        }
    }

    /// Trusted UTC; while that is not known, what the system believes.
    fn now(&self) -> UtcMillis {
        self.around.clock.now().unwrap_or_else(|| self.around.clock.system())
    }

    fn record(&mut self, id: &str, progress: Progress) -> Result<(), StateError> {
        self.ledger.record(id, progress);
        durable::write_json(&self.files.commands(), &self.ledger)
    }

    /// The command is over, and the cloud is told.
    fn end(&mut self, id: &str, end: &End, payload: Option<Payload>) -> Result<(), StateError> {
        let order: Option<Order> = durable::read_json(&self.files.update());
        if order.is_some_and(|order| order.command == id) {
            durable::remove(&self.files.update())?;
        }
        self.record(id, Progress::Ended(end.clone()))?;
        self.report(id, end, payload)
    }

    fn report(&self, id: &str, end: &End, payload: Option<Payload>) -> Result<(), StateError> {
        tracing::info!(id, state = ?end.state, detail = end.detail, "command ended");
        self.push(id, end.state.into(), &end.detail, payload)
    }

    fn push(
        &self,
        id: &str,
        state: CommandState,
        detail: &str,
        payload: Option<Payload>,
    ) -> Result<(), StateError> {
        let Payload { media_type, bytes } = payload.unwrap_or(Payload { media_type: "", bytes: Vec::new() });
        let pieces: Vec<&[u8]> =
            if bytes.is_empty() { vec![&[]] } else { bytes.chunks(RESULT_PART_BYTES).collect() };
        let parts = u32::try_from(pieces.len()).unwrap_or(1);
        for (part, piece) in (0..).zip(pieces) {
            self.startup.reports.push(to_cloud::Message::CommandResult(CommandResult {
                id: id.to_owned(),
                state: state.into(),
                detail: detail.to_owned(),
                payload: piece.to_vec(),
                media_type: media_type.to_owned(),
                part,
                parts,
                receipt: 0,
            }))?;
        }
        Ok(())
    }
}

/// Control's notes are not worth the fixes: an agent that cannot write them goes on.
fn log(outcome: Result<(), StateError>) {
    if let Err(error) = outcome {
        tracing::error!("remote control: {error}");
    }
}

const fn permission(action: &Action) -> Permission {
    match action {
        Action::LocateNow(_) => Permission::Locate,
        Action::SetReporting(_) => Permission::Interval,
        Action::UploadHistory(_) => Permission::History,
        Action::Diagnostics(_) => Permission::Diagnostics,
        Action::Restart(_) => Permission::Restart,
        Action::Update(_) => Permission::Update,
    }
}

/// The newest fix, or the next one when that is old.
async fn locate(hands: &impl Hands) -> Result<Located, String> {
    let deadline = Instant::now() + FRESH_FIX_WITHIN;
    loop {
        let located = hands.locate().await?;
        let last_look = Instant::now() >= deadline;
        match located {
            Some(located) if located.age_ms <= FRESH_MS || last_look => return Ok(located),
            None if last_look => {
                return Err("the receiver has given no fix since the agent started: check antenna and cable, or run 'avl-edge doctor' on the gateway".to_owned());
            }
            _ => sleep(LOOK_AGAIN).await,
        }
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
