//! Property test with random demands (also of nothing), settlements of every kind and at any time, jumps of time across
//! windows, plan changes, removed tenants and restarts. After each step, the visible results of an implementation must
//! equal those of the accounts in memory.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_core::{Usage, Usd};
use proptest::prelude::*;

use super::{Make, NOON, ask, implementations};
use crate::{
    Balance, Demand, Limit, LimitStatus, LimitStatuses, Plan, Plans, Settlement, Store,
    account_table::AccountTable,
    accounts::{Accounts, Decision, DecisionRequest, Settled, Standing},
    blocked::Blocked,
    counter::{DecisionTime, Wait},
    hold::Holds,
    rules::{Names, Rules},
    runtime::block_on,
    window::ImportMode,
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Ask { tenant: usize, tokens: u64, cost: i64, units: u64, standing: Standing },
    Settle { which: usize, settlement: Settlement },
    Pass { nanos: u64 },
    Plans { which: usize },
    Scale { per_mille: u32 },
    Forget { tenant: usize },
    Restart,
}

/// Function that carries balances over a restart.
type Carry = fn(Vec<Balance>) -> Vec<Balance>;

const TENANTS: [&str; 3] = ["a", "b", "c"];
const HOUR: u64 = 3_600_000_000_000;
const MICRO: Duration = Duration::from_micros(1);

/// Three sets of plans, each with the limits of every tenant and the limits of all tenants together. The test switches
/// between the sets at random, so that limits change, appear and disappear. They cover several scopes and all kinds of
/// windows.
const PLANS: [(&[&str], &[&str]); 3] = [
    (&["100 tokens/hour", "$1/day", "2 concurrent", "30/minute burst 5"], &["400 tokens/hour per model"]),
    (&["250 tokens/hour", "3 concurrent", "500 input tokens/week", "4 photos/month"], &["$3/day"]),
    (&["50 tokens/hour", "$2/day", "900 tokens/minute", "1 photo/month"], &[]),
];

/// Debts and alert shares in the order in which they were reported.
type Told = Vec<u64>;

/// Accounts of one implementation, with the calls that run on them.
pub(super) struct Subject {
    make: Make,
    carry: Carry,
    accounts: Box<dyn Accounts>,
    names: Names,
    rules: Rules,
    running: Vec<Holds>,
    /// Results of settlements that became known later.
    late: Arc<Mutex<Told>>,
}

/// Visible part of a decision, without the reference to its account.
type Shown = (Option<Blocked>, Vec<(u32, u64)>, LimitStatuses);

fn plans(which: usize) -> Plans {
    let (each, global) = PLANS[which];
    let limit = |text: &&str| text.parse::<Limit>().expect("it is right");
    let plan = each.iter().map(limit).fold(Plan::new(), Plan::limit);
    let plans = Plans::new("default", plan).expect("they are right");
    global.iter().map(limit).fold(plans, |plans, limit| plans.limit(limit).expect("it is right"))
}

fn demand(tenant: usize, tokens: u64, cost: i64, units: u64) -> Demand {
    ask(TENANTS[tenant]).tokens(tokens, 0).cost(Usd::from_nanos(cost)).units(units, "photo")
}

impl Subject {
    pub(super) fn new(make: Make, carry: Carry) -> Self {
        let names = Names::default();
        let rules = Rules::new(&plans(0), &names);
        let late = Arc::default();
        Self { make, carry, accounts: connected(make, &late), names, rules, running: Vec::new(), late }
    }

    fn decide(&mut self, demand: &Demand, at: DecisionTime, standing: Standing) -> Shown {
        let request = DecisionRequest { demand, plan: self.rules.of(&demand.tenant), at, standing };
        let mut decision = Decision::new(&request);
        if let Some(round_trip) = self.accounts.decide(&request, &mut decision) {
            block_on(round_trip);
        }
        let held = decision.held.holds.iter().map(|hold| (hold.counter, hold.amount)).collect();
        // References to accounts depend on the implementation, so they are not compared.
        let blocked = decision.blocked.map(|blocked| Blocked { account_ref: None, ..blocked });
        if blocked.is_none() {
            self.running.push(std::mem::take(&mut decision.held.holds));
        }
        (blocked, held, decision.statuses)
    }

    fn settle(&mut self, which: usize, settlement: &Settlement, now: u64) -> Told {
        if self.running.is_empty() {
            return Vec::new();
        }
        let holds = self.running.swap_remove(which % self.running.len());
        let mut told = consequences(&self.accounts.settle(&holds, settlement, now, &[50, 80, 100]));
        // An export is answered after all pending messages have been counted, so the late results are complete.
        self.exported();
        told.append(&mut self.late.lock().expect("no test panics with it"));
        told.sort_unstable();
        told
    }

