//! `avl-edge doctor`: what an installer needs to know before closing the dashboard.
//!
//! Independent checks go on after failures, dependent ones say what they wait for. With a running agent the doctor asks
//! it, because only one program can have the port and the buffer; without one it opens the receiver and the link itself,
//! by the same code as the agent. It changes nothing. What a view or an error means is decided in the files beside
//! this one, without I/O.

mod broker;
mod check;
mod clock;
mod link;
mod receiver;
mod storage;

pub use check::{Check, Outcome, verdict};

use std::path::Path;
use std::time::Duration;

use avl_shared::fix::UtcMillis;
use avl_shared::identity::Validity;
use avl_shared::link::Welcome;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use super::client::{self, AskError};
use super::seen::{SeenReceiver, SeenState};
use super::words::duration_ms;
use super::{Seen, View};
use crate::config::sense::{self, Surroundings};
use crate::config::{self, Config};
use crate::identity::Identity;
use crate::source::{self, Kind, ReceiverView};

/// How often the receiver is looked at, and the wait is shown.
const LOOK: Duration = Duration::from_millis(250);
/// A running agent that has just lost its link tries again within this.
const LINK_PATIENCE: Duration = Duration::from_secs(20);

/// Learns of each check when it is done, and what is waited for meanwhile.
pub trait Listener {
    fn done(&mut self, check: &Check);
    fn waiting(&mut self, what: &str, left: Duration);
}

struct Examination<'a, L> {
    checks: Vec<Check>,
    listener: &'a mut L,
}

impl<L: Listener> Examination<'_, L> {
    fn note(&mut self, name: &'static str, outcome: Outcome) -> bool {
        let check = Check { name, outcome };
        self.listener.done(&check);
        let well = !check.outcome.is_failure();
        self.checks.push(check);
        well
    }

    fn note_all(&mut self, checks: Vec<Check>) {
        for Check { name, outcome } in checks {
            self.note(name, outcome);
        }
    }

    fn skip(&mut self, names: &[&'static str], because: &str) {
        for name in names {
            self.note(name, Outcome::skipped(because));
        }
    }
}

/// What is always checked, in the order of the output. With an MQTT broker, the way through it is checked before the clock.
pub const NAMES: [&str; 12] = [
    "configuration",
    "state directory",
    "agent",
    "identity",
    "buffer",
    "receiver",
    "sentences",
    "fix",
    "name",
    "link",
    "acknowledgement",
    "clock",
];

/// Examines the gateway. `patience` is how long the receiver may take for a fix.
pub async fn examine(file: &Path, patience: Duration, listener: &mut impl Listener) -> Vec<Check> {
    let mut examination = Examination { checks: Vec::new(), listener };
    let Some(config) = configuration(file, &mut examination) else {
        examination.skip(&NAMES[1..], "the configuration cannot be used");
        return examination.checks;
    };
    let stored = storage::state_directory(&config);
    examination.note("state directory", stored);
    match client::status(&config.health.socket(&config.state_dir)).await {
        Ok(seen) => running(&config, seen, patience, &mut examination).await,
        Err(AskError::NotRunning { .. }) => {
            examination.note("agent", Outcome::good("not running: receiver and link are tried without it"));
            stopped(&config, patience, &mut examination).await;
        }
        Err(error) => {
            let text = error.to_string();
            let (cause, cure) = super::judge::split_cure(&text);
            examination.note(
                "agent",
                Outcome::failed(cause, cure.unwrap_or("run this as root or as the agent's user")),
            );
            let because = "the agent cannot be asked";
            examination.skip(&NAMES[3..NAMES.len() - 1], because);
            if config.uplink.mqtt.is_some() {
                examination.note_all(broker::all_skipped(because));
            }
            examination.skip(&NAMES[NAMES.len() - 1..], because);
        }
    }
    examination.checks
}

fn configuration(file: &Path, examination: &mut Examination<'_, impl Listener>) -> Option<Config> {
    match config::load(file) {
        Err(error) => {
            let text = error.to_string();
            let (cause, cure) =
                text.rsplit_once("; ").unwrap_or((&text, "'avl-edge config explain' lists every key"));
            examination.note("configuration", Outcome::failed(cause, cure));
            None
        }
        Ok(config) => {
            let mut machine = Surroundings::look(&config);
            // These have checks of their own below.
            (machine.identity, machine.source_exists) = (None, true);
            let warnings = sense::warnings(&config, &machine);
            let outcome = match warnings.first() {
                None => Outcome::good(format!("{} is valid", file.display())),
                Some(first) => {
                    let more = match warnings.len() {
                        1 => String::new(),
                        many => format!(" (and {} more: 'avl-edge config check')", many - 1),
                    };
                    Outcome::warning(format!("{}: {}{more}", first.key, first.cause), first.cure.clone())
                }
            };
            examination.note("configuration", outcome);
            Some(config)
        }
    }
}

