//! Tests of debt that becomes known late: over any history, usage is at most the limits of the windows plus the debt at
//! the end.

use std::{collections::BTreeMap, time::Duration};

use llm_core::{ManualClock, Usage};
use llm_ratelimit::{Demand, Limit, LimitStatus, Limiter, Plans, Reservation, Settlement};
use proptest::prelude::*;

use crate::support::{AtOnce, DAY, HOUR, NOON, ask, cost, limits, nanos, noon, unpriced, used};

#[test]
fn late_excess_is_paid_by_next_window() {
    for (quota, span) in [("100 tokens/day", DAY), ("100 tokens/week", 7 * DAY), ("100 tokens/month", 31 * DAY)] {
        let clock = noon();
        let limiter = limits([quota]).clock(clock.clone()).build().unwrap();
        let take = |tokens| limiter.try_reserve(&ask("a").tokens(tokens, 0));
        let status = || limiter.usage("a").at_once().iter().next().unwrap().clone();
        let running = take(10).unwrap();
        take(90).unwrap().settle(used(90, 0));
        clock.advance(status().reset);
        take(100).unwrap().settle(used(100, 0));
        running.settle(used(60, 0));
        assert_eq!((status().debt, status().used, status().remaining), (50, 150, 0), "{quota}");
        assert!(status().reset <= span);
        clock.advance(status().reset);
        assert_eq!((status().debt, status().remaining), (50, 50), "{quota}");
        assert!(take(51).is_err(), "{quota}");
        take(50).unwrap().settle(used(50, 0));
        clock.advance(status().reset);
        assert_eq!((status().debt, status().remaining), (0, 100), "{quota}");
    }
}

#[test]
fn late_debt_survives_restart() {
    let clock = noon();
    let limiter = limits(["$1/day"]).prices(unpriced()).clock(clock.clone()).build().unwrap();
    let take = |limiter: &Limiter, cost| limiter.try_reserve(&ask("a").cost(nanos(cost)));
    let running = take(&limiter, 100_000_000).unwrap();
    take(&limiter, 900_000_000).unwrap().settle(cost(900_000_000));
    clock.advance(DAY);
    take(&limiter, 1_000_000_000).unwrap().settle(cost(1_000_000_000));
    running.settle(cost(600_000_000));
    let json = serde_json::to_string(&limiter.balances().at_once()).unwrap();
    let after = limits(["$1/day"]).prices(unpriced()).clock(clock.clone()).build().unwrap();
    after.restore(serde_json::from_str::<Vec<_>>(&json).unwrap()).at_once();
    clock.advance(DAY);
    assert!(take(&after, 500_000_001).is_err());
    take(&after, 500_000_000).unwrap().settle(cost(500_000_000));
}

#[test]
fn late_refund_cancels_debt_of_its_window() {
    let clock = noon();
    let limiter = limits(["100 tokens/day"]).clock(clock.clone()).build().unwrap();
    let take = |tokens| limiter.try_reserve(&ask("a").tokens(tokens, 0)).unwrap();
    let (large, small) = (take(50), take(50));
    small.settle(used(100, 0));
    clock.advance(DAY);
    assert_eq!(limiter.usage("a").at_once().iter().next().unwrap().remaining, 50);
    large.settle(Settlement::Unsent);
    assert_eq!(limiter.usage("a").at_once().iter().next().unwrap().remaining, 100, "yesterday took 100 in all");
}

#[test]
fn raised_limit_covers_debt_of_its_window() {
    let clock = noon();
    let plans = |tokens: u64| Plans::uniform([format!("{tokens} tokens/day").as_str()]).unwrap();
    let limiter = Limiter::builder(plans(100)).clock(clock.clone()).build().unwrap();
    let status = || limiter.usage("a").at_once().iter().next().unwrap().clone();
    limiter.try_reserve(&ask("a").tokens(50, 0)).unwrap().settle(used(150, 0));
    assert_eq!(status().debt, 50);
    limiter.replace(&plans(200)).unwrap();
    assert_eq!((status().debt, status().remaining), (0, 50));
    limiter.replace(&plans(100)).unwrap();
    assert_eq!((status().debt, status().remaining), (0, 0), "a lowered limit makes no debt");
    clock.advance(DAY);
    assert_eq!(status().remaining, 100);
}

