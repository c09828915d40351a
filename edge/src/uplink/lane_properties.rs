//! A buffer of blocks, a cloud that acknowledges when asked, and a link that delivers each lane in order: whatever
//! happens in between, every number goes once by one lane, live never waits, and finishing ends.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The recorder writes a block of so many fixes.
    Append(u64),
    /// Time passes.
    Wait(u64),
    /// Each lane takes at most so many batches.
    Send(usize, usize),
    /// So many frames of a lane reach the cloud.
    Deliver(LaneName, usize),
    /// The buffer overflows: the oldest block goes.
    Drop,
    /// The backlog is forbidden, or allowed again.
    Backlog(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..=60).prop_map(Step::Append),
        1 => (100_u64..900).prop_map(Step::Append),
        3 => (0_u64..100).prop_map(Step::Wait),
        6 => (0_usize..3, 0_usize..6).prop_map(|(live, backlog)| Step::Send(live, backlog)),
        3 => (0_usize..4).prop_map(|count| Step::Deliver(Live, count)),
        3 => (0_usize..4).prop_map(|count| Step::Deliver(Backlog, count)),
        1 => Just(Step::Drop),
        1 => any::<bool>().prop_map(Step::Backlog),
    ];
    prop::collection::vec(step, 0..80)
}

struct World {
    blocks: Vec<SequenceRange>,
    status: Status,
    lanes: Lanes,
    now: Instant,
    wires: [VecDeque<(SequenceRange, bool)>; 2],
    durable: RangeSet,
    sent: RangeSet,
    orders: Orders,
    finishing: bool,
}

impl World {
    fn new(held: &[u64]) -> Self {
        let now = Instant::now();
        let mut world = Self {
            blocks: Vec::new(),
            status: holding(0, 0),
            lanes: Lanes::new(POLICY, &holding(0, 0), now),
            now,
            wires: [VecDeque::new(), VecDeque::new()],
            durable: RangeSet::new(),
            sent: RangeSet::new(),
            orders: ORDERS,
            finishing: false,
        };
        held.iter().for_each(|count| world.append(*count));
        world.lanes = Lanes::new(POLICY, &world.status, now);
        world
    }

    fn append(&mut self, count: u64) {
        let mut left = count;
        while left > 0 {
            let block = SequenceRange::starting_at(self.status.next_sequence, left.min(60)).unwrap();
            self.blocks.push(block);
            self.status.held.insert(block);
            self.status.next_sequence = block.last() + 1;
            left -= block.count();
        }
    }

    /// As the buffer composes it: whole blocks without a gap between them.
    fn upload(&self, next: Next) -> SequenceRange {
        let at = self.blocks.iter().position(|block| block.contains(next.from)).unwrap();
        let mut range = self.blocks[at];
        for block in &self.blocks[at + 1..] {
            let count = block.last() - range.first() + 1;
            if block.first() != range.last() + 1 || count > next.max_fixes {
                break;
            }
            range = SequenceRange::new(range.first(), block.last()).unwrap();
        }
        range
    }

    /// Sends one batch of a lane, if it has one. Checks what must hold of it.
    fn send_one(&mut self, lane: LaneName) -> Result<bool, TestCaseError> {
        let decision = self.lanes.decide(&self.status, self.orders, self.now);
        let Decision::Go { live, backlog, .. } = decision else { return Ok(false) };
        let Some(next) = (if lane == Live { live } else { backlog }) else { return Ok(false) };
        let range = self.upload(next);
        if !self.finishing {
            prop_assert!(self.sent.within(range).is_empty(), "{range} goes twice");
        }
        self.sent.insert(range);
        let asks = self.lanes.sending(lane, range, range.count() * BYTES_A_FIX, &self.status, self.now);
        self.wires[lane as usize].push_back((range, asks));
        Ok(true)
    }

    fn deliver(&mut self, lane: LaneName, count: usize) {
        for _ in 0..count {
            let Some((range, asks)) = self.wires[lane as usize].pop_front() else { return };
            self.durable.insert(range);
            if asks {
                for range in self.durable.ranges() {
                    self.status.held.remove(*range);
                }
                self.lanes.acknowledged(&self.status, self.now);
            }
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Append(count) => self.append(count),
            Step::Wait(count) => self.now += seconds(count),
            Step::Send(live, backlog) => {
                for _ in 0..live {
                    self.send_one(Live)?;
                }
                for _ in 0..backlog {
                    self.send_one(Backlog)?;
                }
            }
            Step::Deliver(lane, count) => self.deliver(lane, count),
            Step::Drop => {
                if let Some(first) = self.status.held.first() {
                    let block = self.blocks.iter().find(|block| block.contains(first)).unwrap();
                    self.status.held.remove(*block);
                }
            }
            Step::Backlog(allowed) => self.orders.backlog = allowed,
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_number_goes_once_live_never_waits_and_finishing_ends(
        held in prop::collection::vec(1_u64..=900, 0..12), steps in steps(),
    ) {
        // A timeout would end the connection; that is another test's matter.
        let mut world = World::new(&held);
        world.lanes.policy.ack_timeout = seconds(1_000_000);
        for step in steps {
            world.step(step)?;
            // Live never waits: a batch that is due is offered, whatever the backlog does.
            let (unsent, _) = world.lanes.divided(&world.status);
            let late = world.now + PACE.latency;
            if let Decision::Go { live, .. } = world.lanes.clone().decide(&world.status, world.orders, late) {
                let began = world.lanes.unsent_since.is_some();
                prop_assert!(live.is_some() || unsent.is_empty() || !began);
            }
            world.lanes.decide(&world.status, world.orders, world.now);
        }
        world.orders.backlog = true;
        world.finishing = true;
        world.lanes.finish();
        for _ in 0..10_000 {
            if world.lanes.decide(&world.status, world.orders, world.now) == Decision::Done {
                break;
            }
            let sent = [world.send_one(Live)?, world.send_one(Backlog)?];
            if sent == [false, false] {
                world.deliver(Live, 1);
                world.deliver(Backlog, 1);
            }
        }
        prop_assert!(world.status.held.is_empty(), "stuck with {}", world.status.held);
    }
}
