//! What a live receiver says in each cycle, learnt from its last epochs, so that an epoch can be delivered with its
//! last useful sentence instead of with the first of the next second.

use super::epoch::{KINDS, index};
use super::sentence::Kind;

/// Epochs that the expectation rests on. One could have been cut off and two could be chance; a receiver that is
/// reconfigured is learnt anew within three.
const EPOCHS: usize = 3;

const ALL: [Kind; KINDS] = [Kind::Rmc, Kind::Gga, Kind::Gns, Kind::Gll, Kind::Vtg, Kind::Zda, Kind::Gsa];

#[derive(Clone, Debug, Default)]
pub(super) struct Cycle {
    recent: [[u8; KINDS]; EPOCHS],
    learnt: usize,
    finest: u8,
}

impl Cycle {
    /// Takes in how many sentences of each kind an epoch had, and how many decimals its position.
    pub(super) fn learn(&mut self, counts: [u8; KINDS], finest: u8) {
        self.recent[self.learnt % EPOCHS] = counts;
        // Counts on without end, but only its remainder and whether it has reached EPOCHS matter.
        self.learnt =
            if self.learnt >= 2 * EPOCHS { EPOCHS + 1 + self.learnt % EPOCHS } else { self.learnt + 1 };
        self.finest = self.finest.max(finest);
    }

    /// The most decimals that this receiver's positions have had.
    pub(super) const fn finest(&self) -> u8 {
        self.finest
    }

    pub(super) fn expects(&self, kind: Kind) -> bool {
        index(kind).is_some_and(|kind| self.usual(kind) > 0)
    }

    /// Whether nothing that matters is still to come, given what an epoch has so far and what it has no use for.
    pub(super) fn is_complete(&self, counts: &[u8; KINDS], has_no_use_for: impl Fn(Kind) -> bool) -> bool {
        let arrived = |kind: usize| counts[kind] >= self.usual(kind);
        self.learnt >= EPOCHS && ALL.iter().enumerate().all(|(at, kind)| arrived(at) || has_no_use_for(*kind))
    }

    fn usual(&self, kind: usize) -> u8 {
        self.recent.iter().map(|counts| counts[kind]).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(kinds: &[Kind]) -> [u8; KINDS] {
        let mut counts = [0; KINDS];
        kinds.iter().filter_map(|kind| index(*kind)).for_each(|kind| counts[kind] += 1);
        counts
    }

    #[test]
    fn nothing_is_complete_before_three_epochs_were_seen() {
        let mut cycle = Cycle::default();
        for _ in 0..EPOCHS {
            assert!(!cycle.is_complete(&counts(&[Kind::Rmc, Kind::Gga]), |_| false));
            cycle.learn(counts(&[Kind::Rmc, Kind::Gga]), 8);
        }
        assert!(cycle.is_complete(&counts(&[Kind::Rmc, Kind::Gga]), |_| false));
        assert!(!cycle.is_complete(&counts(&[Kind::Rmc]), |_| false));
    }

    #[test]
    fn a_sentence_that_comes_in_one_epoch_of_three_is_waited_for() {
        let mut cycle = Cycle::default();
        for epoch in 0..30 {
            let all = counts(if epoch % 3 == 0 { &[Kind::Gga, Kind::Zda] } else { &[Kind::Gga] });
            cycle.learn(all, 8);
            assert!(epoch < EPOCHS || !cycle.is_complete(&counts(&[Kind::Gga]), |_| false));
            assert!(epoch < EPOCHS || cycle.is_complete(&counts(&[Kind::Gga]), |kind| kind == Kind::Zda));
        }
    }

    #[test]
    fn a_receiver_that_stops_printing_a_sentence_is_learnt_anew() {
        let mut cycle = Cycle::default();
        cycle.learn(counts(&[Kind::Gga, Kind::Gll]), 8);
        for _ in 0..EPOCHS {
            cycle.learn(counts(&[Kind::Gga]), 8);
        }
        assert!(cycle.is_complete(&counts(&[Kind::Gga]), |_| false));
    }
}