/// A window pays debt within its own limit, not within that of the next window.
#[test]
fn raised_limit_pays_no_earlier_debt() {
    let clock = noon();
    let plans = |tokens: u64| Plans::uniform([format!("{tokens} tokens/day").as_str()]).unwrap();
    let limiter = Limiter::builder(plans(10)).clock(clock.clone()).build().unwrap();
    limiter.try_reserve(&ask("a").tokens(10, 0)).unwrap().settle(used(100, 0));
    clock.advance(2 * DAY);
    limiter.replace(&plans(1_000)).unwrap();
    let status = limiter.usage("a").at_once().iter().next().unwrap().clone();
    assert_eq!((status.debt, status.remaining), (80, 920), "the first window and one more paid 10 each");
}

/// Tenants without an account of their own share one, whose debt is kept as well.
#[test]
fn catch_all_account_keeps_late_debt() {
    let clock = noon();
    let limiter = limits(["100 tokens/day"]).clock(clock.clone()).max_accounts(1).build().unwrap();
    let tenants: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let running: Vec<Reservation> =
        tenants.iter().filter_map(|tenant| limiter.try_reserve(&ask(tenant)).ok()).collect();
    assert_eq!((running.len(), limiter.stats().accounts < 200), (200, true));
    clock.advance(DAY);
    tenants.iter().for_each(|tenant| drop(limiter.try_reserve(&ask(tenant))));
    limiter.sweep();
    running.into_iter().for_each(|reservation| reservation.settle(used(150, 0)));
    assert_eq!(limiter.balances().at_once().iter().map(llm_ratelimit::Balance::used).sum::<u64>(), 200 * 150);
    clock.advance(DAY);
    assert!(tenants.iter().all(|tenant| limiter.try_reserve(&ask(tenant).tokens(60, 0)).is_err()));
}

/// A store holds the balances of all shared accounts, of which each shard of the table has its own.
#[test]
fn catch_all_accounts_survive_restart() {
    let open = || limits(["100 tokens/day"]).clock(noon()).max_accounts(1).build().unwrap();
    let total = |limiter: &Limiter| limiter.balances().at_once().iter().map(llm_ratelimit::Balance::used).sum::<u64>();
    let (before, after, store) = (open(), open(), llm_ratelimit::Store::memory());
    for number in 0..200 {
        before.try_reserve(&ask(&number.to_string()).tokens(1, 0)).unwrap().settle(used(1, 0));
    }
    assert_eq!(total(&before), 200);
    store.put(before.balances().at_once()).unwrap();
    after.restore(store.balances().unwrap()).at_once();
    assert_eq!(total(&after), 200);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { input: u64, output: u64, cost: i64 },
    Settle { which: usize, input: u64, output: u64, cost: i64 },
    Cancel { which: usize },
    Lose { which: usize },
    Pass { millis: u64 },
    Back { millis: u64 },
    Plan { tokens: u64 },
    Restart,
    Sweep,
}

/// Generates an amount, which is zero in a third of all cases.
fn amount(most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 2 => 0..most]
}

fn step() -> impl Strategy<Value = Step> {
    let day = 86_400_000u64;
    let ask = (amount(300), amount(200), 0..900i64);
    let settle = (any::<usize>(), amount(600), amount(400), 0..2_000i64);
    prop_oneof![
        8 => ask.prop_map(|(input, output, cost)| Step::Ask { input, output, cost }),
        5 => settle.prop_map(|(which, input, output, cost)| Step::Settle { which, input, output, cost }),
        1 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        1 => any::<usize>().prop_map(|which| Step::Lose { which }),
        3 => (0..20_000u64).prop_map(|millis| Step::Pass { millis }),
        4 => (0..2 * day).prop_map(|millis| Step::Pass { millis }),
        1 => (0..40 * day).prop_map(|millis| Step::Pass { millis }),
        1 => (0..day).prop_map(|millis| Step::Back { millis }),
        1 => (100..2_000u64).prop_map(|tokens| Step::Plan { tokens }),
        1 => Just(Step::Restart),
        1 => Just(Step::Sweep),
    ]
}