async fn running(
    config: &Config,
    mut seen: Seen,
    patience: Duration,
    examination: &mut Examination<'_, impl Listener>,
) {
    let agent = &seen.agent;
    let fact = format!("version {} is running for {}", agent.version, duration_ms(agent.uptime_s * 1000));
    examination.note("agent", Outcome::good(fact));
    let socket = config.health.socket(&config.state_dir);
    let started = Instant::now();
    let mut looks = interval(LOOK);
    loop {
        let waited = started.elapsed();
        let receiver = receiver::is_settled(&seen.receiver, waited) || waited >= patience;
        let link = seen.link.state == "connected" || seen.link.trouble.is_some() || waited >= LINK_PATIENCE;
        if receiver && link {
            break;
        }
        let what = if receiver { "the link" } else { "a fix" };
        examination.listener.waiting(what, patience.saturating_sub(waited));
        looks.tick().await;
        match client::status(&socket).await {
            Ok(fresh) => seen = fresh,
            Err(_) => break,
        }
    }
    let waited = started.elapsed();
    identity(config, examination);
    let troubled =
        super::judge::troubles(&seen).into_iter().find(|trouble| trouble.part == super::judge::Part::Buffer);
    examination.note(
        "buffer",
        match troubled {
            None => {
                Outcome::good(format!("waiting for the cloud: {}", super::words::fixes(seen.buffer.waiting)))
            }
            Some(trouble) if seen.buffer.flash.store.cause.is_some() => {
                Outcome::failed(trouble.cause, trouble.cure)
            }
            Some(trouble) => Outcome::warning(trouble.cause, trouble.cure),
        },
    );
    let gnss = receiver_checks(config, &seen.receiver, true, waited, examination);
    let gnss = gnss
        .zip(seen.fix_age_ms())
        .map(|(time, age)| (time, seen.taken_at_ms.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX))));
    let name = link::dns("uplink.quic.address", config.uplink.quic.host_and_port()).await;
    examination.note("name", name);
    examination.note("link", link::agents_link(&seen));
    examination.note("acknowledgement", link::acknowledged(&seen));
    if let Some(mqtt) = &config.uplink.mqtt {
        let through_broker = broker::ask(mqtt, &seen).await;
        examination.note_all(through_broker);
    }
    let cloud = seen.clock.cloud_offset_ms.map(|offset| (seen.taken_at_ms + offset, seen.taken_at_ms));
    examination.note("clock", clock::clock(gnss, cloud));
}

async fn stopped(config: &Config, patience: Duration, examination: &mut Examination<'_, impl Listener>) {
    let identity = identity(config, examination);
    let (outcome, status) = storage::buffer(config);
    examination.note("buffer", outcome);
    // Both take their time, and neither needs the other.
    let linking = async {
        let name = link::dns("uplink.quic.address", config.uplink.quic.host_and_port()).await;
        let answer = match identity.clone() {
            Some(identity) if !name.is_failure() => Some(
                link::connect(config, identity, status.as_ref()).await.map(|welcome| (welcome, Utc::now())),
            ),
            _ => None,
        };
        // After the other: to the cloud, a vehicle has one connection.
        let through_broker = match &config.uplink.mqtt {
            Some(mqtt) => broker::try_it(&config.uplink, mqtt, identity, status.as_ref()).await,
            None => Vec::new(),
        };
        (name, answer, through_broker)
    };
    let (observed, (name, answer, through_broker)) =
        tokio::join!(observe(config, patience, examination.listener), linking);
    receiver_checks(config, &observed.view, false, observed.waited, examination);
    let gnss = observed.gnss.filter(|_| config.source.kind != Kind::Replay);
    let resolved = examination.note("name", name);
    let cloud = link_checks(config, answer, resolved, examination);
    examination.note_all(through_broker);
    examination.note("clock", clock::clock(gnss, cloud));
}

