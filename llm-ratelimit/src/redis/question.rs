//! Questions to the server: what a call needs, and what the server's reply means.

use std::sync::Arc;

use llm_redis::{Error, ScriptCall, Value};

use super::{
    layout::{self, Id, MOST, Tag},
    scripts::{DECIDE, bytes, double},
};
use crate::{
    Dimension,
    account_ref::AccountRef,
    accounts::{DecisionRequest, Standing},
    blocked::Blocked,
    counter::{Counter, DecisionTime, Level, Levels, State, Wait},
    hold::Hold,
    kind::Kind,
    quota::{Span, scaled},
    rules::{Group, PlanRules, Rule},
};

/// All that a call needs of the accounts of one tag, or all that a process leases of one account.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) tag: Arc<Tag>,
    /// Needs in the order of the plan's rules.
    pub(super) rules: Vec<RuleNeed>,
    pub(super) per_mille: u32,
    pub(super) lease: Option<Lease>,
}

/// Need of a call of one counter.
#[derive(Clone, Debug)]
pub(super) struct RuleNeed {
    pub(super) field: Arc<str>,
    pub(super) account_ref: AccountRef,
    /// Number of the group among the plan's, and of the rule among the group's.
    pub(super) group: u16,
    pub(super) position: u16,
    /// Number of the scope.
    pub(super) group_id: u32,
    pub(super) rule: Rule,
    /// Amount that the call takes, if it takes anything.
    pub(super) take: Option<u64>,
    /// Amount for which there must be room, if there must be.
    pub(super) need: Option<u64>,
}

/// Lease of amounts that takes the place of another one.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) before: Option<Id>,
    /// True if calls took nothing of the lease before.
    pub(super) is_ended: bool,
    /// Of each rule the amount that calls took of the lease before, and the amount of it that this process goes on to use.
    pub(super) kept: Vec<(u64, u64)>,
    /// Number of parts of what is free, of which the process gets one.
    pub(super) parts: u64,
    /// True if calls wait for room.
    pub(super) waits: bool,
}

impl Lease {
    /// Encodes it for the server, behind the rules.
    fn numbers(&self) -> Vec<u8> {
        let head = [u64::from(self.waits), self.parts, u64::from(self.is_ended)];
        let kept = self.kept.iter().flat_map(|(taken, sure)| [*taken, *sure]);
        let numbers: Vec<f64> = head.into_iter().chain(kept).map(double).collect();
        let before = self.before.as_ref().map_or(&[][..], |id| &id[..]);
        [&bytes(&numbers), before].concat()
    }
}

/// Purpose of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Take,
    Look,
    /// As [`Take`](Self::Take), for a call that waits: room is announced to it for a while.
    Wait,
    Force,
    Lease,
}

/// Time of a question, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedAt {
    /// The server's time, as far as it is known.
    pub(super) now: u64,
    /// The time that stands for it.
    pub(super) exact: Option<u64>,
    /// Time at which the process knows the hash to have begun, in microseconds since 1970; 0 if it does not.
    pub(super) born: u64,
}

/// Reply to a question.
#[derive(Debug)]
pub(super) enum Answer {
    Decided(Decided),
    /// The server's time, in nanoseconds since 1970, at which the question came too late or named another window.
    OutOfTime(u64),
    /// The server has lost the accounts.
    Lost,
}

/// Decision of the server.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) taken: bool,
    /// The server's time, in nanoseconds since 1970.
    pub(super) now: u64,
    /// Time at which the hash began, in microseconds since 1970.
    pub(super) born: u64,
    /// True for each rule that has room, and its counter, in the order of the question.
    pub(super) rules: Vec<(bool, State)>,
    /// Amounts that are leased.
    pub(super) leased: Vec<u64>,
}

/// Longest time from sending a question to its execution, in microseconds.
const LATEST: u64 = 5_000_000;
/// Time for which accounts with calendar windows are kept without use, in microseconds, and others.
pub(super) const KEPT: [u64; 2] = [400 * 86_400_000_000, 86_400_000_000];

