//! The real logs, damaged: flipped bits, cuts, repetitions, pieces of other logs. The same damage at every run.

use super::real_logs::{ALL, printed_coordinates, read, reprinted, without_zeros};
use super::{Observation, Receiver};

/// Bytes of a log that are damaged at once: some tens of epochs.
const WINDOW: usize = 16_000;
const ROUNDS: u64 = 150;

/// xorshift64* (S. Vigna 2016): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let roll = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(roll).unwrap() % bound.max(1)
    }

    fn piece(&mut self, log: &[u8], longest: usize) -> Vec<u8> {
        let length = 1 + self.below(longest.min(log.len()));
        let from = self.below(log.len() - length + 1);
        log[from..from + length].to_vec()
    }
}

fn damaged(dice: &mut Dice, logs: &[Vec<u8>]) -> Vec<u8> {
    let log = &logs[dice.below(logs.len())];
    let mut bytes = dice.piece(log, WINDOW);
    for _ in 0..=dice.below(40) {
        let at = dice.below(bytes.len());
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            2 => {
                let until = (at + dice.below(200)).min(bytes.len());
                bytes.drain(at..until);
            }
            3 => {
                let repeated = dice.piece(&bytes, 400);
                bytes.splice(at..at, repeated);
            }
            4 => {
                let other = &logs[dice.below(logs.len())];
                let foreign = dice.piece(other, 2000);
                bytes.splice(at..at, foreign);
            }
            _ => {
                let noise: Vec<u8> =
                    (0..dice.below(100)).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
                bytes.splice(at..at, noise);
            }
        }
        if bytes.is_empty() {
            bytes.push(b'$');
        }
    }
    bytes
}

fn observe_in_chunks(mut receiver: Receiver, bytes: &[u8], dice: &mut Dice) -> (Vec<Observation>, Receiver) {
    let (mut all, mut rest, mut now) = (Vec::new(), bytes, 0);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + dice.below(rest.len().min(900)));
        receiver.push(chunk, Some(now), |observation| all.push(observation));
        if dice.below(3) == 0 {
            receiver.pause(Some(now), |observation| all.push(observation));
        }
        now += 500;
        rest = after;
    }
    receiver.finish(Some(now), |observation| all.push(observation));
    (all, receiver)
}

#[test]
fn damaged_logs_never_panic_never_grow_and_never_make_a_fix_of_a_damaged_sentence() {
    let logs: Vec<Vec<u8>> = ALL.iter().filter_map(|name| read(name)).collect();
    if logs.len() < ALL.len() {
        return;
    }
    let mut dice = Dice(0x005e_ed0f_5eed);
    let (mut fixes, mut bad) = (0, 0);
    for round in 0..ROUNDS {
        let bytes = damaged(&mut dice, &logs);
        let printed = printed_coordinates(&bytes);
        for make in [Receiver::recorded as fn() -> Receiver, Receiver::live] {
            let (all, receiver) = observe_in_chunks(make(), &bytes, &mut dice);
            assert!(receiver.footprint() < 64 * 1024, "{} bytes in round {round}", receiver.footprint());
            fixes += all.len();
            bad += receiver.counts().bad_checksums;
            for Observation { fix, .. } in all.iter().filter(|seen| seen.fix.latitude.is_some()) {
                if fix.time.is_some() {
                    let place = reprinted(fix).place;
                    let known = [0, 2].map(|at| printed.contains(&without_zeros(&place[at])));
                    assert_eq!(known, [true; 2], "round {round}: {place:?}");
                }
            }
        }
    }
    assert!(fixes > 1000 && bad > 500, "{fixes} fixes, {bad} bad checksums: too little to prove anything");
}