/// Returns plans with one limit of each kind and span. The first limit changes at run time.
fn plans(tokens: u64) -> Plans {
    let each = [
        format!("{tokens} tokens/day"),
        "$0.000002/day in Europe/Berlin".to_owned(),
        "2000 input tokens/week".to_owned(),
        "5000 output tokens/month".to_owned(),
        "600 tokens/minute burst 900".to_owned(),
        "$0.000004/minute".to_owned(),
    ];
    let plans = Plans::uniform(each.iter().map(String::as_str)).expect("they are right");
    let wide = |quota: &str| quota.parse::<Limit>().expect("it is right");
    plans
        .limit(wide("1500 tokens/day"))
        .and_then(|plans| plans.limit(wide("900 output tokens/week per model")))
        .expect("they are right")
}

/// Counted amounts, in the order of tokens, input, output and money.
type Amounts = [u64; 4];

fn free() -> Demand {
    ask("a").cost(nanos(0))
}

/// Amounts and events of a history.
struct History {
    clock: ManualClock,
    limiter: Limiter,
    /// Call that runs throughout if the clock may be set back. Without it, an idle account would be removed, and with
    /// it the information that its window has ended.
    anchor: Option<Reservation>,
    open: Vec<(Amounts, Reservation)>,
    /// Amounts that all calls used, and in `reserved`, amounts that running calls have reserved.
    used: Amounts,
    /// The same amounts of calls since the last restart, because buckets do not survive a restart.
    recent: Amounts,
    /// Amounts that settled calls used beyond their reservations.
    excess: Amounts,
    /// Time that has passed forward since the last restart.
    passed: Duration,
    now: Duration,
    latest: Duration,
    tokens: u64,
    /// Windows that were entered, for each limit and by their ends, with the highest limit that was in force.
    windows: Vec<BTreeMap<u128, u64>>,
}

fn amounts(input: u64, output: u64, cost: i64) -> Amounts {
    [input + output, input, output, u64::try_from(cost).expect("not negative")]
}

impl History {
    fn new(anchored: bool) -> Self {
        let (clock, tokens) = (noon(), 1_000);
        let limiter =
            Limiter::builder(plans(tokens)).prices(unpriced()).clock(clock.clone()).build().expect("they are right");
        let (used, recent, excess, open, passed) = Default::default();
        let now = Duration::from_secs(NOON);
        let mut history = Self {
            clock,
            limiter,
            anchor: None,
            open,
            used,
            recent,
            excess,
            passed,
            now,
            latest: now,
            tokens,
            windows: vec![BTreeMap::new(); 8],
        };
        history.look();
        history.anchor = anchored.then(|| history.limiter.try_reserve(&free()).expect("there is room"));
        history
    }

    /// Records the current windows, as an account without usage sees them.
    fn look(&mut self) {
        for (status, windows) in self.limit_statuses("nobody").iter().zip(&mut self.windows) {
            let end = (self.now + status.reset).as_nanos();
            let limit = windows.entry(end).or_default();
            *limit = status.amount.max(*limit);
        }
    }

    fn limit_statuses(&self, tenant: &str) -> Vec<LimitStatus> {
        let statuses =
            self.limiter.limit_statuses(&Demand::new(tenant, if tenant == "nobody" { "none" } else { "m" })).at_once();
        statuses.iter().collect()
    }

    fn count(&mut self, before: Amounts, after: Amounts) {
        for sum in [&mut self.used, &mut self.recent] {
            *sum = std::array::from_fn(|i| sum[i] - before[i] + after[i]);
        }
    }

    fn go_to(&mut self, now: Duration) {
        self.now = now;
        self.latest = self.latest.max(now);
        self.clock.set_unix(now);
        self.look();
    }

