//! Who has used what, in memory: a striped table of accounts.

mod need;
mod stripe;

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use self::{need::Need, stripe::Stripe};
use crate::{
    Balance, Demand, Settlement,
    account::Account,
    bucket::Mark,
    counter::{Counter, Level, Moment, State, Wait},
    rules::{Kind, Names, PlanRules},
    scope::Scope,
};

/// A table of accounts. All that one call needs is decided under the locks of all its stripes, taken in their order, so it
/// gets everything or nothing, and no two calls get the same room.
#[derive(Debug)]
pub(crate) struct Books {
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
    /// The most accounts of one stripe.
    most: usize,
    /// Somebody keeps what changes.
    kept: AtomicBool,
    /// The stripe in which idle accounts are looked for next.
    hand: AtomicUsize,
}

/// Where an account is. It stays there while it has open reservations or is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spot {
    stripe: u8,
    index: u32,
}

/// What a call holds of one counter.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) spot: Spot,
    pub(crate) counter: u32,
    pub(crate) kind: Kind,
    pub(crate) amount: u64,
    pub(crate) mark: Mark,
}

pub(crate) type Holds = SmallVec<[Hold; 2]>;

/// The levels of all of a plan's rules, in their order.
pub(crate) type Levels = SmallVec<[Level; 4]>;

/// Why a call cannot have what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) wait: Wait,
    /// The account that has no room; `None` if there is no such account yet.
    pub(crate) spot: Option<Spot>,
    /// Which of the plan's groups.
    pub(crate) group: u16,
    /// Which of the group's rules; `None` if others wait for that account.
    pub(crate) rule: Option<u16>,
}

/// A counter that passed thresholds.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) group: u32,
    pub(crate) counter: u32,
    pub(crate) values: Vec<String>,
    /// One bit for each of [`THRESHOLDS`](crate::window::THRESHOLDS).
    pub(crate) bits: u8,
    pub(crate) used: u64,
    pub(crate) until: u64,
}

/// What settling brought about.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) passed: Vec<Passed>,
    /// Debt that was made, of what kind.
    pub(crate) debts: SmallVec<[(Kind, u64); 1]>,
    /// Accounts that others wait for.
    pub(crate) awaited: SmallVec<[Spot; 2]>,
}

type Needs<'a> = SmallVec<[Need<'a>; 4]>;
type Guards<'a> = SmallVec<[(usize, MutexGuard<'a, Stripe>); 4]>;

const STRIPES: usize = 64;

impl Hold {
    /// Whether something comes back by this, or more is used.
    pub(crate) fn is_moved_by(&self, actual: &Settlement) -> bool {
        actual.amount(self.kind, self.amount) != self.amount
    }
}

impl Spot {
    fn new(stripe: usize, index: u32) -> Self {
        Self { stripe: u8::try_from(stripe).expect("there are 64"), index }
    }
}

impl Books {
    /// Books of at most so many accounts.
    pub(crate) fn new(most: usize) -> Self {
        let hasher = RandomState::default();
        let stripe = |_| Mutex::new(Stripe::new(hasher.clone()));
        let (kept, hand) = Default::default();
        Self { stripes: (0..STRIPES).map(stripe).collect(), hasher, most: most.div_ceil(STRIPES).max(1), kept, hand }
    }

    /// Takes all that a call needs, or nothing; then it returns the reason. Adds the levels of all of the plan's rules right
    /// after that. Who has waited for an account is not held up by those who wait for it.
    pub(crate) fn decide(
        &self,
        demand: &Demand,
        plan: &PlanRules,
        at: Moment,
        waited: bool,
        holds: &mut Holds,
        levels: &mut Levels,
    ) -> Option<Blocked> {
        let mut needs = Needs::new();
        self.add_needs(demand, plan, &mut needs);
        let mut guards = Guards::new();
        self.lock(&needs, &mut guards);
        let mut worst: Option<Blocked> = None;
        for need in &mut needs {
            let stripe = guard(&mut guards, need.stripe);
            need.find(stripe, self.most, demand, &plan.name, at);
            if let Some(blocked) = need.check(stripe, demand, at, waited)
                && worst.is_none_or(|worst| blocked.wait >= worst.wait)
            {
                worst = Some(blocked);
            }
        }
        let mut tends = false;
        if worst.is_none() {
            self.take(&mut needs, &mut guards, demand, plan, at, holds);
            for (_, stripe) in &mut guards {
                tends |= stripe.counts_a_use();
            }
        }
        add_levels(&needs, &mut guards, plan, at, levels);
        drop(guards);
        if tends {
            self.tend(at.now);
        }
        worst
    }

