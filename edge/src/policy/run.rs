//! Carries out what the engine decides: between the source and the recorder, for as long as the source lasts.

use std::collections::VecDeque;
use std::future::pending;

use avl_shared::fix::UtcMillis;
use chrono::{DateTime, Local, Timelike, Utc};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::config::NightHours;
use super::engine::{Engine, EngineSettings, Outcome, Why};
use super::history::History;
use super::meter::Meter;
use super::report_now::{Ask, Reported};
use super::select::Choice;
use super::view::ReportView;
use crate::fix_json::FixRow;
use crate::health::View;
use crate::run::Intake;
use crate::sensors::{IGNITION, Levels, SensorsView};
use crate::source::Observed;
use crate::uplink::Pace;

/// What comes in, and where fixes go.
pub struct Streams {
    pub fixes: mpsc::Receiver<Observed>,
    pub levels: mpsc::Receiver<Levels>,
    pub asks: mpsc::Receiver<Ask>,
    pub recorder: mpsc::Sender<Intake>,
}

/// What the policy works with.
pub struct Parts {
    pub engine: EngineSettings,
    pub meter: Option<Meter>,
    pub history: Option<History>,
    pub pace: watch::Sender<Pace>,
    pub report: View<ReportView>,
    pub sensors: View<SensorsView>,
}

/// A flush that the recorder works on, and who waits for it.
struct Flushing {
    done: oneshot::Receiver<u64>,
    asks: Vec<Ask>,
}

struct Policy {
    engine: Engine,
    night_hours: Option<NightHours>,
    meter: Option<Meter>,
    history: Option<History>,
    pace: watch::Sender<Pace>,
    report: View<ReportView>,
    sensors: View<SensorsView>,
    recorder: mpsc::Sender<Intake>,
    /// At most as many as the recorder's queue holds.
    flushing: VecDeque<Flushing>,
}

/// The recorder went away; it says itself why.
struct Gone;

/// Runs until the source ends; then decides what is undecided and closes the recorder's queue.
pub async fn run(parts: Parts, streams: Streams) {
    let Parts { engine, meter, history, pace, report, sensors } = parts;
    let Streams { fixes, levels, asks, recorder } = streams;
    let mut policy = Policy {
        night_hours: engine.report.night_hours,
        engine: Engine::new(engine, Instant::now()),
        meter,
        history,
        pace,
        report,
        sensors,
        recorder,
        flushing: VecDeque::new(),
    };
    // Without a recorder there is nothing to do; whoever runs it has the reason.
    let _ = policy.drive(fixes, levels, asks).await;
    policy.end().await;
}

impl Policy {
    async fn drive(
        &mut self,
        mut fixes: mpsc::Receiver<Observed>,
        mut levels: mpsc::Receiver<Levels>,
        mut asks: mpsc::Receiver<Ask>,
    ) -> Result<(), Gone> {
        let (mut wired, mut asked) = (true, true);
        loop {
            self.show();
            let due = self
                .engine
                .next_tick()
                .into_iter()
                .chain(self.history.as_ref().and_then(History::deadline))
                .min();
            tokio::select! {
                observed = fixes.recv() => match observed {
                    Some(observed) => self.fix(observed).await?,
                    None => return Ok(()),
                },
                changed = levels.recv(), if wired => match changed {
                    Some(levels) => self.levels(levels).await?,
                    None => wired = false,
                },
                ask = asks.recv(), if asked => match ask {
                    Some(ask) => {
                        let outcome = self.engine.report_now();
                        self.carry_out(outcome, Some(ask)).await?;
                    }
                    None => asked = false,
                },
                below = flushed(&mut self.flushing) => self.flushed(below),
                () = until(due) => self.tick().await?,
            }
        }
    }

    async fn fix(&mut self, observed: Observed) -> Result<(), Gone> {
        let odometer = self.meter.as_mut().map(|meter| meter.fix(&observed.fix));
        let night = self.is_night(observed.fix.time);
        let outcome = self.engine.fix(observed, odometer, Instant::now(), night);
        self.carry_out(outcome, None).await?;
        if let Some(meter) = &mut self.meter {
            meter.save(false).await;
        }
        Ok(())
    }

