//! Open reservations of this process. Pure.

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use super::{
    layout::Tag,
    question::{Question, RuleNeed},
};
use crate::{
    Settlement,
    hold::{Hold, Holds},
    kind::Kind,
};

/// Open reservations by their numbers.
#[derive(Debug, Default)]
pub(super) struct OpenReservations(HashMap<u64, Open>);

/// An open reservation.
#[derive(Debug)]
pub(super) enum Open {
    Reserved(Reserved),
    /// Granted while Redis was away, with the shares of the local accounts.
    Local {
        questions: Vec<Question>,
        holds: Holds,
    },
}

/// A reservation in Redis: that of a call, or of all calls that took from one lease.
#[derive(Debug)]
pub(super) struct Reserved {
    /// Accounts and amounts that are reserved.
    question: Question,
    /// Calls that have not ended.
    calls: usize,
    /// Amounts that ended calls used, and those that they reserved and did not use.
    ended: SmallVec<[(u64, u64); 4]>,
    /// Number of partial settlements, and true if there is something for another one.
    partial: u64,
    is_changed: bool,
    /// True once the server knows the amounts.
    is_confirmed: bool,
    shares: Arc<[u8]>,
}

/// Settlement of a reservation.
#[derive(Clone, Debug)]
pub(super) struct Settle {
    pub(super) number: u64,
    pub(super) question: Question,
    /// Amounts that were used, or that remain reserved.
    pub(super) used: SmallVec<[u64; 4]>,
    /// Number of a partial settlement; `None` if it ends the reservation.
    pub(super) partial: Option<u64>,
    pub(super) shares: Arc<[u8]>,
}

impl Reserved {
    /// Returns the reservation of a call.
    pub(super) fn of_call(question: Question) -> Self {
        let used = vec![0; question.rules.len()];
        Self { is_confirmed: true, ..Self::of_lease(question, 1, used, Arc::new([])) }
    }

    /// Returns the reservation of calls that took from a lease, with what ended ones used.
    pub(super) fn of_lease(question: Question, calls: usize, used: Vec<u64>, shares: Arc<[u8]>) -> Self {
        let ended = used.into_iter().map(|used| (used, 0)).collect();
        Self { question, calls, ended, partial: 0, is_changed: false, is_confirmed: false, shares }
    }

    /// Returns the settlement of a call that was not sent.
    pub(super) fn cancelled(self, number: u64) -> Settle {
        let Self { question, ended, shares, .. } = self;
        Settle { number, question, used: ended.iter().map(|(used, _)| *used).collect(), partial: None, shares }
    }

    fn settle(&mut self, holds: &[Hold], settlement: &Settlement, shares: &[u8]) {
        self.calls = self.calls.saturating_sub(1);
        for hold in holds {
            let is_its = |need: &RuleNeed| (need.account_ref, need.rule.id) == (hold.account_ref, hold.counter);
            let Some(at) = self.question.rules.iter().position(is_its) else { continue };
            let used = settlement.amount(hold.kind, hold.amount);
            let unused = hold.amount.saturating_sub(used);
            self.ended[at] = (self.ended[at].0.saturating_add(used), self.ended[at].1.saturating_add(unused));
            self.is_changed |= unused > 0 && hold.kind != Kind::Slots;
        }
        if *self.shares != *shares {
            self.shares = shares.into();
        }
    }

    /// Returns the settlement that is due, if all calls have ended.
    fn settlement(&self, number: u64) -> Option<Settle> {
        let is_over = self.calls == 0 && self.is_confirmed;
        let used = self.ended.iter().map(|(used, _)| *used).collect();
        is_over.then(|| Settle {
            number,
            question: self.question.clone(),
            used,
            partial: None,
            shares: Arc::clone(&self.shares),
        })
    }

