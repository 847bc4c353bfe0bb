//! Shard of the table, under one lock.

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::{Demand, account::Account, rules::Group};

/// Accounts of one shard, with their positions by hash.
#[derive(Debug)]
pub(super) struct Shard {
    hasher: RandomState,
    pub(super) slots: Vec<Option<Account>>,
    free: Vec<u32>,
    pub(super) table: HashTable<u32>,
    /// Position that the latest search for idle accounts checked last.
    sweep_cursor: usize,
    uses: u32,
    /// True if an account of the shard has a change to export.
    pub(super) changed: bool,
}

/// Time after which an account that holds nothing is removed, in nanoseconds. If the shard is full, such an account is
/// removed earlier.
const IDLE: u64 = 60_000_000_000;

impl Shard {
    pub(super) fn new(hasher: RandomState) -> Self {
        let (slots, free, table, sweep_cursor, uses, changed) = Default::default();
        Self { hasher, slots, free, table, sweep_cursor, uses, changed }
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, group: &Group, demand: &Demand, plan: &str) -> Option<u32> {
        let is = |index: &u32| {
            let account = self.slots[*index as usize].as_ref();
            account.is_some_and(|account| account.is(group, demand, plan))
        };
        self.table.find(hash, is).copied()
    }

    /// Returns the catch-all account of a group, in which calls are counted when there is no room for another account;
    /// `None` if it does not exist yet.
    pub(super) fn catch_all(&self, group: u32) -> Option<u32> {
        let is = |account: &Account| account.catch_all && account.group == group;
        let at = self.slots.iter().position(|slot| slot.as_ref().is_some_and(is))?;
        u32::try_from(at).ok()
    }

    /// Makes room for another account if the shard is full. To do so, checks up to eight accounts, and removes the
    /// first that holds nothing. Returns `true` if there is room.
    pub(super) fn has_room(&mut self, most: usize, now: u64) -> bool {
        for _ in 0..8 {
            if self.table.len() < most {
                return true;
            }
            self.sweep_cursor = (self.sweep_cursor + 1) % self.slots.len();
            self.forget_idle(self.sweep_cursor, now, 1);
        }
        self.table.len() < most
    }

    /// Counts one use of the shard. Returns `true` after every 32nd use, when a search for idle accounts is due.
    #[inline]
    pub(super) fn count_use(&mut self) -> bool {
        self.uses = self.uses.wrapping_add(1);
        self.uses.is_multiple_of(32)
    }

    /// Checks the next eight accounts, and removes the idle ones.
    pub(super) fn sweep_some(&mut self, now: u64) {
        for _ in 0..self.slots.len().min(8) {
            self.sweep_cursor = (self.sweep_cursor + 1) % self.slots.len();
            self.forget_idle(self.sweep_cursor, now, IDLE);
        }
    }

    pub(super) fn forget_idle(&mut self, index: usize, now: u64, idle: u64) {
        // The absolute difference is used, because the clock may have been set back since the last use of the account.
        let is_idle = |account: &Account| now.abs_diff(account.used_at) >= idle && account.is_blank(now);
        if self.slots[index].as_ref().is_some_and(is_idle) {
            self.remove(index);
        }
    }

    pub(super) fn insert(&mut self, account: Account) -> u32 {
        let hash = account.rehash(&self.hasher);
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("the number of accounts is bounded")
        });
        self.slots[index as usize] = Some(account);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash = |index: &u32| slots[*index as usize].as_ref().map_or(0, |account| account.rehash(hasher));
        self.table.insert_unique(hash, index, rehash);
        index
    }

    pub(super) fn remove(&mut self, index: usize) {
        let Some(account) = self.slots[index].take() else { return };
        if let Ok(entry) = self.table.find_entry(account.rehash(&self.hasher), |known| *known as usize == index) {
            self.free.push(entry.remove().0);
        }
    }
}