    #[inline]
    fn take(
        &self,
        needs: &mut Needs<'_>,
        guards: &mut Guards<'_>,
        demand: &Demand,
        plan: &PlanRules,
        at: Moment,
        holds: &mut Holds,
    ) {
        let kept = self.kept.load(Relaxed);
        for need in needs.iter_mut().filter(|need| need.holds(demand)) {
            let stripe = guard(guards, need.stripe);
            stripe.changed |= kept;
            let account = need.account(stripe, self.most, demand, &plan.name);
            let spot = Spot::new(need.stripe, need.index.expect("the account is there"));
            account.take(spot, need.group, demand, at, holds);
            account.changed |= kept;
        }
    }

    /// Turns what a call holds into what it used.
    pub(crate) fn settle(&self, holds: &[Hold], actual: &Settlement, now: u64) -> Settled {
        let mut settled = Settled::default();
        for holds in holds.chunk_by(|a, b| a.spot == b.spot) {
            let spot = holds[0].spot;
            let mut stripe = self.stripe(spot.stripe.into());
            let Some(account) = stripe.slots[spot.index as usize].as_mut() else { continue };
            for hold in holds {
                let used = actual.amount(hold.kind, hold.amount);
                let counters = &mut account.counters;
                let Some(counter) = counters.iter_mut().find(|counter| counter.id == hold.counter) else { continue };
                let (bits, debt) = counter.settle(hold.mark, hold.amount, used, now);
                if debt > 0 {
                    settled.debts.push((hold.kind, debt));
                }
                if bits != 0
                    && let State::Window(window) = &counter.state
                {
                    let (used, until) = (window.carried.saturating_add(window.spent), window.until);
                    let (group, counter) = (account.group, hold.counter);
                    let values = match account.overflow {
                        true => vec!["(all others)".to_owned()],
                        false => account.values().map(str::to_owned).collect(),
                    };
                    settled.passed.push(Passed { group, counter, values, bits, used, until });
                }
            }
            account.open -= 1;
            let kept = self.kept.load(Relaxed);
            account.changed |= kept;
            if account.awaited {
                settled.awaited.push(spot);
            }
            stripe.changed |= kept;
        }
        settled
    }

    /// Adds the levels of a call's limits.
    pub(crate) fn levels(&self, demand: &Demand, plan: &PlanRules, at: Moment, levels: &mut Levels) {
        let mut needs = Needs::new();
        self.add_needs(demand, plan, &mut needs);
        let mut guards = Guards::new();
        self.lock(&needs, &mut guards);
        for need in &mut needs {
            let stripe = guard(&mut guards, need.stripe);
            need.find(stripe, self.most, demand, &plan.name, at);
            need.advance(stripe, at);
        }
        add_levels(&needs, &mut guards, plan, at, levels);
    }

    /// Says whether somebody waits for an account.
    pub(crate) fn await_room(&self, spot: Spot, awaited: bool) {
        if let Some(account) = &mut self.stripe(spot.stripe.into()).slots[spot.index as usize] {
            account.awaited = awaited;
        }
    }

    /// Forgets all accounts of scopes and values for which `whose` says so. What has open reservations keeps their places,
    /// and nothing else.
    pub(crate) fn forget(&self, names: &Names, whose: impl Fn(&Scope, &mut dyn Iterator<Item = &str>) -> bool) {
        for number in 0..self.stripes.len() {
            let mut stripe = self.stripe(number);
            for index in 0..stripe.slots.len() {
                let Some(account) = &mut stripe.slots[index] else { continue };
                if account.overflow || !whose(&names.scopes.get(account.group), &mut account.values()) {
                    continue;
                }
                // Whoever keeps the balances must be told, so then it stays until it has been.
                account.changed = self.kept.load(Relaxed);
                account.counters.iter_mut().for_each(Counter::forget);
                let changed = account.changed;
                if account.open == 0 && !account.awaited && !changed {
                    stripe.remove(index);
                }
                stripe.changed |= changed;
            }
        }
    }

    /// What the calendar windows hold: of all accounts, or of those that changed since this was last asked. Asked for the
    /// first time, that is all.
    pub(crate) fn balances(&self, changed: bool, names: &Names) -> Vec<Balance> {
        let mut balances = Vec::new();
        let only_changed = changed && self.kept.swap(true, Relaxed);
        for number in 0..self.stripes.len() {
            let mut stripe = self.stripe(number);
            if only_changed && !stripe.changed {
                continue;
            }
            stripe.changed &= !changed;
            for account in stripe.slots.iter_mut().flatten() {
                if only_changed && !account.changed {
                    continue;
                }
                account.changed &= !changed;
                for counter in &account.counters {
                    if let State::Window(window) = &counter.state {
                        balances.push(Balance {
                            scope: Scope::clone(&names.scopes.get(account.group)),
                            values: account.values().map(str::to_owned).collect(),
                            overflow: account.overflow,
                            counter: names.counters.get(counter.id).to_string(),
                            window: window.clone(),
                        });
                    }
                }
            }
        }
        balances
    }

