//! Who has used what, in memory: a striped table of accounts.

mod need;
mod stripe;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
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
    rules::{Kind, Names, PlanRules, Rule, Rules},
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

/// Why a call cannot have what it asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocked {
    /// The account that has no room; `None` if there is no such account yet.
    pub(crate) spot: Option<Spot>,
    /// Which of the plan's groups.
    pub(crate) group: usize,
    /// Which of the group's rules; `None` if others wait for that account.
    pub(crate) rule: Option<usize>,
    pub(crate) wait: Wait,
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
    pub(crate) fn new(most: usize, rules: &Arc<Rules>) -> Self {
        let hasher = RandomState::default();
        let stripe = |_| Mutex::new(Stripe::new(hasher.clone(), Arc::clone(rules)));
        let (kept, hand) = Default::default();
        Self { stripes: (0..STRIPES).map(stripe).collect(), hasher, most: most.div_ceil(STRIPES).max(1), kept, hand }
    }

    /// Puts other rules in force for what goes the short way.
    pub(crate) fn replace(&self, rules: &Arc<Rules>) {
        for number in 0..self.stripes.len() {
            let old = std::mem::replace(&mut self.stripe(number).rules, Arc::clone(rules));
            drop(old);
        }
    }

    /// The short way: takes what a call needs if that is all in its tenant's own account, which is there and has room, so
    /// that one lock and one hash do. `None`: nothing was taken, and it is to be decided at length.
    pub(crate) fn take_own(&self, demand: &Demand, at: Moment, holds: &mut Holds) -> Option<()> {
        let hash = Account::hash_of(&self.hasher, &demand.tenant);
        let number = stripe_of(hash);
        let mut locked = self.stripe(number);
        let stripe = &mut *locked;
        let plan = stripe.rules.of(&demand.tenant);
        let group = plan.own()?;
        let index = stripe.find(hash, group, demand, &plan.name)?;
        let account = stripe.slots[index as usize].as_mut().expect("the table names what there is");
        let spot = Spot::new(number, index);
        account.take_if_free(spot, group, demand, at, holds).then_some(())?;
        let kept = self.kept.load(Relaxed);
        account.changed |= kept;
        stripe.changed |= kept;
        stripe.own += 1;
        let tends = stripe.counts_a_use();
        drop(locked);
        if tends {
            self.tend(at.now);
        }
        Some(())
    }

    /// How many reservations were made the short way.
    pub(crate) fn own(&self) -> u64 {
        (0..self.stripes.len()).map(|number| self.stripe(number).own).sum()
    }

    /// Takes all that a call needs, or nothing. Who has waited for an account is not held up by those who wait for it.
    pub(crate) fn take(&self, demand: &Demand, plan: &PlanRules, at: Moment, waited: bool) -> Result<Holds, Blocked> {
        let mut needs = self.needs(demand, plan);
        let mut guards = self.lock(&needs);
        let mut worst: Option<Blocked> = None;
        for need in &mut needs {
            let stripe = guard(&mut guards, need.stripe);
            need.index = stripe.find(need.hash, need.group, demand, &plan.name);
            if need.index.is_none() && !stripe.has_room(self.most, at.now) {
                need.index = stripe.overflow(need.group.id);
            }
            let blocked = need.check(stripe, demand, at, waited);
            worst = worst.into_iter().chain(blocked).max_by_key(|blocked| blocked.wait);
        }
        if let Some(blocked) = worst {
            return Err(blocked);
        }
        let mut holds = Holds::new();
        let kept = self.kept.load(Relaxed);
        for need in needs.iter_mut().filter(|need| need.holds(demand)) {
            let account = need.account(guard(&mut guards, need.stripe), self.most, demand, &plan.name);
            let spot = Spot::new(need.stripe, need.index.expect("the account is there"));
            account.take(spot, need.group, demand, at, &mut holds);
            account.changed |= kept;
            guard(&mut guards, need.stripe).changed |= kept;
        }
        let tends = guards.iter_mut().fold(false, |tends, (_, stripe)| stripe.counts_a_use() || tends);
        drop(guards);
        if tends {
            self.tend(at.now);
        }
        Ok(holds)
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

    /// How each of a call's limits stands.
    pub(crate) fn levels<'a>(&self, demand: &Demand, plan: &'a PlanRules, at: Moment) -> Vec<(&'a Rule, Level)> {
        let mut levels = Vec::new();
        for need in self.needs(demand, plan) {
            let mut stripe = self.stripe(need.stripe);
            let index = stripe.find(need.hash, need.group, demand, &plan.name).or_else(|| {
                let full = !stripe.has_room(self.most, at.now);
                if full { stripe.overflow(need.group.id) } else { None }
            });
            for rule in &need.group.rules {
                let account = index.and_then(|index| stripe.slots[index as usize].as_mut());
                let counter = account.and_then(|account| account.counter(rule, at).cloned());
                let counter = counter.unwrap_or_else(|| {
                    let mut blank = Counter::new(rule, at);
                    blank.advance(rule, at);
                    blank
                });
                levels.push((rule, counter.level(rule, at)));
            }
        }
        levels
    }

    /// Says whether somebody waits for an account.
    pub(crate) fn await_room(&self, spot: Spot, awaited: bool) {
        if let Some(account) = &mut self.stripe(spot.stripe.into()).slots[spot.index as usize] {
            account.awaited = awaited;
        }
    }

    /// Forgets all accounts for which `whose` says so. What has open reservations keeps their places, and nothing else.
    pub(crate) fn forget(&self, whose: impl Fn(u32, &mut dyn Iterator<Item = &str>) -> bool) {
        for number in 0..self.stripes.len() {
            let mut stripe = self.stripe(number);
            for index in 0..stripe.slots.len() {
                let Some(account) = &mut stripe.slots[index] else { continue };
                if account.overflow || !whose(account.group, &mut account.values()) {
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
                            group: names.name(account.group).to_string(),
                            values: account.values().map(str::to_owned).collect(),
                            overflow: account.overflow,
                            counter: names.name(counter.id).to_string(),
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
            let Balance { group, values, overflow, counter, mut window } = balance;
            window.lose_reservations();
            let (group, id) = (names.id(&group), names.id(&counter));
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

    fn needs<'a>(&self, demand: &Demand, plan: &'a PlanRules) -> Needs<'a> {
        let groups = plan.groups.iter().enumerate().filter(|(_, group)| group.applies(demand, &plan.name));
        groups
            .map(|(number, group)| {
                let hash = Account::hash(&self.hasher, group, demand, &plan.name);
                Need { group, number, hash, stripe: stripe_of(hash), index: None }
            })
            .collect()
    }

    /// The stripes of all needs, each once, in ascending order: whoever locks several locks them in this order.
    fn lock(&self, needs: &[Need<'_>]) -> Guards<'_> {
        if let [need] = needs {
            return smallvec::smallvec![(need.stripe, self.stripe(need.stripe))];
        }
        let mut numbers: SmallVec<[usize; 4]> = needs.iter().map(|need| need.stripe).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|number| (number, self.stripe(number))).collect()
    }

    fn stripe(&self, number: usize) -> MutexGuard<'_, Stripe> {
        // Nothing foreign runs under this lock, and nothing in it panics half way.
        self.stripes[number].lock().unwrap_or_else(PoisonError::into_inner)
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
