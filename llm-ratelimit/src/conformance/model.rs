//! Property test with random quotas, demands, settlements, cancellations, plan changes and jumps of the clock in both
//! directions, through every implementation of accounts. The model keeps a log of all calls and adds it up for every
//! decision.

use std::time::Duration;

use llm_core::{Clock, ManualClock};

use proptest::prelude::*;

use super::{Make, NOON, ask, implementations, noon, used};
use crate::{
    Calendar, CalendarUnit, Limit, Limiter, Plans, Quota, Refusal, Reservation, Settlement, runtime::block_on,
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask {
        tenant: usize,
        tokens: u64,
    },
    /// Settles a call, which used this percentage of its reserved tokens.
    Settle {
        which: usize,
        percent: u64,
    },
    Cancel {
        which: usize,
    },
    Lose {
        which: usize,
    },
    Pass {
        millis: u64,
    },
    /// Sets the clock back.
    Back {
        millis: u64,
    },
    Plan {
        tokens: u64,
        slots: usize,
    },
}

/// Call in the log.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tenant: usize,
    /// Time for which the tenant's bucket had drained when the call began, in milliseconds.
    at: u64,
    /// Day whose window counts the call.
    day: u64,
    /// Tokens that count for the call: the reserved tokens while it runs, and the used tokens once it has ended.
    tokens: u64,
    /// Requests that count for the call: 0 if it was cancelled, and 1 otherwise.
    requests: u64,
    running: bool,
}

const TENANTS: [&str; 2] = ["a", "b"];
const DAY: u64 = 86_400_000;

/// State of a tenant, as far as the log does not contain it.
#[derive(Clone, Copy, Debug, Default)]
struct Tenant {
    /// Time at which the tenant was last used, in milliseconds since the test began.
    seen: u64,
    /// Total time for which the tenant's bucket has drained, in milliseconds. If the clock is set back, the repeated
    /// time counts again.
    drained: u64,
    /// Latest day in which the tenant was used, as a number of days since the first day of the test.
    day: u64,
}

impl Tenant {
    fn look(&mut self, now: u64) {
        match now.checked_sub(self.seen) {
            Some(passed) => self.drained += passed,
            // The clock of another thread may be late by less than a second.
            None if self.seen - now < 1_000 => return,
            None => {}
        }
        self.seen = now;
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2usize, 0..400u64).prop_map(|(tenant, tokens)| Step::Ask { tenant, tokens }),
        3 => (any::<usize>(), 0..=100u64).prop_map(|(which, percent)| Step::Settle { which, percent }),
        1 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        1 => any::<usize>().prop_map(|which| Step::Lose { which }),
        3 => (0..6_000u64).prop_map(|millis| Step::Pass { millis }),
        1 => (0..3 * DAY).prop_map(|millis| Step::Pass { millis }),
        1 => prop_oneof![0..5_000u64, 0..2 * DAY].prop_map(|millis| Step::Back { millis }),
        1 => (1..2_000u64, 1..6usize).prop_map(|(tokens, slots)| Step::Plan { tokens, slots }),
    ]
}

/// Returns plans with an additional limit for all tenants together, which is never reached, so that several accounts
/// take part in a decision.
fn plans(tokens: u64, slots: usize, (rate, burst): (u64, u64), several: bool) -> Plans {
    let each = [format!("{tokens} tokens/day"), format!("{slots} concurrent"), format!("{rate}/minute burst {burst}")];
    let plans = Plans::uniform(each.iter().map(String::as_str)).expect("they are right");
    let wide = Limit::from("1000000/day".parse::<Quota>().expect("it is right"));
    if several { plans.limit(wide).expect("it is right") } else { plans }
}

/// Returns `true` if a correctly draining bucket has room for one more request, computed from the log. It counts
/// thousandths of a request.
fn bucket_has_room(log: &[Entry], tenant: usize, now: u64, (rate, burst): (u64, u64)) -> bool {
    let (mut level, mut at) = (0u64, 0);
    let drained = |from: u64, to: u64| (to - from) * rate;
    for entry in log.iter().filter(|entry| entry.tenant == tenant) {
        level = level.saturating_sub(drained(at, entry.at)) + entry.requests * 60_000;
        at = entry.at;
    }
    level.saturating_sub(drained(at, now)) + 60_000 <= burst * 60_000
}

/// Returns the day of a time. The test begins at noon.
fn day(at: u64) -> u64 {
    (at + DAY / 2) / DAY
}

fn cases() -> ProptestConfig {
    let is_full = std::env::var("LLM_FULL").is_ok_and(|full| full == "1");
    ProptestConfig::with_cases(if is_full { 2_000 } else { 48 })
}