    fn end(&mut self, which: usize, end: impl FnOnce(Amounts, Reservation) -> Amounts) {
        if !self.open.is_empty() {
            let (reserved, reservation) = self.open.swap_remove(which % self.open.len());
            let counted = end(reserved, reservation);
            self.excess = std::array::from_fn(|i| self.excess[i] + counted[i].saturating_sub(reserved[i]));
            self.count(reserved, counted);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask { input, output, cost } => {
                let demand = ask("a").tokens(input, output).cost(nanos(cost));
                if let Ok(reservation) = self.limiter.try_reserve(&demand) {
                    let reserved = amounts(input, output, cost);
                    self.count([0; 4], reserved);
                    self.open.push((reserved, reservation));
                }
            }
            Step::Settle { which, input, output, cost } => self.end(which, |_, reservation| {
                reservation.settle(Settlement::Used { usage: Usage::new(input, output), cost: Some(nanos(cost)) });
                amounts(input, output, cost)
            }),
            Step::Cancel { which } => self.end(which, |_, reservation| {
                drop(reservation);
                [0; 4]
            }),
            Step::Lose { which } => self.end(which, |reserved, mut reservation| {
                reservation.mark_sent();
                reserved
            }),
            Step::Pass { millis } => {
                let (mut left, quarter) = (Duration::from_millis(millis), 6 * HOUR);
                self.passed += left;
                while left > Duration::ZERO {
                    self.go_to(self.now + left.min(quarter));
                    left = left.saturating_sub(quarter);
                }
            }
            // A larger step back would bring earlier windows back.
            Step::Back { .. } if self.anchor.is_none() => {}
            Step::Back { millis } => {
                let back = self.now - Duration::from_millis(millis);
                self.go_to(back.max(self.latest - DAY));
            }
            Step::Plan { tokens } => {
                self.tokens = tokens;
                self.limiter.replace(&plans(tokens)).expect("they are right");
                // A window has the limits that are in force when it is read.
                let seen = self.limit_statuses("a");
                self.look();
                for (status, windows) in seen.iter().zip(&mut self.windows) {
                    let limit = windows.entry((self.now + status.reset).as_nanos()).or_default();
                    *limit = status.amount.max(*limit);
                }
            }
            Step::Restart => self.restart(),
            Step::Sweep => self.limiter.sweep(),
        }
    }

    /// Reserved amounts count as spent.
    fn restart(&mut self) {
        let balances = serde_json::to_string(&self.limiter.balances().at_once()).expect("they can be written");
        self.limiter = Limiter::builder(plans(self.tokens))
            .prices(unpriced())
            .clock(self.clock.clone())
            .build()
            .expect("they are right");
        self.limiter.restore(serde_json::from_str::<Vec<_>>(&balances).expect("they can be read")).at_once();
        self.open.clear();
        self.anchor = self.anchor.take().and_then(|_| self.limiter.try_reserve(&free()).ok());
        (self.recent, self.passed) = Default::default();
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (status, windows) in self.limit_statuses("a").iter().zip(&self.windows) {
            let quota = status.limit.quota();
            let kind = ["tokens", "input tokens", "output tokens", "money"]
                .iter()
                .position(|name| *name == quota.unit().name());
            let kind = kind.expect("one of them");
            if quota.windows().is_none() {
                let minutes = |rate: u64| u128::from(rate) * self.passed.as_nanos() / 60_000_000_000;
                let drained = u64::try_from(minutes(quota.amount())).expect("a few") + 1;
                prop_assert!(
                    self.recent[kind] <= drained + status.used,
                    "{}: {} of {drained} + {}",
                    status.limit,
                    self.recent[kind],
                    status.used
                );
                continue;
            }
            let end = (self.now + status.reset).as_nanos();
            let before: u64 = windows.range(..end).map(|(_, limit)| limit).sum();
            let limit = windows[&end];
            let counted = status.used + status.reserved;
            prop_assert!(
                self.used[kind] <= before + counted,
                "{}: {} used, {before} before, {status:?}",
                status.limit,
                self.used[kind]
            );
            prop_assert!(status.debt <= self.excess[kind], "{}: no more debt than excess", status.limit);
            prop_assert!(
                self.used[kind] <= before + limit + status.debt,
                "{}: {} used in {} windows, {status:?}",
                status.limit,
                self.used[kind],
                windows.len()
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if crate::full() { 2_000 } else { 32 }))]

    #[test]
    fn history_never_exceeds_windows_and_debt(anchored: bool, steps in prop::collection::vec(step(), 1..120)) {
        let mut history = History::new(anchored);
        for step in steps {
            history.step(step);
            history.check()?;
        }
    }
}