    /// Puts balances back. What was reserved when they were told counts as spent: nobody knows better.
    pub(crate) fn restore(&self, balances: impl IntoIterator<Item = Balance>, names: &Names) {
        for balance in balances {
            let Balance { scope, values, overflow, counter, mut window } = balance;
            window.lose_reservations();
            let (group, id) = (names.scopes.id(&scope), names.counters.id(&counter));
            let account = match overflow {
                true => Account::overflow(group),
                false => Account::named(group, values.iter().map(String::as_str)),
            };
            let hash = account.rehash(&self.hasher);
            let mut stripe = self.stripe(stripe_of(hash));
            let same = |index: &u32| {
                let known = stripe.slots[*index as usize].as_ref().expect("the table names what there is");
                known.group == group && known.overflow == overflow && known.values().eq(account.values())
            };
            let index = stripe.table.find(hash, same).copied();
            let index = index.unwrap_or_else(|| stripe.insert(account));
            let account = stripe.slots[index as usize].as_mut().expect("it was found or inserted");
            account.counters.retain(|counter| counter.id != id);
            account.counters.push(Counter { id, state: State::Window(window) });
        }
    }

    /// How many reservations are open, each counted once for every account it is in.
    pub(crate) fn open(&self) -> usize {
        let open =
            |number| self.stripe(number).slots.iter().flatten().map(|account| account.open as usize).sum::<usize>();
        (0..self.stripes.len()).map(open).sum()
    }

    /// How many accounts there are.
    pub(crate) fn len(&self) -> usize {
        (0..self.stripes.len()).map(|number| self.stripe(number).table.len()).sum()
    }

    /// Forgets what has been idle, all at once.
    pub(crate) fn sweep(&self, now: u64) {
        for number in 0..self.stripes.len() {
            let mut stripe = self.stripe(number);
            for index in 0..stripe.slots.len() {
                stripe.forget_idle(index, now, 0);
            }
        }
    }

    /// Looks at a few accounts of one stripe after the other, so that idle ones do not stay for long.
    fn tend(&self, now: u64) {
        let number = self.hand.fetch_add(1, Relaxed) % self.stripes.len();
        if let Ok(mut stripe) = self.stripes[number].try_lock() {
            stripe.tend(now);
        }
    }

    #[inline]
    fn add_needs<'a>(&self, demand: &Demand, plan: &'a PlanRules, needs: &mut Needs<'a>) {
        for (number, group) in plan.groups.iter().enumerate() {
            if group.scope.includes(demand, &plan.name) {
                let hash = Account::hash(&self.hasher, group, demand, &plan.name);
                needs.push(Need { group, number, hash, stripe: stripe_of(hash), index: None });
            }
        }
    }

    /// Locks the stripes of all needs, each once, in ascending order: whoever locks several locks them in this order.
    #[inline]
    fn lock<'g>(&'g self, needs: &[Need<'_>], guards: &mut Guards<'g>) {
        let mut next = needs.iter().map(|need| need.stripe).min();
        while let Some(number) = next {
            guards.push((number, self.stripe(number)));
            next = needs.iter().map(|need| need.stripe).filter(|other| *other > number).min();
        }
    }

    fn stripe(&self, number: usize) -> MutexGuard<'_, Stripe> {
        // Nothing foreign runs under this lock, and nothing in it panics half way.
        self.stripes[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the levels of a plan's rules. The accounts of the needs have been found and advanced, and are locked.
#[inline]
fn add_levels(needs: &Needs<'_>, guards: &mut Guards<'_>, plan: &PlanRules, at: Moment, levels: &mut Levels) {
    let mut needs = needs.iter().peekable();
    for (number, group) in plan.groups.iter().enumerate() {
        let need = needs.next_if(|need| need.number == number);
        let need = need.map(|need| (need, guard(guards, need.stripe)));
        for rule in &group.rules {
            levels.push(need.as_ref().map_or(Level::Unused, |(need, stripe)| need.level(stripe, rule, at)));
        }
    }
}

fn stripe_of(hash: u64) -> usize {
    // The table uses the low bits and the top seven.
    (hash >> 40) as usize % STRIPES
}

fn guard<'g>(guards: &'g mut Guards<'_>, number: usize) -> &'g mut Stripe {
    let at = guards.iter().position(|(locked, _)| *locked == number).expect("all that is needed is locked");
    &mut guards[at].1
}
