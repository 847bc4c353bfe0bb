//! Account: the counters of a group of limits, for one combination of values (tenant, model, label, …).

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::{
    Demand,
    account_ref::AccountRef,
    accounts::DecisionRequest,
    counter::{Counter, DecisionTime},
    hold::{Hold, Holds},
    rules::{Group, Rule},
};

/// Terminator of a value. UTF-8 text never contains this byte.
const END: u8 = 0xff;

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) group: u32,
    /// Values of the account, one for each dimension of the group. Each is followed by [`END`].
    values: SmallVec<[u8; 24]>,
    /// True for the catch-all account, in which calls are counted when the table has no room for another account.
    pub(crate) catch_all: bool,
    /// Number of open reservations that hold an amount in this account.
    pub(crate) open: u32,
    /// True if a call waits for room in the account, so that no new call takes the room first.
    pub(crate) awaited: bool,
    /// True once the account has a change to export. Changes are marked only after the first export of changes.
    pub(crate) changed: bool,
    /// Time of the account's last use, in nanoseconds since 1970.
    pub(crate) used_at: u64,
    pub(crate) counters: SmallVec<[Counter; 1]>,
}

impl Account {
    pub(crate) fn new(group: &Group, demand: &Demand, plan: &str) -> Self {
        Self::named(group.id, group.scope.values(demand, plan))
    }

    pub(crate) fn named<'a>(group: u32, of: impl Iterator<Item = &'a str>) -> Self {
        let mut values = SmallVec::new();
        for value in of {
            values.extend_from_slice(value.as_bytes());
            values.push(END);
        }
        let (catch_all, open, awaited, changed, used_at, counters) = Default::default();
        Self { group, values, catch_all, open, awaited, changed, used_at, counters }
    }

    pub(crate) fn catch_all(group: u32) -> Self {
        Self { catch_all: true, ..Self::named(group, std::iter::empty()) }
    }

    /// Returns the hash of the account that counts a call. The hash covers only the values, so that the accounts of all
    /// groups with the same values, such as a tenant's name, are in one shard, under one lock.
    #[inline]
    pub(crate) fn hash(state: &RandomState, group: &Group, demand: &Demand, plan: &str) -> u64 {
        hash(state, group.scope.values(demand, plan))
    }

    /// Returns the hash of this account, as [`hash`](Self::hash) computes it.
    pub(crate) fn rehash(&self, state: &RandomState) -> u64 {
        hash(state, self.values())
    }

    /// Returns `true` if the account belongs to the group and has the call's values. The catch-all account never
    /// matches.
    #[inline]
    pub(crate) fn is(&self, group: &Group, demand: &Demand, plan: &str) -> bool {
        let mut rest = &*self.values;
        let mut next = |value: &str| {
            let found = rest.strip_prefix(value.as_bytes()).and_then(|rest| rest.strip_prefix(&[END]));
            found.map(|found| rest = found).is_some()
        };
        let all = group.scope.values(demand, plan).all(&mut next);
        all && rest.is_empty() && self.group == group.id && !self.catch_all
    }

    /// Returns the values of the account, in the order of the group's dimensions.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        let values = self.values.split_inclusive(|byte| *byte == END);
        values.map(|value| std::str::from_utf8(&value[..value.len() - 1]).expect("it was text"))
    }

    /// Returns the counter of a rule, advanced to the present; `None` if the account has no counter for the rule.
    #[inline]
    pub(crate) fn counter(&mut self, rule: &Rule, at: DecisionTime) -> Option<&mut Counter> {
        let counter = self.counters.iter_mut().find(|counter| counter.id == rule.id)?;
        counter.advance(rule, at);
        Some(counter)
    }

    /// Takes the amounts that a call needs, even if there is no room. Adds them to `holds`, and counts one open
    /// reservation. The caller must have advanced the counters to the present.
    #[inline]
    pub(crate) fn take(
        &mut self,
        account_ref: AccountRef,
        group: &Group,
        request: &DecisionRequest<'_>,
        holds: &mut Holds,
    ) {
        let at = request.at;
        self.used_at = at.now;
        self.counters.reserve_exact(group.rules.len().saturating_sub(self.counters.len()));
        for rule in &group.rules {
            if let Some(amount) = request.takes(rule) {
                let mark = self.ensure(rule, at).take(amount);
                holds.push(Hold { account_ref, counter: rule.id, kind: rule.kind, amount, mark });
            }
        }
        self.open += 1;
    }

    /// Returns the counter of a rule, and creates it if the account does not have it.
    #[inline]
    fn ensure(&mut self, rule: &Rule, at: DecisionTime) -> &mut Counter {
        let known = self.counters.iter().position(|counter| counter.id == rule.id);
        let known = known.unwrap_or_else(|| {
            self.counters.push(Counter::new(rule, at));
            self.counters.len() - 1
        });
        &mut self.counters[known]
    }

    /// Returns `true` if the account holds nothing that must be kept, so that it can be removed.
    pub(crate) fn is_blank(&self, now: u64) -> bool {
        self.open == 0 && !self.awaited && !self.changed && self.counters.iter().all(|counter| counter.is_blank(now))
    }
}

fn hash<'a>(state: &RandomState, values: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = state.build_hasher();
    for value in values {
        hasher.write(value.as_bytes());
        hasher.write_u8(END);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_is_as_small_as_documented() {
        // Besides these sizes, an account takes memory for values of more than 24 bytes, and five to ten bytes in the
        // hash table.
        let (account, counter) = (size_of::<Option<Account>>(), size_of::<Counter>());
        println!("{account} bytes, of which {counter} are the first counter");
        assert!(account <= 160 && counter <= 80);
    }
}
