//! The chunk of one counter. Pure: callers pass the time.

use std::collections::BTreeMap;

use super::{
    layout::{self, Stored},
    lease::{At, Entry, PoolReply},
    question::RuleNeed,
};
use crate::{
    account_ref::AccountRef,
    accounts::DecisionRequest,
    counter::{DecisionTime, Wait},
    kind::Kind,
    quota::Span,
    rules::{Group, Rule},
};

/// Chunk of one counter.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) need: RuleNeed,
    pub(super) stored: Option<Stored>,
    /// Amount that is leased.
    pub(super) leased: u64,
    /// Amount of it that calls took and no report has taken over.
    taken: u64,
    /// Amount of it that a report on its way has poured into the bucket.
    pouring: u64,
    /// End of the window in which it is leased, in nanoseconds since 1970; the greatest number for other counters.
    pub(super) until: u64,
    /// Entries of the next report, by window.
    windows: BTreeMap<u64, (u64, u64)>,
    excess: u64,
    batches: Batches,
    /// Entries of the report that was sent last.
    pub(super) sent: Vec<Entry>,
    /// Amount that it leases beyond what is in use.
    pub(super) size: u64,
    /// Amount that was taken since the last renewal.
    consumed: u64,
    /// Needs that found no room since the last report was sent, and those that it states.
    pub(super) pending: Needs,
    pub(super) asked: Needs,
    /// Least amount that the server has refused.
    pub(super) refused: Option<u64>,
}

/// Sum and greatest of several needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    pub(super) sum: u64,
    pub(super) most: u64,
}

/// Amounts that were poured into a bucket together.
#[derive(Debug, Default)]
struct Batches {
    /// Number of the batch in which calls take now.
    current: u64,
    by_number: BTreeMap<u64, Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    /// Place in the bucket, once the server has said it.
    at: Option<At>,
    amount: u64,
    /// Amount that calls gave back after it was poured, and did not report.
    back: u64,
    excess: u64,
    open: usize,
}

impl Needs {
    pub(super) fn add(&mut self, sum: u64, most: u64) {
        (self.sum, self.most) = (self.sum.saturating_add(sum), self.most.max(most));
    }
}

impl Pool {
    pub(super) fn new(group: &Group, rule: &Rule, request: &DecisionRequest<'_>, at: AccountRef) -> Self {
        let is_window = rule.limit.quota().windows().is_some();
        let account = layout::account_of(group, request.demand, &request.plan.name);
        Self {
            need: RuleNeed::new(group, rule, &account, at),
            stored: None,
            leased: 0,
            taken: 0,
            pouring: 0,
            until: if is_window { 0 } else { u64::MAX },
            windows: BTreeMap::new(),
            excess: 0,
            batches: Batches::default(),
            sent: Vec::new(),
            size: 0,
            consumed: 0,
            pending: Needs::default(),
            asked: Needs::default(),
            refused: None,
        }
    }

    /// Returns the time until an amount fits, after the server had no room for it.
    pub(super) fn wait(&self, n: u64, time: DecisionTime) -> Wait {
        let need = RuleNeed { need: Some(n), ..self.need.clone() };
        self.stored.as_ref().map_or(Wait::Unknown, |stored| need.wait(false, stored, time))
    }

    fn is_bucket(&self) -> bool {
        matches!(self.need.limit.quota().span(), Span::Bucket { .. })
    }

    #[inline]
    pub(super) fn available(&self, now: u64) -> u64 {
        if now >= self.until { 0 } else { self.leased.saturating_sub(self.taken).saturating_sub(self.pouring) }
    }

    /// Returns the amount that has to stay leased, because calls hold it and it is in no report.
    pub(super) fn in_use(&self, now: u64) -> u64 {
        let reported = |entry: &Entry| matches!(entry.at, At::Window(until) if until == self.until);
        let reported: u64 = self.sent.iter().filter(|entry| reported(entry)).map(|entry| entry.taken).sum();
        if now >= self.until { 0 } else { self.taken.saturating_sub(reported) }
    }

    /// Takes an amount. Returns its mark: the end of its window, or the number of its batch.
    #[inline]
    pub(super) fn take(&mut self, amount: u64) -> u64 {
        self.taken = self.taken.saturating_add(amount);
        self.consumed = self.consumed.saturating_add(amount);
        if self.until < u64::MAX {
            return self.until;
        }
        if self.is_bucket() {
            let current = self.batches.current;
            self.batches.by_number.entry(current).or_default().open += 1;
        }
        self.batches.current
    }

