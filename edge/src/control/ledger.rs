//! Which commands were begun and how they ended, so that one delivered twice is carried out once.

use std::collections::VecDeque;

use avl_shared::link::CommandState;
use serde::{Deserialize, Serialize};

/// Commands remembered. The cloud stops repeating one as soon as its result is stored there; this many would have to be
/// ordered between a result and its acknowledgement.
const REMEMBERED: usize = 256;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Oldest first.
    commands: VecDeque<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    id: String,
    progress: Progress,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "at")]
pub enum Progress {
    /// Begun, and ends before the agent does.
    Running,
    /// Begun: the agent restarts, and that is all there is to do.
    Restarting,
    /// Begun, and goes on over restarts: its owner says how it ended.
    Lasting,
    Ended(Ending),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    pub state: EndState,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndState {
    Done,
    Failed,
    Refused,
    Expired,
}

impl From<EndState> for CommandState {
    fn from(state: EndState) -> Self {
        match state {
            EndState::Done => Self::Done,
            EndState::Failed => Self::Failed,
            EndState::Refused => Self::Refused,
            EndState::Expired => Self::Expired,
        }
    }
}

impl Ending {
    #[must_use]
    pub fn new(state: EndState, detail: impl Into<String>) -> Self {
        Self { state, detail: detail.into() }
    }
}

impl Ledger {
    #[must_use]
    pub fn progress(&self, id: &str) -> Option<&Progress> {
        self.commands.iter().find(|entry| entry.id == id).map(|entry| &entry.progress)
    }

    /// To be durable before the command is carried out.
    pub fn record(&mut self, id: &str, progress: Progress) {
        match self.commands.iter_mut().find(|entry| entry.id == id) {
            Some(entry) => entry.progress = progress,
            None => {
                self.commands.push_back(Entry { id: id.to_owned(), progress });
                while self.commands.len() > REMEMBERED {
                    self.commands.pop_front();
                }
            }
        }
    }

    /// The agent starts: what it was doing when it ended has ended too. Returns what is to be told.
    pub fn restarted(&mut self) -> Vec<(String, Ending)> {
        let mut told = Vec::new();
        for entry in &mut self.commands {
            let ending = match entry.progress {
                Progress::Running => Ending::new(
                    EndState::Failed,
                    "the agent ended before the command was done: order it again",
                ),
                Progress::Restarting => Ending::new(EndState::Done, "the agent was restarted"),
                Progress::Lasting | Progress::Ended(_) => continue,
            };
            entry.progress = Progress::Ended(ending.clone());
            told.push((entry.id.clone(), ending));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_ends_what_was_running_and_leaves_what_lasts() {
        let mut ledger = Ledger::default();
        for (id, progress) in [
            ("locate", Progress::Running),
            ("restart", Progress::Restarting),
            ("update", Progress::Lasting),
            ("old", Progress::Ended(Ending::new(EndState::Refused, ""))),
        ] {
            ledger.record(id, progress);
        }
        let told: Vec<(String, EndState)> =
            ledger.restarted().into_iter().map(|(id, ending)| (id, ending.state)).collect();
        assert_eq!(told, [("locate".to_owned(), EndState::Failed), ("restart".to_owned(), EndState::Done)]);
        assert_eq!(ledger.restarted(), [], "told once");
        assert_eq!(ledger.progress("update"), Some(&Progress::Lasting));
    }

    #[test]
    fn it_does_not_grow_for_ever_and_forgets_the_oldest() {
        let mut ledger = Ledger::default();
        for n in 0..1000 {
            ledger.record(&n.to_string(), Progress::Running);
        }
        assert_eq!(ledger.commands.len(), REMEMBERED);
        assert_eq!(ledger.progress("0"), None);
        assert_eq!(ledger.progress("999"), Some(&Progress::Running));
    }
}