impl Question {
    /// Returns the questions about the groups that are asked for, one for each tag. All that is counted by tenant has one tag.
    pub(super) fn all(
        request: &DecisionRequest<'_>,
        has_one_tag: bool,
        tag_of: impl Fn(&Group, &str) -> Tag,
        is_asked: impl Fn(&Group) -> bool,
    ) -> Vec<Self> {
        let DecisionRequest { demand, plan, at, .. } = *request;
        let mut questions: Vec<Self> = Vec::new();
        let mut tenants = None;
        for (number, group) in plan.groups.iter().enumerate() {
            if !group.scope.includes(demand, &plan.name) || !is_asked(group) {
                continue;
            }
            let account = layout::account_of(group, demand, &plan.name);
            let is_tenants = has_one_tag || group.scope.dimensions().contains(&Dimension::Tenant);
            let position = tenants.filter(|_| is_tenants).unwrap_or_else(|| {
                let (tag, rules) = (Arc::new(tag_of(group, &account)), Vec::new());
                questions.push(Self { tag, rules, per_mille: at.per_mille, lease: None });
                questions.len() - 1
            });
            if is_tenants {
                tenants = Some(position);
            }
            let account_ref = layout::account_ref(group, demand, &plan.name);
            questions[position].rules.extend(group.rules.iter().enumerate().map(|(position, rule)| RuleNeed {
                group: small(number),
                position: small(position),
                take: request.takes(rule),
                need: if request.standing == Standing::Regardless { None } else { rule.needed(demand) },
                ..RuleNeed::new(group, rule, &account, account_ref)
            }));
        }
        questions
    }

    /// Returns the question that takes nothing, and counts what is beyond it.
    pub(super) fn uncounted(&self) -> Self {
        let mut uncounted = self.clone();
        for rule in &mut uncounted.rules {
            (rule.take, rule.need) = (rule.take.filter(|_| rule.rule.kind != Kind::Slots).map(|_| 0), None);
        }
        uncounted
    }

    /// Returns the question about what it takes beside windows; `None` if that is nothing.
    pub(super) fn unwindowed(&self) -> Option<Self> {
        let mut question = self.clone();
        question.rules.retain(|need| need.take.is_some() && need.rule.limit.quota().windows().is_none());
        (!question.rules.is_empty()).then_some(question)
    }

    /// Returns the number of accounts of which it takes something.
    pub(super) fn accounts(&self) -> usize {
        let mut groups: Vec<_> = self.taking().map(|need| need.group).collect();
        groups.dedup();
        groups.len()
    }

    /// Returns the needs that take something.
    pub(super) fn taking(&self) -> impl Iterator<Item = &RuleNeed> {
        self.rules.iter().filter(|need| need.take.is_some())
    }

    /// Returns what a granted call holds by the reservation of this number.
    pub(super) fn holds(&self, number: u64) -> impl Iterator<Item = Hold> {
        self.taking().map(move |need| Hold {
            account_ref: need.account_ref,
            counter: need.rule.id,
            kind: need.rule.kind,
            amount: need.take.unwrap_or(0),
            mark: number.into(),
        })
    }

    /// Encodes it for the server's script.
    pub(super) fn call(&self, mode: Mode, id: &Id, lease: u64, at: AskedAt) -> ScriptCall {
        let mode = match mode {
            Mode::Take => "takes",
            Mode::Look => "looks",
            Mode::Wait => "waits",
            Mode::Force => "force",
            Mode::Lease => "lease",
        };
        let is_calendar = self.rules.iter().any(|need| need.rule.limit.quota().windows().is_some());
        let mut numbers = mode.as_bytes().to_vec();
        numbers.extend(bytes(&[
            double(lease),
            double(at.now / 1_000 + LATEST),
            double(at.exact.map(|now| now / 1_000)),
            double(KEPT[usize::from(!is_calendar)]),
            double(at.born),
        ]));
        numbers.extend(self.rules.iter().flat_map(|need| need.numbers(self.per_mille, at.now)));
        let [accounts, ends, channel] = self.tag.keys();
        let call = match &self.lease {
            Some(lease) => {
                numbers.extend(lease.numbers());
                DECIDE.with_keys(&[accounts, ends, channel])
            }
            None => DECIDE.with_keys(&[accounts, ends]),
        };
        let call = call.arg(&id[..]).arg(numbers);
        self.rules.iter().fold(call, |call, need| call.arg(&*need.field))
    }

    /// Reads the server's reply.
    pub(super) fn answer(&self, reply: Value) -> Result<Answer, Error> {
        let mut items = reply.into_list()?.into_iter();
        let mut next = || items.next().unwrap_or(Value::Nil);
        let now = u64::try_from(next().into_int()?).unwrap_or(0).saturating_mul(1_000);
        let refused = |message: &'static str| Err(Error::refused_by_script(message));
        let born = match next().into_int()? {
            -2 => return Ok(Answer::OutOfTime(now)),
            -3 => return refused("the reservation has ended before it began"),
            -5 => return Ok(Answer::Lost),
            born => u64::try_from(born),
        };
        let Ok(born) = born else { return refused(LATER) };
        let at = DecisionTime { now, per_mille: self.per_mille };
        let mut rules = Vec::with_capacity(self.rules.len());
        for need in &self.rules {
            let value = next().into_bytes()?.unwrap_or_default();
            // A value that is not read here is of a later version: it refuses.
            let Some(state) = layout::state(&value, &need.rule, at) else { return refused(LATER) };
            rules.push((true, state));
        }
        let lacks = next().into_bytes()?.unwrap_or_default();
        for number in lacks.as_chunks::<2>().0 {
            if let Some((has_room, _)) = rules.get_mut(usize::from(u16::from_le_bytes(*number))) {
                *has_room = false;
            }
        }
        let leased = next().into_bytes()?.unwrap_or_default();
        let leased = leased.as_chunks::<8>().0.iter().map(|amount| layout::whole(f64::from_le_bytes(*amount)));
        let taken = lacks.is_empty() || self.lease.is_some();
        Ok(Answer::Decided(Decided { taken, now, born, rules, leased: leased.collect() }))
    }