    fn levels(&self, tenant: usize, at: DecisionTime) -> LimitStatuses {
        let (demand, plan) = (demand(tenant, 0, 0, 0), self.rules.of(TENANTS[tenant]));
        block_on(self.accounts.levels(DecisionRequest { demand: &demand, plan, at, standing: Standing::New }))
    }

    fn exported(&self) -> Vec<Balance> {
        block_on(self.accounts.export(false, &self.names)).expect("they can be read")
    }

    /// Returns the balances in the accounts, sorted.
    fn balances(&self) -> Vec<String> {
        let balances = self.exported();
        let holds = balances.iter().filter(|balance| balance.used() > 0 || balance.debt() > 0);
        let text = |balance: &Balance| {
            let mut balance = balance.clone();
            if balance.window.carried == 0 {
                // Nothing was carried over from the previous window, so nothing can be returned to it.
                balance.window.before = 0;
            }
            format!("{balance:?}")
        };
        let mut texts: Vec<String> = holds.map(text).collect();
        texts.sort();
        texts
    }

    /// Restarts the implementation. Running calls lose the amounts that they hold.
    fn restart(&mut self) {
        let kept = (self.carry)(self.exported());
        self.accounts = connected(self.make, &self.late);
        self.running.clear();
        block_on(self.accounts.import(kept, ImportMode::Replace, &self.names)).expect("they can be written");
    }
}

/// Creates accounts that report results which become known later.
fn connected(make: Make, late: &Arc<Mutex<Told>>) -> Box<dyn Accounts> {
    let (accounts, late) = (make(), Arc::clone(late));
    accounts.connect(Box::new(move |settled| {
        late.lock().expect("no test panics with it").extend(consequences(&settled));
    }));
    accounts
}

fn consequences(settled: &Settled) -> Told {
    let reached = settled.alerts.iter().flat_map(|alert| [alert.shares.from, alert.shares.to]).map(u64::from);
    settled.debts.iter().map(|(_, debt)| *debt).chain(reached).collect()
}

/// Returns `true` if the times in two statuses differ by at most a microsecond.
fn alike(ours: &LimitStatuses, theirs: &LimitStatuses) -> bool {
    let near = |(a, b): (LimitStatus, LimitStatus)| {
        a.reset.abs_diff(b.reset) <= MICRO && LimitStatus { reset: b.reset, ..a.clone() } == b
    };
    ours.iter().count() == theirs.iter().count() && ours.iter().zip(theirs.iter()).all(near)
}

/// Returns `true` if the waiting times of two decisions differ by at most a microsecond.
fn decided_alike(ours: &Shown, theirs: &Shown) -> bool {
    let is_near = match (ours.0, theirs.0) {
        (Some(a @ Blocked { wait: Wait::Nanos(ours), .. }), Some(b @ Blocked { wait: Wait::Nanos(theirs), .. })) => {
            ours.abs_diff(theirs) <= 1_000 && a == Blocked { wait: a.wait, ..b }
        }
        (a, b) => a == b,
    };
    is_near && ours.1 == theirs.1 && alike(&ours.2, &theirs.2)
}

fn settlement() -> impl Strategy<Value = Settlement> {
    let amounts = || (0..300u64, prop_oneof![Just(None), (0..2_000_000_000i64).prop_map(Some)]);
    let usage = |(tokens, cost): (u64, Option<i64>)| (Usage::new(tokens, 0), cost.map(Usd::from_nanos));
    prop_oneof![
        Just(Settlement::Unsent),
        Just(Settlement::Refused),
        Just(Settlement::Unknown),
        amounts().prop_map(usage).prop_map(|(usage, cost)| Settlement::Used { usage, cost }),
        amounts().prop_map(usage).prop_map(|(usage, cost)| Settlement::AtLeast { usage, cost }),
    ]
}