/// The cloud's clock and ours, when it answered.
fn link_checks(
    config: &Config,
    answer: Option<Result<(Welcome, DateTime<Utc>), String>>,
    resolved: bool,
    examination: &mut Examination<'_, impl Listener>,
) -> Option<(UtcMillis, UtcMillis)> {
    let Some(answer) = answer else {
        let because =
            if resolved { "there is no identity to connect with" } else { "the cloud's name has no address" };
        examination.skip(&["link", "acknowledgement"], because);
        return None;
    };
    let heard = answer.as_ref().ok().map(|(welcome, at)| (welcome.server_time_ms, at.timestamp_millis()));
    let answer = answer.map(|(welcome, _)| welcome);
    examination.note("link", link::welcome(config, &answer));
    match &answer {
        Ok(welcome) => examination.note("acknowledgement", link::journal(welcome)),
        Err(_) => examination.note("acknowledgement", Outcome::skipped("there is no link")),
    };
    heard
}

fn identity(config: &Config, examination: &mut Examination<'_, impl Listener>) -> Option<Identity> {
    match Identity::load(&config.state_dir, &config.identity) {
        Err(error) => {
            let text = error.to_string();
            let (cause, cure) = super::judge::split_cure(&text);
            examination.note("identity", Outcome::failed(cause, cure.unwrap_or("enrol again with --force")));
            None
        }
        Ok(identity) => {
            let dates = identity.credentials.chain.first().and_then(|leaf| Validity::of(leaf).ok());
            let outcome = match dates {
                Some(dates) => clock::certificate(
                    &identity.vehicle.to_string(),
                    dates.not_before,
                    dates.not_after,
                    Utc::now().timestamp_millis(),
                ),
                None => Outcome::failed("the certificate has no dates", "enrol again with --force"),
            };
            examination.note("identity", outcome);
            // An expired one is still shown to the cloud, which says whether it agrees.
            Some(identity)
        }
    }
}

/// Port, sentences and fix. GNSS time of the fix, where it is of now.
fn receiver_checks(
    config: &Config,
    view: &SeenReceiver,
    by_agent: bool,
    waited: Duration,
    examination: &mut Examination<'_, impl Listener>,
) -> Option<UtcMillis> {
    if !examination.note("receiver", receiver::port(view, by_agent)) {
        examination.skip(&["sentences", "fix"], "the receiver cannot be read");
        return None;
    }
    if !examination.note("sentences", receiver::sentences(view, waited)) {
        examination.skip(&["fix"], "there are no sentences");
        return None;
    }
    examination.note("fix", receiver::fix(view, waited));
    if config.source.kind == Kind::Replay {
        return None;
    }
    let time = view.last_fix.as_ref()?.time.as_deref()?;
    DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp_millis())
}

struct Observed {
    view: SeenReceiver,
    waited: Duration,
    /// GNSS time and ours, of the fix that was delayed least.
    gnss: Option<(UtcMillis, UtcMillis)>,
}

/// Runs the configured source until it has told enough.
async fn observe(config: &Config, patience: Duration, listener: &mut impl Listener) -> Observed {
    let view: View<ReceiverView> = View::default();
    let (sender, mut fixes) = mpsc::channel(64);
    let source =
        source::run(config.source.clone(), None, sender, view.clone(), source::Surroundings::default());
    tokio::pin!(source);
    let (started, mut looks, mut failed) = (Instant::now(), interval(LOOK), None);
    let mut gnss: Option<(UtcMillis, UtcMillis)> = None;
    loop {
        tokio::select! {
            ended = &mut source, if failed.is_none() => failed = Some(ended.err().map(|error| error.to_string())),
            fix = fixes.recv(), if failed.is_none() => {
                // What the source shows may lag behind what it delivers.
                if let Some(observed) = fix {
                    view.update(|view| view.last_fix = Some((&observed.fix).into()));
                    // What the port held when it was opened is old: the freshest of all is the measure.
                    let pair = observed.fix.time.map(|time| (time, Utc::now().timestamp_millis()));
                    gnss = gnss.into_iter().chain(pair).max_by_key(|(theirs, ours)| theirs - ours);
                }
            }
            _ = looks.tick() => {}
        }
        let waited = started.elapsed();
        let mut seen = SeenReceiver::of(&view.read());
        if let Some(Some(error)) = &failed {
            seen.state = SeenState { state: "absent".to_owned(), cause: Some(error.clone()) };
        }
        if failed.is_some() || receiver::is_settled(&seen, waited) || waited >= patience {
            return Observed { view: seen, waited, gnss };
        }
        listener.waiting("a fix", patience.saturating_sub(waited));
    }
}
