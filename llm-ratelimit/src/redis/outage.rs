//! Decisions while the server cannot be reached.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::{
    script_request::{Decided, RuleNeed, ScriptRequest},
    settings::OutagePolicy,
    shared::lock,
};
use crate::{
    Limit, Reason, Settlement,
    account_ref::AccountRef,
    accounts::{Decision, DecisionRequest, Standing},
    counter::{Counter, DecisionTime, Wait},
    hold::{Hold, Holds},
};

/// Counters of this process that replace those of the server during an outage, and the calls that hold amounts of them.
#[derive(Debug)]
pub(super) struct LocalShare {
    instances: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counters by account and by the counter's number.
    counters: HashMap<(AccountRef, u32), Counter>,
    /// Time at which blank counters were last removed, in nanoseconds since 1970.
    swept: u64,
    /// Open calls that were granted during an outage, by the numbers of their reservations.
    open: HashMap<u64, Granted>,
}

/// Call that was granted during an outage.
#[derive(Debug)]
struct Granted {
    script_requests: Vec<ScriptRequest>,
    /// Amounts that the call holds of this process's counters.
    holds: Holds,
}

/// Way in which a call was decided during an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Refused,
    Allowed,
    Local,
}

/// Number of counters above which all further accounts share one counter for each limit.
const COUNTERS: usize = 100_000;
/// Shortest time between two searches for blank counters, in nanoseconds.
const SWEEP: u64 = 1_000_000_000;

impl LocalShare {
    pub(super) fn new(instances: u32) -> Self {
        Self { instances, state: Mutex::default() }
    }

    /// Decides by the policy of each limit. A granted call takes amounts of the local counters, under this reservation
    /// number.
    pub(super) fn decide(
        &self,
        script_requests: Vec<ScriptRequest>,
        number: u64,
        request: &DecisionRequest<'_>,
        decision: &mut Decision,
        policy: &dyn Fn(&Limit) -> OutagePolicy,
    ) -> Outcome {
        let needs = || script_requests.iter().flat_map(|script_request| &script_request.rules);
        let is = |need: &RuleNeed, wanted| policy(&need.rule.limit) == wanted;
        let is_counted =
            |need: &RuleNeed| need.need.or(need.take).is_some() && request.standing != Standing::Regardless;
        if needs().any(|need| is_counted(need) && is(need, OutagePolicy::Refuse)) {
            decision.refused = Some(Reason::Unavailable);
            return Outcome::Refused;
        }
        let Some(first) = script_requests.first() else { return Outcome::Allowed };
        let rules: Vec<_> = needs().filter(|need| is(need, OutagePolicy::LocalShare)).cloned().collect();
        let outcome = if rules.is_empty() { Outcome::Allowed } else { Outcome::Local };
        let local = ScriptRequest { rules, tag: Arc::clone(&first.tag), per_mille: first.per_mille, lease: None };
        let at = DecisionTime { per_mille: (request.at.per_mille / self.instances).max(1), ..request.at };
        let mut state = lock(&self.state);
        let (decided, holds) = state.decide(&local.rules, at);
        local.set_levels(request.plan, &decided, &mut decision.statuses.levels);
        decision.blocked = local.obstacle(&decided, at);
        if decided.taken {
            decision.held.holds.extend(script_requests.iter().flat_map(|script_request| script_request.holds(number)));
        }
        if !decision.held.holds.is_empty() {
            state.open.insert(number, Granted { script_requests, holds });
        }
        outcome
    }

    /// Settles a call that was granted during an outage. Returns the requests of the call; `None` if no such call is
    /// open.
    pub(super) fn settle(&self, number: u64, settlement: &Settlement, now: u64) -> Option<Vec<ScriptRequest>> {
        let mut state = lock(&self.state);
        let Granted { script_requests, holds } = state.open.remove(&number)?;
        for Hold { account_ref, counter, kind, amount, mark } in holds {
            if let Some(counter) = state.counters.get_mut(&(account_ref, counter)) {
                counter.settle(mark, amount, settlement.amount(kind, amount), now, &[]);
            }
        }
        Some(script_requests)
    }

    /// Returns the number of open calls. A call counts once for each account that it takes an amount in.
    pub(super) fn open(&self) -> usize {
        lock(&self.state).open.values().flat_map(|granted| &granted.script_requests).map(ScriptRequest::accounts).sum()
    }
}

impl State {
    /// Takes the amounts that a call needs, or nothing, as the server does. Returns the decision and the amounts taken.
    fn decide(&mut self, needs: &[RuleNeed], at: DecisionTime) -> (Decided, Holds) {
        // Blank counters are removed before any counter is used, because a counter of this decision may be blank.
        self.sweep(needs.len(), at.now);
        let places: Vec<_> = needs.iter().map(|need| self.advance(need, at)).collect();
        let mut rules = Vec::with_capacity(places.len());
        for (need, place) in needs.iter().zip(&places) {
            let counter = &self.counters[place];
            let has_room = need.need.is_none_or(|n| counter.wait(&need.rule, n, at) == Wait::Not);
            rules.push((has_room, counter.state.clone()));
        }
        let (taken, mut holds) = (rules.iter().all(|(has_room, _)| *has_room), Holds::new());
        for ((need, place), (_, state)) in needs.iter().zip(places).zip(&mut rules) {
            if let (Some(amount), Some(counter)) = (need.take.filter(|_| taken), self.counters.get_mut(&place)) {
                let (mark, kind) = (counter.take(amount), need.rule.kind);
                holds.push(Hold { account_ref: place.0, counter: place.1, kind, amount, mark });
                *state = counter.state.clone();
            }
        }
        (Decided { taken, now: at.now, born: 0, rules, leased: Vec::new() }, holds)
    }

    /// Advances the counter of a need to the present. Returns its key in the table of counters.
    fn advance(&mut self, need: &RuleNeed, at: DecisionTime) -> (AccountRef, u32) {
        let mut place = (need.account_ref, need.rule.id);
        if self.counters.len() >= COUNTERS && !self.counters.contains_key(&place) {
            place.0 = AccountRef::from_hash(0);
        }
        self.counters.entry(place).or_insert_with(|| Counter::new(&need.rule, at)).advance(&need.rule, at);
        place
    }

    /// Removes blank counters if the table may have no room for `further` more counters, at most once a second.
    fn sweep(&mut self, further: usize, now: u64) {
        if self.counters.len() + further > COUNTERS && now >= self.swept.saturating_add(SWEEP) {
            self.swept = now;
            self.counters.retain(|_, counter| !counter.is_blank(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Plans,
        rules::{Names, Rules},
    };

    #[test]
    fn local_share_sweep_keeps_counters_of_decision() {
        let plans = Plans::uniform(["10/minute", "10 tokens/minute"]).unwrap();
        let rules = Rules::new(&plans, &Names::default());
        let group = &rules.of("acme").groups[0];
        let at = DecisionTime { now: SWEEP, per_mille: 1_000 };
        let needs = |account_ref| {
            let need =
                |rule| RuleNeed { take: Some(1), need: Some(1), ..RuleNeed::new(group, rule, "acme", account_ref) };
            group.rules.iter().map(need).collect::<Vec<_>>()
        };
        let mut state = State::default();
        let blank = |number| ((AccountRef::from_hash(number), group.rules[0].id), Counter::new(&group.rules[0], at));
        state.counters.extend((1..COUNTERS as u64).map(blank));
        let (decided, holds) = state.decide(&needs(AccountRef::from_hash(0)), at);
        assert!(decided.taken);
        assert_eq!((holds.len(), state.counters.len()), (2, 2));
    }
}