    pub(super) fn settle(&mut self, mark: u64, amount: u64, used: u64) {
        let (back, excess) = (amount.saturating_sub(used), used.saturating_sub(amount));
        if self.need.kind == Kind::Slots {
            self.taken = self.taken.saturating_sub(amount);
            return;
        }
        if self.is_bucket() {
            let batch = self.batches.by_number.entry(mark).or_default();
            batch.open = batch.open.saturating_sub(1);
            if mark == self.batches.current {
                self.taken = self.taken.saturating_sub(back);
                self.excess = self.excess.saturating_add(excess);
            } else {
                batch.back = batch.back.saturating_add(back);
                batch.excess = batch.excess.saturating_add(excess);
            }
            return;
        }
        // What a call of this window gives back is there for others at once. That of an earlier one goes to the server.
        let is_current = mark == self.until;
        let entry = self.windows.entry(mark).or_default();
        entry.0 += if is_current { amount - back } else { amount };
        entry.1 += used;
        if is_current {
            self.taken = self.taken.saturating_sub(back);
        }
    }

    /// Moves what is to be reported into a report.
    pub(super) fn entries(&mut self) -> Vec<Entry> {
        let windows = std::mem::take(&mut self.windows).into_iter();
        let mut entries: Vec<Entry> =
            windows.map(|(until, (taken, used))| Entry { at: At::Window(until), taken, used }).collect();
        if !self.is_bucket() {
            return entries;
        }
        self.batches.by_number.retain(|_, batch| {
            let Some(at) = batch.at else { return true };
            if batch.back > 0 {
                entries.push(Entry { at, taken: batch.amount, used: batch.amount.saturating_sub(batch.back) });
            }
            if batch.excess > 0 {
                entries.push(Entry { at, taken: 0, used: batch.excess });
            }
            (batch.back, batch.excess) = (0, 0);
            batch.open > 0
        });
        if self.taken + self.excess > 0 {
            entries.push(Entry { at: At::Poured, taken: self.taken, used: self.taken + self.excess });
        }
        let current = self.batches.current;
        self.batches.by_number.entry(current).or_default().amount = self.taken;
        self.batches.current += 1;
        (self.pouring, self.taken, self.excess) = (self.taken, 0, 0);
        entries
    }

    /// Adapts the size to the rate: it doubles if it was used up soon, and shrinks to what was used since the last renewal.
    pub(super) fn resize(&mut self, is_renewal: bool, is_quick: bool) {
        if is_renewal {
            self.size = self.size.min(self.consumed);
            self.consumed = 0;
        } else if self.pending.sum > 0 {
            self.size = if is_quick { self.size.saturating_mul(2) } else { self.size };
        }
    }

    pub(super) fn reply(&mut self, reply: PoolReply) {
        for entry in std::mem::take(&mut self.sent) {
            if matches!(entry.at, At::Window(until) if until == self.until) {
                self.taken = self.taken.saturating_sub(entry.taken);
            }
        }
        if let (Stored::Window(window), true) = (&reply.stored, self.until < u64::MAX)
            && window.until != self.until
        {
            (self.until, self.taken) = (window.until, 0);
        }
        let poured = self.batches.current.checked_sub(1);
        if let Some(batch) = poured.and_then(|number| self.batches.by_number.get_mut(&number))
            && batch.at.is_none()
        {
            batch.at = Some(reply.poured);
        }
        self.size = self.size.max(self.asked.sum.min(reply.leased));
        (self.leased, self.pouring, self.asked) = (reply.leased, 0, Needs::default());
        self.stored = Some(reply.stored);
    }

    /// Returns true if something is leased or has to be reported.
    pub(super) fn is_due(&self) -> bool {
        self.leased > 0 || self.taken > 0 || self.has_surplus()
    }

    pub(super) fn has_surplus(&self) -> bool {
        let has_batch = |batch: &Batch| batch.back > 0 || batch.excess > 0;
        let is_poured = self.is_bucket() && (self.taken > 0 || self.excess > 0);
        self.leased > self.taken
            || is_poured
            || !self.windows.is_empty()
            || self.batches.by_number.values().any(has_batch)
    }
}
