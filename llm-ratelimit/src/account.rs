//! All counters of one group of limits for one tenant, model, label, … or for everybody.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::{
    Demand,
    counter::{Counter, Moment},
    rules::{Group, Rule},
};

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) group: u32,
    /// Its values of the group's aspects, one after the other.
    text: Box<str>,
    /// Where each of them ends.
    ends: SmallVec<[u32; 2]>,
    pub(crate) hash: u64,
    /// It stands for all that found no room of their own.
    pub(crate) overflow: bool,
    /// Reservations that are open.
    pub(crate) open: u32,
    /// Somebody waits for room in it, so nobody else may take it first.
    pub(crate) awaited: bool,
    /// It changed since it was last told.
    pub(crate) changed: bool,
    /// When it was last used, in nanoseconds since 1970.
    pub(crate) used_at: u64,
    pub(crate) counters: SmallVec<[Counter; 1]>,
}

impl Account {
    pub(crate) fn new(group: &Group, demand: &Demand, plan: &str, hash: u64) -> Self {
        let values = group.per.iter().map(|aspect| aspect.of(demand, plan).to_owned());
        Self::named(group.id, values, hash)
    }

    pub(crate) fn named(group: u32, values: impl Iterator<Item = String>, hash: u64) -> Self {
        let (mut text, mut ends) = (String::new(), SmallVec::new());
        for value in values {
            text += &value;
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
        let (overflow, open, awaited, changed, used_at, counters) = Default::default();
        Self { group, text: text.into(), ends, hash, overflow, open, awaited, changed, used_at, counters }
    }

    pub(crate) fn overflow(group: u32, hash: u64) -> Self {
        Self { overflow: true, ..Self::named(group, std::iter::empty(), hash) }
    }

    /// The hash of the account that a call counts in.
    pub(crate) fn hash(state: &RandomState, group: &Group, demand: &Demand, plan: &str) -> u64 {
        hash(state, group.id, group.per.iter().map(|aspect| aspect.of(demand, plan)))
    }

    /// The hash of this account.
    pub(crate) fn rehash(&self, state: &RandomState) -> u64 {
        hash(state, self.group, self.values())
    }

    /// Whether it is the one that a call counts in.
    pub(crate) fn is(&self, group: &Group, demand: &Demand, plan: &str) -> bool {
        self.group == group.id
            && !self.overflow
            && self.ends.len() == group.per.len()
            && self.values().zip(&group.per).all(|(value, aspect)| value == aspect.of(demand, plan))
    }

    /// Its values of the group's aspects.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.text[begin as usize..*end as usize])
    }

    /// A rule's counter, brought to now.
    pub(crate) fn counter(&mut self, rule: &Rule, at: Moment) -> Option<&mut Counter> {
        let counter = self.counters.iter_mut().find(|counter| counter.id == rule.id)?;
        counter.advance(rule, at);
        Some(counter)
    }

    /// A rule's counter, brought to now; a new one if there is none.
    pub(crate) fn ensure(&mut self, rule: &Rule, at: Moment) -> &mut Counter {
        let known = self.counters.iter().position(|counter| counter.id == rule.id);
        let known = known.unwrap_or_else(|| {
            let mut counter = Counter::new(rule, at);
            counter.advance(rule, at);
            self.counters.push(counter);
            self.counters.len() - 1
        });
        &mut self.counters[known]
    }

    /// Whether nothing would be lost if it were forgotten.
    pub(crate) fn is_blank(&self, now: u64) -> bool {
        self.open == 0 && !self.awaited && !self.changed && self.counters.iter().all(|counter| counter.is_blank(now))
    }
}

fn hash<'a>(state: &RandomState, group: u32, values: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u32(group);
    for value in values {
        hasher.write(value.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_small_as_the_builder_says() {
        // Beside it: its name, and five to ten bytes in the table of places.
        let (account, counter) = (size_of::<Option<Account>>(), size_of::<Counter>());
        println!("{account} bytes, of which {counter} are the first counter");
        assert!(account <= 224 && counter <= 104);
    }
}
