//! Test that processes which decide from chunks together admit no more than a limit allows, and that all usage is
//! counted.

use proptest::prelude::*;

use super::{NOON, ask, is_full, used};
use crate::{
    Plan, Plans, Settlement,
    accounts::{Accounts, Decision, DecisionRequest, Standing},
    bucket::{Bucket, Rate},
    counter::DecisionTime,
    hold::Holds,
    redis::{RedisAccounts, accounts_with_chunks},
    rules::{Names, Rules},
    runtime::block_on,
};

const SECOND: u64 = 1_000_000_000;
/// Limits under test: a bucket, a window and slots.
const LIMITS: [&str; 3] = ["600 tokens/minute burst 100", "2000 tokens/day", "5 concurrent"];
const BUCKET: Rate = Rate { amount: 600, period: 60 * SECOND, burst: 100 };
const WINDOW: u64 = 2_000;
const SLOTS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Ask { process: usize, tokens: u64 },
    Settle { which: usize, share: u64 },
    Renew { process: usize },
    Pass { millis: u64 },
}

/// A call that was granted.
struct Granted {
    process: usize,
    holds: Holds,
    tokens: u64,
    /// Number of the call among all granted calls.
    number: usize,
}

/// Processes, the calls that run on them, and the granted calls with their times and usage.
struct Fleet {
    processes: [RedisAccounts; 3],
    rules: Rules,
    running: Vec<Granted>,
    log: Vec<(u64, u64)>,
    now: u64,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3usize, 1..60u64).prop_map(|(process, tokens)| Step::Ask { process, tokens }),
        4 => (any::<prop::sample::Index>(), 0..=100u64)
            .prop_map(|(which, share)| Step::Settle { which: which.index(1_000), share }),
        1 => (0..3usize).prop_map(|process| Step::Renew { process }),
        2 => prop::sample::select(vec![1u64, 50, 500, 4_000, 20_000, 1_000_000, 80_000_000]).prop_map(|millis| Step::Pass { millis }),
    ]
}

impl Fleet {
    fn new() -> Self {
        let limits = LIMITS.iter().map(|limit| limit.parse::<crate::Limit>().expect("it is a limit"));
        let plans = Plans::new("default", limits.fold(Plan::new(), Plan::limit)).expect("they are right");
        let rules = Rules::new(&plans, &Names::default());
        Self { processes: accounts_with_chunks(), rules, running: Vec::new(), log: Vec::new(), now: NOON * SECOND }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask { process, tokens } => self.ask(process, tokens),
            Step::Settle { which, share } if !self.running.is_empty() => {
                let granted = self.running.swap_remove(which % self.running.len());
                self.settle(granted, share);
            }
            Step::Settle { .. } => {}
            Step::Renew { process } => block_on(self.processes[process].renew_chunks(self.now)),
            Step::Pass { millis } => self.now += millis * 1_000_000,
        }
    }

    fn ask(&mut self, process: usize, tokens: u64) {
        let (demand, at) = (ask("a").tokens(tokens, 0), DecisionTime { now: self.now, per_mille: 1_000 });
        let request = DecisionRequest { demand: &demand, plan: self.rules.of("a"), at, standing: Standing::New };
        let mut decision = Decision::new(&request);
        if let Some(round_trip) = self.processes[process].decide(&request, &mut decision) {
            block_on(round_trip);
        }
        assert_eq!(decision.refused, None);
        assert_eq!(self.processes[process].redis_stats().shared_in_outage, 0);
        if decision.blocked.is_none() {
            let (holds, number) = (std::mem::take(&mut decision.held.holds), self.log.len());
            self.log.push((self.now, tokens));
            self.running.push(Granted { process, holds, tokens, number });
        }
    }

    fn settle(&mut self, granted: Granted, share: u64) {
        let Granted { process, holds, tokens, number } = granted;
        let tokens = tokens * share / 100;
        self.log[number].1 = tokens;
        let settlement = if share == 0 { Settlement::Unsent } else { used(tokens, 0) };
        self.processes[process].settle(&holds, &settlement, self.now, &[]);
    }

    /// Returns the sum of the amounts of calls that were granted since a time: the used amount of ended calls, and the
    /// reserved amount of running ones.
    fn total(&self, since: u64) -> u64 {
        self.log.iter().filter(|(at, _)| *at >= since).map(|(_, tokens)| tokens).sum()
    }

    /// Returns `true` if a bucket would have held all used amounts if each call had taken its used amount at the start.
    fn fits_in_bucket(&self) -> bool {
        let mut bucket = Bucket::new(BUCKET, 0);
        self.log.iter().all(|(at, tokens)| {
            bucket.drain(BUCKET, *at);
            bucket.take(*tokens);
            // The script computes with fractions of a microsecond, so the amount may be one too high.
            bucket.volume().amount(BUCKET) <= BUCKET.burst + 1
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn chunks_never_exceed_limits_and_count_all(steps in prop::collection::vec(step(), 1..80)) {
        let mut fleet = Fleet::new();
        let day = 86_400 * SECOND;
        for step in &steps {
            fleet.step(step);
            prop_assert!(fleet.running.len() <= SLOTS, "{} slots", fleet.running.len());
            let used = fleet.total(fleet.now / day * day);
            prop_assert!(used <= WINDOW, "{used} of {WINDOW}");
        }
        prop_assert!(fleet.fits_in_bucket(), "{:?}", fleet.log);
        for granted in std::mem::take(&mut fleet.running) {
            fleet.settle(granted, 100);
        }
        for process in &fleet.processes {
            block_on(process.close_at(fleet.now));
        }
        let balances = block_on(fleet.processes[0].export(false, &Names::default())).expect("they can be read");
        let counted: Vec<_> = balances.iter().map(|balance| (balance.spent(), balance.reserved())).collect();
        let Some((at, _)) = fleet.log.last() else { return Ok(()) };
        // The accounts hold the window of the last grant or a later window, which has no usage.
        let used = fleet.total(at / day * day);
        let is_over = fleet.now / day > at / day;
        prop_assert!(counted == [(used, 0)] || (is_over && counted == [(0, 0)]), "{counted:?}, and {used} was used");
    }
}

fn cases() -> u32 {
    if is_full() { 2_000 } else { 40 }
}