fn limiter(make: Make, plans: Plans, clock: &ManualClock) -> Limiter {
    let mut builder = Limiter::builder(plans).clock(clock.clone());
    builder.accounts = Some(make());
    builder.build().expect("the plans are right")
}

fn reserve(limiter: &Limiter, tenant: &str, tokens: u64) -> Result<Reservation, Refusal> {
    block_on(limiter.reserve(&ask(tenant).tokens(tokens, 0)))
}

/// Limiter under test, and the log of its calls.
struct Run {
    clock: ManualClock,
    limiter: Limiter,
    tokens_limit: u64,
    slots_limit: usize,
    rate: (u64, u64),
    several: bool,
    tenants: [Tenant; 2],
    log: Vec<Entry>,
    /// Running calls, by their positions in the log. The first two run throughout, so that no tenant is removed.
    open: Vec<(usize, Reservation)>,
    /// Milliseconds since the test began.
    now: u64,
    /// Latest time from which the clock was set back.
    latest: u64,
    /// True if a bucket may be fuller than the model computes, because the server drains repeated time once less, or
    /// because a returned amount may have drained already in place of another call's amount.
    gave_back: bool,
}

impl Run {
    fn new(make: Make, rate: (u64, u64), several: bool) -> Self {
        let (clock, tokens_limit, slots_limit) = (noon(), 1_000, 3);
        let limiter = limiter(make, plans(tokens_limit, slots_limit, rate, several), &clock);
        let (mut log, mut open) = (Vec::new(), Vec::new());
        for (tenant, name) in TENANTS.into_iter().enumerate() {
            open.push((tenant, reserve(&limiter, name, 1).expect("there is room")));
            log.push(Entry { tenant, at: 0, day: 0, tokens: 1, requests: 1, running: true });
        }
        let (tenants, now, latest, gave_back) = Default::default();
        Self { clock, limiter, tokens_limit, slots_limit, rate, several, tenants, log, open, now, latest, gave_back }
    }

    fn ask(&mut self, tenant: usize, tokens: u64) -> Result<(), TestCaseError> {
        let state = &mut self.tenants[tenant];
        state.look(self.now);
        state.day = state.day.max(day(self.now));
        let Tenant { drained: at, day, .. } = *state;
        let (today, limit) = (self.tokens_of(tenant, day), self.tokens_limit);
        let running = self.log.iter().filter(|entry| entry.tenant == tenant && entry.running).count();
        let fits =
            today + tokens <= limit && running < self.slots_limit && bucket_has_room(&self.log, tenant, at, self.rate);
        match reserve(&self.limiter, TENANTS[tenant], tokens) {
            Ok(reservation) => {
                prop_assert!(fits, "granted with {today} of {limit} spent");
                self.open.push((self.log.len(), reservation));
                self.log.push(Entry { tenant, at, day, tokens, requests: 1, running: true });
            }
            Err(refusal) => prop_assert!(self.gave_back || !fits, "refused: {refusal}"),
        }
        Ok(())
    }

    /// Sets the clock back. After a large step, an earlier window becomes the current one again.
    fn set_back(&mut self, millis: u64, drains_once: bool) {
        self.latest = self.now.max(self.latest);
        self.gave_back |= drains_once;
        self.now = self.now.saturating_sub(millis).max(self.latest.saturating_sub(3 * DAY));
    }

    fn plan(&mut self, tokens: u64, slots: usize) {
        (self.tokens_limit, self.slots_limit) = (tokens, slots);
        self.limiter.replace(&plans(tokens, slots, self.rate, self.several)).expect("the plans are right");
    }

    /// Ends one of the calls that do not run throughout; `None` if there is no such call.
    fn end(&mut self, which: usize) -> Option<(&mut Entry, Reservation)> {
        let others = self.open.len().checked_sub(2).filter(|others| *others > 0)?;
        let (at, reservation) = self.open.swap_remove(2 + which % others);
        let entry = &mut self.log[at];
        entry.running = false;
        Some((entry, reservation))
    }

    fn settle(&mut self, which: usize, percent: u64) {
        let Some((entry, reservation)) = self.end(which) else { return };
        entry.tokens = entry.tokens * percent / 100;
        reservation.settle(used(entry.tokens, 0));
    }

    fn cancel(&mut self, which: usize) {
        let Some((entry, reservation)) = self.end(which) else { return };
        (entry.tokens, entry.requests) = (0, 0);
        let tenant = entry.tenant;
        self.tenants[tenant].look(self.now);
        self.gave_back = true;
        drop(reservation);
    }

    fn lose(&mut self, which: usize) {
        let Some((_, mut reservation)) = self.end(which) else { return };
        reservation.mark_sent();
        drop(reservation);
    }

