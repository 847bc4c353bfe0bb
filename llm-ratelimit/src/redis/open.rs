//! Open reservations of this process. The module does no I/O.

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use super::{
    layout::Tag,
    script_request::{RuleNeed, ScriptRequest},
};
use crate::{Settlement, hold::Hold, kind::Kind};

/// Open reservations in Redis, by number.
#[derive(Debug, Default)]
pub(super) struct OpenReservations(HashMap<u64, Reserved>);

/// Reservation in Redis, either of one call or of all calls that took from one lease.
#[derive(Clone, Debug)]
pub(super) struct Reserved {
    pub(super) number: u64,
    /// Accounts and amounts that are reserved.
    pub(super) script_request: ScriptRequest,
    /// Number of calls that have not ended.
    calls: usize,
    /// Amounts that ended calls used.
    pub(super) used: Amounts,
    /// Amounts that ended calls reserved and did not use.
    unused: Amounts,
    /// Number of partial settlements so far.
    pub(super) partial: u64,
    /// True if another partial settlement is due.
    is_changed: bool,
    /// True once the server has the amounts of the reservation.
    is_confirmed: bool,
}

/// Amounts in the order of a request's rules.
pub(super) type Amounts = SmallVec<[u64; 4]>;

impl Reserved {
    /// Creates the reservation of one call.
    pub(super) fn of_call(number: u64, script_request: ScriptRequest) -> Self {
        let used = script_request.rules.iter().map(|_| 0).collect();
        Self { is_confirmed: true, ..Self::of_lease(number, script_request, 1, used) }
    }

    /// Creates the reservation of the calls that took from a lease. `used` holds the amounts used by calls that have
    /// ended.
    pub(super) fn of_lease(number: u64, script_request: ScriptRequest, calls: usize, used: Amounts) -> Self {
        let unused = used.iter().map(|_| 0).collect();
        Self { number, script_request, calls, used, unused, partial: 0, is_changed: false, is_confirmed: false }
    }

    /// Returns the amounts that remain reserved after a partial settlement.
    pub(super) fn remaining(&self) -> impl Iterator<Item = u64> {
        let remains = |(need, unused): (&RuleNeed, &u64)| need.take.unwrap_or(0).saturating_sub(*unused);
        self.script_request.rules.iter().zip(&self.unused).map(remains)
    }

    fn settle(&mut self, holds: &[Hold], settlement: &Settlement) {
        self.calls = self.calls.saturating_sub(1);
        for hold in holds {
            let is_its = |need: &RuleNeed| (need.account_ref, need.rule.id) == (hold.account_ref, hold.counter);
            let Some(at) = self.script_request.rules.iter().position(is_its) else { continue };
            let used = settlement.amount(hold.kind, hold.amount);
            let unused = hold.amount.saturating_sub(used);
            self.used[at] = self.used[at].saturating_add(used);
            self.unused[at] = self.unused[at].saturating_add(unused);
            self.is_changed |= unused > 0 && hold.kind != Kind::Slots;
        }
    }

    /// Returns a copy for the next partial settlement; `None` if nothing has changed since the last one.
    fn next_partial(&mut self) -> Option<Self> {
        if !self.is_confirmed || !std::mem::take(&mut self.is_changed) {
            return None;
        }
        self.partial += 1;
        Some(self.clone())
    }
}

impl OpenReservations {
    pub(super) fn add(&mut self, reserved: Reserved) {
        self.0.insert(reserved.number, reserved);
    }

    /// Settles one call of a reservation. Removes and returns the reservation, if this was its last call.
    pub(super) fn settle(&mut self, number: u64, holds: &[Hold], by: &Settlement) -> Option<Reserved> {
        self.change(number, |reserved| reserved.settle(holds, by))
    }

    /// Records that the server has the amounts of a reservation. Removes and returns it, if all its calls have ended.
    pub(super) fn confirm(&mut self, number: u64) -> Option<Reserved> {
        self.change(number, |reserved| reserved.is_confirmed = true)
    }

    /// Changes a reservation. Removes and returns it, if it can then be settled as a whole.
    fn change(&mut self, number: u64, change: impl FnOnce(&mut Reserved)) -> Option<Reserved> {
        let reserved = self.0.get_mut(&number)?;
        change(reserved);
        if reserved.calls == 0 && reserved.is_confirmed { self.0.remove(&number) } else { None }
    }

    /// Returns the reservations for which a partial settlement is due, because ended calls left amounts unused.
    pub(super) fn partial(&mut self) -> Vec<Reserved> {
        self.0.values_mut().filter_map(Reserved::next_partial).collect()
    }

    /// Returns the numbers of the reservations that the server has, by hash tag.
    pub(super) fn by_tag(&self) -> HashMap<Arc<str>, (Arc<Tag>, Vec<u64>)> {
        let mut by_tag: HashMap<Arc<str>, (Arc<Tag>, Vec<u64>)> = HashMap::new();
        for Reserved { number, script_request: ScriptRequest { tag, .. }, .. } in self.confirmed() {
            let numbers = by_tag.entry(tag.accounts.as_str().into()).or_insert_with(|| (Arc::clone(tag), Vec::new()));
            numbers.1.push(*number);
        }
        by_tag
    }

    /// Returns the open reservations under a hash tag, reduced to their amounts outside of calendar windows.
    pub(super) fn unwindowed(&self, tag: &Tag) -> Vec<(u64, ScriptRequest)> {
        let of_tag = self.confirmed().filter(|reserved| reserved.script_request.tag.accounts == tag.accounts);
        of_tag.filter_map(|reserved| Some((reserved.number, reserved.script_request.unwindowed()?))).collect()
    }

    fn confirmed(&self) -> impl Iterator<Item = &Reserved> {
        self.0.values().filter(|reserved| reserved.is_confirmed)
    }

    /// Returns the number of open calls. A call counts once for each account that it is reserved in.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|reserved| reserved.calls * reserved.script_request.accounts()).sum()
    }
}
