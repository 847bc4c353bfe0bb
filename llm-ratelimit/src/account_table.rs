//! Table of the accounts in memory, in shards.

mod requirement;
mod shard;

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use self::{requirement::Requirement, shard::Shard};
use crate::{
    Balance, Demand, Dimension, LimitStatuses, Settlement, StoreError,
    account::Account,
    account_ref::AccountRef,
    accounts::{Accounts, Alert, Decision, DecisionRequest, RoundTrip, Settled},
    counter::{Counter, State},
    hold::{Hold, Holds},
    rules::{Names, PlanRules},
    scope::Scope,
    window::ImportMode,
};

/// Accounts in shards. A call is decided under the locks of all shards that contain its accounts, which are locked in
/// ascending order. So the call takes all amounts or none, and no two calls take the same room.
#[derive(Debug)]
pub(crate) struct AccountTable {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Largest number of accounts in a shard.
    most: usize,
    /// True after the first export of changes, so that later changes are marked for the next export.
    is_persisted: AtomicBool,
    /// Number of searches for idle accounts so far. Modulo the number of shards, it selects the next shard to search.
    sweep_cursor: AtomicUsize,
}

type Requirements<'a> = SmallVec<[Requirement<'a>; 4]>;
type Guards<'a> = SmallVec<[MutexGuard<'a, Shard>; 4]>;

const SHARDS: usize = 64;