    /// Returns the settlement that gives back what ended calls did not use.
    fn partial(&mut self, number: u64) -> Option<Settle> {
        if !self.is_confirmed || !std::mem::take(&mut self.is_changed) {
            return None;
        }
        self.partial += 1;
        let remains = |(need, (_, unused)): (&RuleNeed, &(u64, u64))| need.take.unwrap_or(0).saturating_sub(*unused);
        let used = self.question.rules.iter().zip(&self.ended).map(remains).collect();
        let (question, shares) = (self.question.clone(), Arc::clone(&self.shares));
        Some(Settle { number, question, used, partial: Some(self.partial), shares })
    }
}

impl OpenReservations {
    pub(super) fn add(&mut self, number: u64, open: Open) {
        self.0.insert(number, open);
    }

    /// Returns a reservation of local accounts, which is open no more.
    pub(super) fn take_local(&mut self, number: u64) -> Option<(Vec<Question>, Holds)> {
        match self.0.remove(&number)? {
            Open::Local { questions, holds } => Some((questions, holds)),
            open @ Open::Reserved(_) => {
                self.0.insert(number, open);
                None
            }
        }
    }

    /// Settles what a call holds of a reservation. Returns the settlement of the whole, if it was the last call.
    pub(super) fn settle(&mut self, number: u64, holds: &[Hold], by: &Settlement, shares: &[u8]) -> Option<Settle> {
        self.change(number, |reserved| reserved.settle(holds, by, shares))
    }

    /// Notes that the server knows the amounts of a reservation. Returns its settlement, if all calls have ended.
    pub(super) fn confirm(&mut self, number: u64) -> Option<Settle> {
        self.change(number, |reserved| reserved.is_confirmed = true)
    }

    fn change(&mut self, number: u64, change: impl FnOnce(&mut Reserved)) -> Option<Settle> {
        let Some(Open::Reserved(reserved)) = self.0.get_mut(&number) else { return None };
        change(reserved);
        let settlement = reserved.settlement(number)?;
        self.0.remove(&number);
        Some(settlement)
    }

    /// Returns settlements that give back what ended calls of open reservations did not use.
    pub(super) fn partial(&mut self) -> Vec<Settle> {
        let partial = self.0.iter_mut().filter_map(|(number, open)| match open {
            Open::Reserved(reserved) => reserved.partial(*number),
            Open::Local { .. } => None,
        });
        partial.collect()
    }

    /// Returns the numbers of reservations that the server knows, by tag.
    pub(super) fn by_tag(&self) -> HashMap<Arc<str>, (Arc<Tag>, Vec<u64>)> {
        let mut by_tag: HashMap<Arc<str>, (Arc<Tag>, Vec<u64>)> = HashMap::new();
        for (number, question) in self.reserved() {
            let tag = &question.tag;
            let numbers = by_tag.entry(tag.accounts.as_str().into()).or_insert_with(|| (Arc::clone(tag), Vec::new()));
            numbers.1.push(*number);
        }
        by_tag
    }

    /// Returns the open reservations in the accounts of a tag, with what they hold beside windows.
    pub(super) fn unwindowed(&self, tag: &Tag) -> Vec<(u64, Question)> {
        let of_tag = self.reserved().filter(|(_, question)| question.tag.accounts == tag.accounts);
        of_tag.filter_map(|(number, question)| Some((*number, question.unwindowed()?))).collect()
    }

    fn reserved(&self) -> impl Iterator<Item = (&u64, &Question)> {
        self.0.iter().filter_map(|(number, open)| match open {
            Open::Reserved(Reserved { question, is_confirmed: true, .. }) => Some((number, question)),
            _ => None,
        })
    }

    /// Returns the number of open calls, each counted once for every account it is in.
    pub(super) fn len(&self) -> usize {
        let accounts = |question: &Question| {
            let mut groups: Vec<_> = question.taking().map(|need| need.group).collect();
            groups.dedup();
            groups.len()
        };
        let calls = |open: &Open| match open {
            Open::Reserved(reserved) => reserved.calls * accounts(&reserved.question),
            Open::Local { questions, .. } => questions.iter().map(accounts).sum(),
        };
        self.0.values().map(calls).sum()
    }
}