    /// Cancels all calls that still run, and compares the tokens of the last day.
    fn check_usage(mut self) -> Result<(), TestCaseError> {
        for (at, reservation) in std::mem::take(&mut self.open) {
            self.log[at].tokens = 0;
            reservation.settle(Settlement::Unsent);
        }
        for (tenant, name) in TENANTS.into_iter().enumerate() {
            let usage = block_on(self.limiter.usage(name));
            let status = usage.iter().nth(self.several.into()).expect("the tokens of a day");
            let last = self.tenants[tenant].day.max(day(self.now));
            prop_assert_eq!((status.used, status.reserved), (self.tokens_of(tenant, last), 0));
        }
        Ok(())
    }

    fn tokens_of(&self, tenant: usize, day: u64) -> u64 {
        let entries = self.log.iter().filter(|entry| entry.tenant == tenant && entry.day == day);
        entries.map(|entry| entry.tokens).sum()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn model_log_decides_alike(
        (name, make) in prop::sample::select(implementations()),
        steps in prop::collection::vec(step(), 1..150),
        rate in (1..90u64, 2..9u64),
        several: bool,
    ) {
        let mut run = Run::new(make, rate, several);
        for step in steps {
            match step {
                Step::Ask { tenant, tokens } => run.ask(tenant, tokens)?,
                Step::Pass { millis } => run.now += millis,
                // A refusal in Redis does not write the time, so a bucket drains the repeated time once less there,
                // never more often.
                Step::Back { millis } => run.set_back(millis, name == "redis"),
                Step::Plan { tokens, slots } => run.plan(tokens, slots),
                Step::Settle { which, percent } => run.settle(which, percent),
                Step::Cancel { which } => run.cancel(which),
                Step::Lose { which } => run.lose(which),
            }
            run.clock.set_unix(Duration::from_secs(NOON) + Duration::from_millis(run.now));
        }
        run.check_usage()?;
    }

    /// Checks that a refused call does not fit before the time that the refusal states, and fits at that time.
    #[test]
    fn retry_after_is_the_time_that_fits(
        (_, make) in prop::sample::select(implementations()),
        calls in prop::collection::vec((0..300u64, 0..200u64, 0..40_000u64), 1..40),
        (rate, burst) in (60..2_000u64, 300..600u64),
        tokens in 0..300u64,
    ) {
        let clock = noon();
        let each = [format!("{rate} tokens/minute burst {burst}"), "5000 tokens/day".to_owned(), "7/minute burst 3".to_owned()];
        let plans = Plans::uniform(each.iter().map(String::as_str)).expect("they are right");
        let limiter = limiter(make, plans, &clock);
        let take = |tokens| reserve(&limiter, "a", tokens);
        for (tokens, percent, pause) in calls {
            if let Ok(reservation) = take(tokens) {
                reservation.settle(used(tokens * percent / 100, 0));
            }
            clock.advance(Duration::from_millis(pause));
        }
        if let Err(refusal) = take(tokens) {
            let after = refusal.retry_after().expect("it will fit");
            // The clock has a resolution of a microsecond.
            let early = Duration::from_micros(u64::try_from(after.as_micros()).expect("soon").saturating_sub(1));
            clock.advance(early);
            prop_assert!(take(tokens).is_err() || after < Duration::from_micros(2), "it fits {after:?} too early");
            clock.advance(Duration::from_micros(2));
            prop_assert!(take(tokens).is_ok(), "it does not fit after {after:?}");
        }
    }

    /// Usage beyond the reservation is never lost, because the following windows pay it to the last token.
    #[test]
    fn debt_every_excess_is_paid(
        (_, make) in prop::sample::select(implementations()),
        calls in prop::collection::vec((1..100u64, 0..300u64, 0..30u64), 1..60),
    ) {
        let clock = noon();
        let limiter = limiter(make, plans(100, 5, (30, 5), false), &clock);
        let (mut spent, mut excess, mut hours) = (0, 0, 0);
        for (tokens, actual, pause) in calls {
            if let Ok(reservation) = reserve(&limiter, "a", tokens) {
                reservation.settle(used(actual, 0));
                spent += actual;
                excess = excess.max(actual.saturating_sub(tokens));
            }
            let days = (12 + hours) / 24 + 1;
            prop_assert!(spent <= days * 100 + excess, "{spent} in {days} days, at most {excess} beyond one reservation");
            hours += pause;
            clock.advance(Duration::from_secs(3_600 * pause));
        }
    }
}

#[test]
fn model_days_are_calendar_days() {
    let day_of = Calendar::utc(CalendarUnit::Day);
    assert_eq!((day_of.unit(), day_of.zone(), NOON % 86_400), (CalendarUnit::Day, "UTC", 43_200));
    assert!(noon().now() > std::time::UNIX_EPOCH);
}
