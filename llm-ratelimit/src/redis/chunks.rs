//! Chunks: amounts of accounts that this process has leased, and from which it decides without a round trip. The module
//! does no I/O, and callers pass the time.
//!
//! A lease is a reservation of the process in Redis. When it is renewed or used up, a new lease takes its place. The
//! amounts that calls took from the old lease stay reserved under its number until the last of these calls ends. The
//! rest moves to the new lease.

use std::{collections::HashMap, sync::Arc};

use super::{
    chunk::{Chunk, Taking, Times},
    layout::{self, Tag},
};
use crate::{account_ref::AccountRef, accounts::DecisionRequest, hold::Holds, rules::Group};

/// Chunks of all accounts.
#[derive(Debug, Default)]
pub(super) struct Chunks(HashMap<AccountRef, Chunk>);

/// Number of accounts with chunks above which unused chunks are forgotten.
const ACCOUNTS: usize = 10_000;

impl Chunks {
    /// Calls `with` on an account's chunk, and returns its result. Returns the default if the account has no chunk.
    pub(super) fn with<T: Default>(&mut self, at: AccountRef, with: impl FnOnce(&mut Chunk) -> T) -> T {
        self.0.get_mut(&at).map(with).unwrap_or_default()
    }

    /// Adds an account without counters, for calls that may wait for room in it.
    pub(super) fn remember(&mut self, at: AccountRef, tag_of: impl FnOnce() -> Arc<Tag>) {
        self.0.entry(at).or_insert_with(|| Chunk::new(tag_of()));
    }

    /// Takes the amounts that a call needs from the chunks of all `groups`, or takes nothing.
    pub(super) fn take<'a>(
        &mut self,
        request: &DecisionRequest<'a>,
        groups: impl Iterator<Item = (usize, &'a Group)> + Clone,
        times: Times,
        tag_of: impl Fn(&Group) -> Arc<Tag>,
        holds: &mut Holds,
    ) -> Taking {
        let plan = &request.plan.name;
        for (number, group) in groups.clone() {
            let at = layout::account_ref(group, request.demand, plan);
            let chunk = self.0.entry(at).or_insert_with(|| Chunk::new(tag_of(group)));
            chunk.provide(group, request, at);
            if let Some(taking) = chunk.obstacle(request, (number, group), at, times) {
                return taking;
            }
        }
        for (_, group) in groups {
            let at = layout::account_ref(group, request.demand, plan);
            if let Some(chunk) = self.0.get_mut(&at) {
                chunk.take(group, request, at, holds);
            }
        }
        Taking::Taken
    }

    /// Returns the accounts whose chunks must be reported or renewed. If there are more than [`ACCOUNTS`] chunks,
    /// unused chunks are forgotten.
    pub(super) fn due(&mut self) -> Vec<AccountRef> {
        if self.0.len() > ACCOUNTS {
            self.0.retain(|_, chunk| !chunk.is_idle());
        }
        self.0.iter().filter(|(_, chunk)| chunk.is_due()).map(|(at, _)| *at).collect()
    }

    /// Returns the number of open calls that took from the current leases.
    pub(super) fn open(&self) -> usize {
        self.0.values().map(|chunk| chunk.open).sum()
    }
}