fn standing() -> impl Strategy<Value = Standing> {
    prop::sample::select(vec![Standing::New, Standing::Waited, Standing::Regardless])
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let tokens = prop_oneof![1 => Just(0u64), 3 => 0..120u64];
    let cost = prop_oneof![1 => Just(0i64), 2 => 0..700_000_000i64];
    prop_oneof![
        8 => (0..3usize, tokens, cost, 0..3u64, standing())
            .prop_map(|(tenant, tokens, cost, units, standing)| Step::Ask { tenant, tokens, cost, units, standing }),
        6 => (any::<usize>(), settlement()).prop_map(|(which, settlement)| Step::Settle { which, settlement }),
        3 => prop_oneof![0..HOUR / 60, 0..3 * HOUR, 0..40 * 24 * HOUR].prop_map(|nanos| Step::Pass { nanos: nanos / 1_000 * 1_000 }),
        1 => (0..PLANS.len()).prop_map(|which| Step::Plans { which }),
        1 => (0..3_000u32).prop_map(|per_mille| Step::Scale { per_mille }),
        1 => (0..3usize).prop_map(|tenant| Step::Forget { tenant }),
        1 => Just(Step::Restart),
    ]
}

pub(super) fn in_memory() -> Box<dyn Accounts> {
    Box::new(AccountTable::new(1_000))
}

/// Carries balances over a restart through the store, as a persister does.
fn stored(store: &Store, balances: Vec<Balance>) -> Vec<Balance> {
    store.put(balances).expect("it can be written");
    store.balances().expect("it can be read")
}

pub(super) fn carried_by_memory(balances: Vec<Balance>) -> Vec<Balance> {
    stored(&Store::memory(), balances)
}

#[cfg(feature = "file")]
fn carried_by_file(balances: Vec<Balance>) -> Vec<Balance> {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("balances");
    let write = Store::file(&path).expect("it can be opened");
    write.put(balances).expect("it can be written");
    drop(write);
    Store::file(&path).expect("it can be opened").balances().expect("it can be read")
}

/// Takes the same steps with both subjects, and compares the visible results.
pub(super) fn compare(mut ours: Subject, mut theirs: Subject, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut at = DecisionTime { now: NOON * 1_000_000_000, per_mille: 1_000 };
    for step in steps {
        match step {
            Step::Ask { tenant, tokens, cost, units, standing } => {
                let demand = demand(tenant, tokens, cost, units);
                let (ours, theirs) = (ours.decide(&demand, at, standing), theirs.decide(&demand, at, standing));
                prop_assert!(decided_alike(&ours, &theirs), "{ours:?}\n{theirs:?}");
            }
            Step::Settle { which, settlement } => {
                let outcome = ours.settle(which, &settlement, at.now);
                prop_assert_eq!(outcome, theirs.settle(which, &settlement, at.now));
            }
            Step::Pass { nanos } => at.now += nanos,
            Step::Scale { per_mille } => at.per_mille = per_mille,
            Step::Plans { which } => [&mut ours, &mut theirs]
                .into_iter()
                .for_each(|subject| subject.rules = Rules::new(&plans(which), &subject.names)),
            Step::Forget { tenant } => [&ours, &theirs]
                .into_iter()
                .for_each(|subject| block_on(subject.accounts.forget(TENANTS[tenant], &subject.names))),
            Step::Restart => [&mut ours, &mut theirs].into_iter().for_each(Subject::restart),
        }
        for tenant in 0..TENANTS.len() {
            let (ours, theirs) = (ours.levels(tenant, at), theirs.levels(tenant, at));
            prop_assert!(alike(&ours, &theirs), "{ours:?}\n{theirs:?}");
        }
        prop_assert_eq!(ours.balances(), theirs.balances());
        prop_assert_eq!(ours.accounts.open(), theirs.accounts.open());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn conformance_accounts_decide_as_memory(
        (_, make) in prop::sample::select(implementations()),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        compare(Subject::new(in_memory, carried_by_memory), Subject::new(make, carried_by_memory), steps)?;
    }

    /// Spent, reserved and owed amounts are neither lost nor doubled when they go through a store.
    #[test]
    fn conformance_import_keeps_all_that_counts(steps in prop::collection::vec(step(), 1..60)) {
        let mut subject = Subject::new(in_memory, carried_by_memory);
        let at = DecisionTime { now: NOON * 1_000_000_000, per_mille: 1_000 };
        for step in steps {
            if let Step::Ask { tenant, tokens, cost, units, standing } = step {
                let _ = subject.decide(&demand(tenant, tokens, cost, units), at, standing);
            }
        }
        let counted = |subject: &Subject| {
            let balances = subject.exported();
            balances.iter().map(|balance| balance.used() + balance.debt()).sum::<u64>()
        };
        let before = counted(&subject);
        subject.restart();
        prop_assert_eq!(counted(&subject), before);
    }
}

#[cfg(feature = "file")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn conformance_file_decides_as_memory(steps in prop::collection::vec(step(), 1..40)) {
        compare(Subject::new(in_memory, carried_by_memory), Subject::new(in_memory, carried_by_file), steps)?;
    }
}