    /// Returns the obstacle, of several the one that lasts longest, and of those the last.
    pub(super) fn obstacle(&self, decided: &Decided, at: DecisionTime) -> Option<Blocked> {
        let mut worst: Option<Blocked> = None;
        for (need, (has_room, state)) in self.rules.iter().zip(&decided.rules) {
            let Some(n) = need.need.filter(|_| !has_room) else { continue };
            let wait = need.wait(n, state, at);
            let is_worse = |worst: &Blocked| wait > worst.wait || (wait == worst.wait && need.group > worst.group);
            if worst.as_ref().is_none_or(is_worse) {
                worst = Some(need.blocked(wait, Some(need.position)));
            }
        }
        worst
    }

    /// Returns the obstacle of a call that comes after waiting calls of this process.
    pub(super) fn behind(&self, is_awaited: impl Fn(AccountRef) -> bool) -> Option<Blocked> {
        let awaited = self.rules.iter().filter(|need| need.need.is_some() && is_awaited(need.account_ref));
        awaited.max_by_key(|need| need.group).map(|last| last.blocked(Wait::Unknown, None))
    }

    /// Sets the levels of a plan's rules.
    pub(super) fn set_levels(&self, plan: &PlanRules, decided: &Decided, levels: &mut Levels) {
        levels.resize(plan.rules().count(), Level::Unused);
        for (need, (_, state)) in self.rules.iter().zip(&decided.rules) {
            levels[plan.groups[usize::from(need.group)].first + usize::from(need.position)] = need.level(state);
        }
    }
}

/// Reason why a script changes nothing.
const LATER: &str = "a later version has changed the layout of the accounts: update this process";

impl RuleNeed {
    /// Returns a need of nothing.
    pub(super) fn new(group: &Group, rule: &Rule, account: &str, account_ref: AccountRef) -> Self {
        let field = layout::field(account, &rule.limit.quota().identity()).into();
        let (rule, take, need) = (rule.clone(), None, None);
        Self { field, account_ref, group: 0, position: 0, group_id: group.id, rule, take, need }
    }

    /// Encodes the amounts and the limit for a server whose time is about `now`, in nanoseconds since 1970.
    fn numbers(&self, per_mille: u32, now: u64) -> Vec<u8> {
        let quota = self.rule.limit.quota();
        // What is more than the limit ever allows has room in no state.
        let need = self.need.map(|need| if need > quota.most() { MOST + 1 } else { need.min(MOST) });
        let limit = scaled(quota.amount(), per_mille).min(MOST);
        let (kind, [a, b, c, d]) = match quota.span() {
            Span::Bucket { period, burst } => {
                (b"b", [double(*period) / 1_000.0, double(scaled(*burst, per_mille).min(MOST)), 0.0, 0.0])
            }
            Span::Calendar(calendar) => {
                let bounds = calendar.bounds(now);
                let longest = 2 * calendar.unit().longest() / 1_000;
                (b"w", [bounds.start / 1_000, bounds.end / 1_000, bounds.ordinal, longest].map(double))
            }
            Span::Concurrent => (b"s", [0.0; 4]),
        };
        let take = self.take.map(|take| take.min(MOST));
        [&kind[..], &bytes(&[double(take), double(need), double(limit), a, b, c, d])].concat()
    }

    /// Returns the time until there is room for an amount that had none.
    pub(super) fn wait(&self, n: u64, state: &State, at: DecisionTime) -> Wait {
        match self.counter(state).wait(&self.rule, n, at) {
            Wait::Not => Wait::Nanos(1),
            wait => wait,
        }
    }

    pub(super) fn level(&self, state: &State) -> Level {
        self.counter(state).level()
    }

    fn counter(&self, state: &State) -> Counter {
        Counter { id: self.rule.id, state: state.clone() }
    }

    fn blocked(&self, wait: Wait, rule: Option<u16>) -> Blocked {
        Blocked { wait, account_ref: Some(self.account_ref), group: self.group, rule }
    }
}

fn small(number: usize) -> u16 {
    u16::try_from(number).expect("an operator names fewer limits than that")
}