    async fn levels(&mut self, levels: Levels) -> Result<(), Gone> {
        let odometer = self.meter.as_mut().map(Meter::metres);
        let outcome = self.engine.levels(levels, odometer, Instant::now(), self.is_night(None));
        let off = matches!(outcome.at_once, Some(Why::Input { off, .. }) if off & IGNITION != 0);
        self.carry_out(outcome, None).await?;
        if let Some(meter) = self.meter.as_mut().filter(|_| off) {
            meter.save(true).await;
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), Gone> {
        let now = Instant::now();
        if let Some(history) = &mut self.history
            && history.deadline().is_some_and(|deadline| deadline <= now)
        {
            history.write().await;
        }
        let outcome = self.engine.tick(now, self.is_night(None));
        self.carry_out(outcome, None).await
    }

    async fn carry_out(&mut self, outcome: Outcome, ask: Option<Ask>) -> Result<(), Gone> {
        self.decided(outcome.choices).await?;
        let Some(why) = outcome.at_once else { return Ok(()) };
        tracing::info!(%why, "sent at once");
        self.report.update(|view| {
            view.at_once += 1;
            view.last_at_once = Some(why.to_string());
        });
        let (flush, done) = oneshot::channel();
        self.recorder.send(Intake::Flush(flush)).await.map_err(|_| Gone)?;
        self.flushing.push_back(Flushing { done, asks: ask.into_iter().collect() });
        Ok(())
    }

    async fn decided(&mut self, choices: Vec<Choice>) -> Result<(), Gone> {
        let (mut kept, mut withheld) = (0, 0);
        for choice in choices {
            match choice {
                Choice::Keep(observed) => {
                    kept += 1;
                    self.recorder.send(Intake::Fix(observed)).await.map_err(|_| Gone)?;
                }
                Choice::Withhold(fix) => {
                    withheld += 1;
                    if let Some(history) = &mut self.history {
                        history.keep(fix, Instant::now()).await;
                    }
                }
            }
        }
        if kept + withheld > 0 {
            self.report.update(|view| {
                view.kept += kept;
                view.withheld += withheld;
            });
        }
        Ok(())
    }

    /// Everything below this number is durable: the uplink may send it.
    fn flushed(&mut self, below: Option<u64>) {
        let Some(Flushing { asks, .. }) = self.flushing.pop_front() else { return };
        let Some(below) = below else { return };
        self.pace.send_if_modified(|pace| {
            let more = below > pace.urgent_below;
            pace.urgent_below = pace.urgent_below.max(below);
            more
        });
        let newest = self.engine.newest(Instant::now());
        let age_ms = newest.and_then(|(_, age)| u64::try_from(age.as_millis()).ok());
        let newest = newest.map(|(fix, _)| FixRow::from(fix));
        for ask in asks {
            // Whoever asked may have given up.
            let _ = ask.send(Reported { below, newest: newest.clone(), age_ms });
        }
    }

    fn show(&mut self) {
        let (profile, terms) = (self.engine.profile(), self.engine.terms());
        self.pace.send_if_modified(|pace| {
            let wanted = Pace { latency: terms.latency, stay_connected: terms.stay_connected, ..*pace };
            let changed = *pace != wanted;
            *pace = wanted;
            changed
        });
        let history = self.history.as_ref().map(History::view);
        let shown = self.report.read();
        if shown.profile != profile || shown.since_ms.is_none() || shown.history != history {
            let changed = shown.profile != profile || shown.since_ms.is_none();
            if changed {
                tracing::info!(?profile, latency = ?terms.latency, stay_connected = terms.stay_connected, "profile");
            }
            self.report.update(|view| {
                view.since_ms = if changed { Some(Utc::now().timestamp_millis()) } else { view.since_ms };
                view.profile = profile;
                view.latency_ms = u64::try_from(terms.latency.as_millis()).unwrap_or(u64::MAX);
                view.stay_connected = terms.stay_connected;
                view.history = history;
            });
        }
        if let Some(meter) = &mut self.meter {
            let metres = Some(meter.metres());
            if self.sensors.read().odometer_m != metres {
                self.sensors.update(|view| view.odometer_m = metres);
            }
        }
    }

    /// By the time of the fix, or else by the gateway's clock; in the gateway's time zone.
    fn is_night(&self, time: Option<UtcMillis>) -> bool {
        let Some(hours) = self.night_hours else { return false };
        let utc = time.and_then(DateTime::<Utc>::from_timestamp_millis).unwrap_or_else(Utc::now);
        let local = utc.with_timezone(&Local);
        let minute = u16::try_from(local.hour() * 60 + local.minute()).unwrap_or(0);
        hours.contain(minute)
    }

    async fn end(&mut self) {
        let choices = self.engine.finish();
        let _ = self.decided(choices).await;
        if let Some(history) = &mut self.history {
            history.write().await;
        }
        if let Some(meter) = &mut self.meter {
            meter.save(true).await;
        }
        self.show();
    }
}

async fn flushed(flushing: &mut VecDeque<Flushing>) -> Option<u64> {
    match flushing.front_mut() {
        Some(first) => (&mut first.done).await.ok(),
        None => pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