impl AccountTable {
    /// Creates a table of at most `most` accounts, rounded up to a multiple of the number of shards. Catch-all accounts
    /// are added to that number.
    pub(crate) fn new(most: usize) -> Self {
        let hasher = RandomState::default();
        let shard = |_| Mutex::new(Shard::new(hasher.clone()));
        let (is_persisted, sweep_cursor) = Default::default();
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            hasher,
            most: most.div_ceil(SHARDS).max(1),
            is_persisted,
            sweep_cursor,
        }
    }

    fn decide_at_once(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        let DecisionRequest { demand, plan, at, .. } = *request;
        let mut requirements = Requirements::new();
        self.add_requirements(demand, plan, &mut requirements);
        let mut guards = Guards::new();
        self.lock(&mut requirements, &mut guards);
        for requirement in &mut requirements {
            let shard = &mut guards[requirement.guard];
            requirement.find(shard, self.most, demand, &plan.name, at);
            if let Some(blocked) = requirement.check(shard, request)
                && decision.blocked.is_none_or(|worst| blocked.wait >= worst.wait)
            {
                decision.blocked = Some(blocked);
            }
        }
        let is_granted = decision.blocked.is_none();
        for requirement in &mut requirements {
            let shard = &mut guards[requirement.guard];
            if is_granted && requirement.holds(request) {
                self.take(requirement, shard, request, &mut decision.held.holds);
            }
            requirement.add_levels(shard, at, &mut decision.statuses.levels);
        }
        let is_sweep_due = is_granted && guards.iter_mut().fold(false, |due, shard| shard.count_use() | due);
        drop(guards);
        if is_sweep_due {
            self.sweep_some(at.now);
        }
    }

    #[inline]
    fn take(
        &self,
        requirement: &mut Requirement<'_>,
        shard: &mut Shard,
        request: &DecisionRequest<'_>,
        holds: &mut Holds,
    ) {
        let is_persisted = self.is_persisted.load(Relaxed);
        shard.changed |= is_persisted;
        let account = requirement.account(shard, self.most, request.demand, &request.plan.name);
        let account_ref = AccountRef::new(requirement.shard, requirement.index.expect("the account is there"));
        account.take(account_ref, requirement.group, request, holds);
        account.changed |= is_persisted;
    }

    fn forget_tenant(&self, tenant: &str, names: &Names) {
        let is_theirs = |account: &Account| {
            let scope = names.scopes.get(account.group);
            scope.value_of(&Dimension::Tenant, account.values()) == Some(tenant)
        };
        for number in 0..self.shards.len() {
            let mut shard = self.shard(number);
            for index in 0..shard.slots.len() {
                let Some(account) = &mut shard.slots[index] else { continue };
                if account.catch_all || !is_theirs(account) {
                    continue;
                }
                // If changes are exported, the account is kept until this change has been exported too.
                account.changed = self.is_persisted.load(Relaxed);
                account.counters.iter_mut().for_each(Counter::forget);
                let changed = account.changed;
                if account.open == 0 && !account.awaited && !changed {
                    shard.remove(index);
                }
                shard.changed |= changed;
            }
        }
    }

    fn balances(&self, changed: bool, names: &Names) -> Vec<Balance> {
        let mut balances = Vec::new();
        let only_changed = changed && self.is_persisted.swap(true, Relaxed);
        for number in 0..self.shards.len() {
            let mut shard = self.shard(number);
            if only_changed && !shard.changed {
                continue;
            }
            shard.changed &= !changed;
            for account in shard.slots.iter_mut().flatten() {
                if only_changed && !account.changed {
                    continue;
                }
                account.changed &= !changed;
                // A shard's catch-all account has the number of the shard, because each shard has its own.
                let values = || match account.catch_all {
                    true => vec![number.to_string()],
                    false => account.values().map(str::to_owned).collect(),
                };
                for counter in &account.counters {
                    if let State::Window(window) = &counter.state {
                        balances.push(Balance {
                            scope: Scope::clone(&names.scopes.get(account.group)),
                            values: values(),
                            catch_all: account.catch_all,
                            counter: names.counters.get(counter.id).to_string(),
                            window: window.clone(),
                        });
                    }
                }
            }
        }
        balances
    }

    /// Imports a balance. Returns `true` if an account was changed.
    fn restore(&self, balance: Balance, mode: ImportMode, names: &Names) -> bool {
        let Balance { scope, values, catch_all, counter, window } = balance;
        let (group, id) = (names.scopes.id(&scope), names.counters.id(&counter));
        let account = match catch_all {
            true => Account::catch_all(group),
            false => Account::named(group, values.iter().map(String::as_str)),
        };
        let hash = account.rehash(&self.hasher);
        let of_shard = values.first().filter(|_| catch_all).and_then(|number| number.parse::<usize>().ok());
        let mut shard = self.shard(of_shard.map_or_else(|| shard_of(hash), |number| number % SHARDS));
        let same = |index: &u32| {
            let known = shard.slots[*index as usize].as_ref().expect("the table names what there is");
            known.group == group && known.catch_all == catch_all && known.values().eq(account.values())
        };
        let index = shard.table.find(hash, same).copied();
        let index = index.unwrap_or_else(|| shard.insert(account));
        let account = shard.slots[index as usize].as_mut().expect("it was found or inserted");
        let known = account.counters.iter().find_map(|counter| match &counter.state {
            State::Window(window) if counter.id == id => Some(window),
            _ => None,
        });
        let Some(window) = window.imported(known, mode) else { return false };
        account.counters.retain(|counter| counter.id != id);
        account.counters.push(Counter { id, state: State::Window(window) });
        let is_persisted = self.is_persisted.load(Relaxed);
        account.changed |= is_persisted;
        shard.changed |= is_persisted;
        true
    }

    /// Checks a few accounts of the next shard, and removes the idle ones. Does nothing if another thread holds the
    /// shard's lock.
    fn sweep_some(&self, now: u64) {
        let number = self.sweep_cursor.fetch_add(1, Relaxed) % self.shards.len();
        if let Ok(mut shard) = self.shards[number].try_lock() {
            shard.sweep_some(now);
        }
    }

    #[inline(always)]
    fn add_requirements<'a>(&self, demand: &Demand, plan: &'a PlanRules, requirements: &mut Requirements<'a>) {
        for (number, group) in plan.groups.iter().enumerate() {
            if group.scope.includes(demand, &plan.name) {
                let hash = Account::hash(&self.hasher, group, demand, &plan.name);
                requirements.push(Requirement { group, number, hash, shard: shard_of(hash), guard: 0, index: None });
            }
        }
    }

    /// Locks the shards of all requirements, each of them once. All calls lock in ascending order, so that they cannot
    /// deadlock.
    #[inline(always)]
    fn lock<'g>(&'g self, requirements: &mut [Requirement<'_>], guards: &mut Guards<'g>) {
        let mut next = requirements.iter().map(|requirement| requirement.shard).min();
        while let Some(number) = next.take() {
            for requirement in &mut *requirements {
                match requirement.shard.cmp(&number) {
                    Less => {}
                    Equal => requirement.guard = guards.len(),
                    Greater => next = Some(next.map_or(requirement.shard, |least| requirement.shard.min(least))),
                }
            }
            guards.push(self.shard(number));
        }
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        // No code of the application runs under this lock, and no statement panics midway, so a poisoned lock holds
        // consistent accounts.
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts for AccountTable {
    fn try_decide(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        self.decide_at_once(request, decision);
    }

    fn decide<'a>(&'a self, request: &'a DecisionRequest<'a>, decision: &'a mut Decision) -> Option<RoundTrip<'a, ()>> {
        self.decide_at_once(request, decision);
        None
    }

    fn levels<'a>(&'a self, request: DecisionRequest<'a>) -> RoundTrip<'a, LimitStatuses> {
        Box::pin(async move {
            let DecisionRequest { demand, plan, at, .. } = request;
            let mut statuses = LimitStatuses::new(Arc::clone(plan), at);
            let mut requirements = Requirements::new();
            self.add_requirements(demand, plan, &mut requirements);
            let mut guards = Guards::new();
            self.lock(&mut requirements, &mut guards);
            for requirement in &mut requirements {
                let shard = &mut guards[requirement.guard];
                requirement.find(shard, self.most, demand, &plan.name, at);
                requirement.advance(shard, at);
                requirement.add_levels(shard, at, &mut statuses.levels);
            }
            statuses
        })
    }

    fn forget<'a>(&'a self, tenant: &'a str, names: &'a Names) -> RoundTrip<'a, ()> {
        Box::pin(async move { self.forget_tenant(tenant, names) })
    }

    fn export<'a>(&'a self, changed: bool, names: &'a Names) -> RoundTrip<'a, Result<Vec<Balance>, StoreError>> {
        Box::pin(async move { Ok(self.balances(changed, names)) })
    }

    fn import<'a>(
        &'a self,
        balances: Vec<Balance>,
        mode: ImportMode,
        names: &'a Names,
    ) -> RoundTrip<'a, Result<usize, StoreError>> {
        Box::pin(async move {
            let changes = balances.into_iter().map(|balance| self.restore(balance, mode, names));
            Ok(changes.filter(|changed| *changed).count())
        })
    }

    fn settle(&self, holds: &[Hold], settlement: &Settlement, now: u64, alert_shares: &[u8]) -> Settled {
        let mut settled = Settled::default();
        for holds in holds.chunk_by(|a, b| a.account_ref == b.account_ref) {
            let account_ref = holds[0].account_ref;
            let mut shard = self.shard(account_ref.part());
            let Some(account) = shard.slots[account_ref.index()].as_mut() else { continue };
            for hold in holds {
                let used = settlement.amount(hold.kind, hold.amount);
                let counters = &mut account.counters;
                let Some(counter) = counters.iter_mut().find(|counter| counter.id == hold.counter) else { continue };
                let (shares, debt) = counter.settle(hold.mark, hold.amount, used, now, alert_shares);
                if debt > 0 {
                    settled.debts.push((hold.kind, debt));
                }
                if let (Some(shares), State::Window(window)) = (shares, &counter.state) {
                    let (used, until) = (window.carried.saturating_add(window.spent), window.until);
                    let (group, counter) = (account.group, hold.counter);
                    let values = match account.catch_all {
                        true => vec!["(all others)".to_owned()],
                        false => account.values().map(str::to_owned).collect(),
                    };
                    settled.alerts.push(Alert { group, counter, values, shares, used, until });
                }
            }
            account.open -= 1;
            let is_persisted = self.is_persisted.load(Relaxed);
            account.changed |= is_persisted;
            if account.awaited {
                settled.awaited.push(account_ref);
            }
            shard.changed |= is_persisted;
        }
        settled
    }

    fn set_awaited(&self, account_ref: AccountRef, awaited: bool) {
        if let Some(account) = &mut self.shard(account_ref.part()).slots[account_ref.index()] {
            account.awaited = awaited;
        }
    }

    fn open(&self) -> usize {
        let open =
            |number| self.shard(number).slots.iter().flatten().map(|account| account.open as usize).sum::<usize>();
        (0..self.shards.len()).map(open).sum()
    }

    fn len(&self) -> usize {
        (0..self.shards.len()).map(|number| self.shard(number).table.len()).sum()
    }

    fn sweep(&self, now: u64) {
        for number in 0..self.shards.len() {
            let mut shard = self.shard(number);
            for index in 0..shard.slots.len() {
                shard.forget_idle(index, now, 0);
            }
        }
    }
}

fn shard_of(hash: u64) -> usize {
    // The hash table uses the low bits and the top seven bits, so other bits select the shard.
    (hash >> 40) as usize % SHARDS
}
