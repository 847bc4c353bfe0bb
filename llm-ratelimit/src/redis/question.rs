//! Questions to the server: what a call needs, and what the server's reply means.

use std::sync::Arc;

use llm_redis::{Error, KeySpace, ScriptCall, Value};

use super::{
    layout::{self, MOST, Stored, Tag},
    scripts::DECIDE,
};
use crate::{
    Dimension, Limit,
    account_ref::AccountRef,
    accounts::{DecisionRequest, Standing},
    blocked::Blocked,
    bucket::Rate,
    counter::{DecisionTime, Level, Levels, Wait},
    kind::Kind,
    quota::{Span, scaled},
    rules::{Group, PlanRules, Rule},
};

/// All that a call needs of accounts in Redis.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// One for each tag: all of them are decided together if one server holds them.
    pub(super) parts: Vec<Part>,
    per_mille: u32,
}

/// Needs of a call of the accounts of one tag.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) tag: Arc<Tag>,
    pub(super) rules: Vec<RuleNeed>,
}

/// Need of a call of one counter.
#[derive(Clone, Debug)]
pub(super) struct RuleNeed {
    pub(super) field: Arc<str>,
    pub(super) account_ref: AccountRef,
    /// Number of the group among the plan's, and of the rule among the group's.
    pub(super) group: u16,
    pub(super) rule: u16,
    /// Numbers of the scope and of the counter.
    pub(super) group_id: u32,
    pub(super) counter: u32,
    pub(super) kind: Kind,
    pub(super) limit: Arc<Limit>,
    /// Amount that the call takes, if it takes anything.
    pub(super) take: Option<u64>,
    /// Amount for which there must be room, if there must be.
    pub(super) need: Option<u64>,
}

/// Purpose of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Take,
    Look,
    /// As [`Take`](Self::Take), for a call that waits: room is announced to it for a while.
    Wait,
    Force,
}

/// Reply to a question.
#[derive(Debug)]
pub(super) enum Answer {
    Decided {
        taken: bool,
        /// The server's time, in nanoseconds since 1970.
        now: u64,
        /// The times at which the hashes of its parts began, in microseconds since 1970.
        born: Vec<u64>,
        /// True for each rule that has room, and its counter, in the order of the question.
        rules: Vec<(bool, Stored)>,
    },
    /// The server's time, in nanoseconds since 1970, at which the question came too late or named another window.
    OutOfTime(u64),
    /// The reservation has ended before it began.
    Ended,
    /// A later version has changed the layout.
    UnknownLayout,
    /// The server has lost the accounts.
    Lost,
}

/// Longest time from sending a question to its execution, in microseconds.
pub(super) const LATEST: u64 = 5_000_000;
/// Time for which accounts with calendar windows are kept without use, in microseconds, and others.
pub(super) const KEPT: [u64; 2] = [400 * 86_400_000_000, 86_400_000_000];

impl Question {
    /// Returns the question about the groups that are asked for.
    pub(super) fn new(key_space: &KeySpace, request: &DecisionRequest<'_>, is_asked: impl Fn(&Group) -> bool) -> Self {
        let DecisionRequest { demand, plan, at, .. } = *request;
        let mut parts: Vec<Part> = Vec::new();
        let mut tenant = None;
        for (number, group) in plan.groups.iter().enumerate() {
            if !group.scope.includes(demand, &plan.name) || !is_asked(group) {
                continue;
            }
            let account = layout::account_of(group, demand, &plan.name);
            let tag = match group.scope.dimensions().contains(&Dimension::Tenant) {
                true => *tenant.get_or_insert_with(|| {
                    parts.push(Part::new(Tag::of_tenant(key_space, &demand.tenant)));
                    parts.len() - 1
                }),
                false => {
                    parts.push(Part::new(Tag::of_shared(key_space, &account)));
                    parts.len() - 1
                }
            };
            let account_ref = layout::account_ref(group, demand, &plan.name);
            parts[tag].rules.extend(group.rules.iter().enumerate().map(|(rule_number, rule)| RuleNeed {
                group: small(number),
                rule: small(rule_number),
                take: request.takes(rule),
                need: if request.standing == Standing::Regardless { None } else { rule.needed(demand) },
                ..RuleNeed::new(group, rule, &account, account_ref)
            }));
        }
        Self { parts, per_mille: at.per_mille }
    }

    /// Returns the question about one of its parts.
    pub(super) fn part(&self, part: usize) -> Self {
        Self { parts: vec![self.parts[part].clone()], per_mille: self.per_mille }
    }

    /// Returns the question that takes nothing, and counts what is beyond it.
    pub(super) fn uncounted(&self) -> Self {
        let mut uncounted = self.clone();
        for rule in uncounted.parts.iter_mut().flat_map(|part| &mut part.rules) {
            (rule.take, rule.need) = (rule.take.filter(|_| rule.kind != Kind::Slots).map(|_| 0), None);
        }
        uncounted
    }

    /// Returns what a reservation holds in the accounts of a tag beside windows.
    pub(super) fn unwindowed(&self, tag: &Tag) -> Option<Self> {
        let mut part = self.parts.iter().find(|part| part.tag.accounts == tag.accounts)?.clone();
        part.rules.retain(|rule| rule.take.is_some() && rule.limit.quota().windows().is_none());
        (!part.rules.is_empty()).then(|| Self { parts: vec![part], per_mille: self.per_mille })
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &RuleNeed> {
        self.parts.iter().flat_map(|part| &part.rules)
    }

    /// Encodes it, for a server whose time is about `now`, in nanoseconds since 1970. `born` holds the times at which the
    /// hashes of its parts began, as far as they are known.
    pub(super) fn call(
        &self,
        mode: Mode,
        id: &[u8],
        lease: u64,
        (now, exact): (u64, Option<u64>),
        born: &[u64],
    ) -> ScriptCall {
        let keys: Vec<_> = self.parts.iter().flat_map(|part| [&part.tag.accounts, &part.tag.ends]).collect();
        let mode = match mode {
            Mode::Take => "take",
            Mode::Look => "look",
            Mode::Wait => "wait",
            Mode::Force => "force",
        };
        let exact = exact.map(|now| (now / 1_000).to_string()).unwrap_or_default();
        let is_calendar = self.rules().any(|rule| rule.limit.quota().windows().is_some());
        let mut call = DECIDE.with_keys(&keys).across_tags();
        call = call.arg(mode).arg(id).arg(lease).arg(now / 1_000 + LATEST).arg(exact);
        call = call.arg(KEPT[usize::from(!is_calendar)]);
        for (number, part) in self.parts.iter().enumerate() {
            call = call.arg(part.rules.len()).arg(born.get(number).copied().unwrap_or(0));
            for rule in &part.rules {
                call = rule.encode(call, self.per_mille, now);
            }
        }
        call
    }

    /// Reads the server's reply.
    pub(super) fn answer(&self, reply: Value) -> Result<Answer, Error> {
        let mut items = reply.into_list()?.into_iter();
        let mut next = || items.next().unwrap_or(Value::Nil);
        let (status, now) = (next().into_int()?, next().into_int()?);
        let now = u64::try_from(now).unwrap_or(0).saturating_mul(1_000);
        let taken = match status {
            0 => true,
            1 => false,
            2 => return Ok(Answer::OutOfTime(now)),
            3 => return Ok(Answer::Ended),
            5 => return Ok(Answer::Lost),
            _ => return Ok(Answer::UnknownLayout),
        };
        let born = next().into_bytes()?.unwrap_or_default();
        let born = born.split(|byte| *byte == b' ').filter_map(layout::number).collect();
        let digits = next().into_bytes()?.unwrap_or_default();
        let mut rules = Vec::with_capacity(digits.len());
        for digit in &digits {
            let value = next().into_bytes()?.unwrap_or_default();
            // A value that is not read here is of a later version: it refuses.
            let Some(stored) = Stored::parse(&value) else { return Ok(Answer::UnknownLayout) };
            rules.push((*digit == b'1', stored));
        }
        Ok(Answer::Decided { taken, now, born, rules })
    }

    /// Returns the obstacle, of several the one that lasts longest, and of those the last.
    pub(super) fn obstacle(&self, rules: &[(bool, Stored)], at: DecisionTime) -> Option<Blocked> {
        let mut worst: Option<Blocked> = None;
        let mut needs: Vec<_> = self.rules().zip(rules).collect();
        needs.sort_by_key(|(need, _)| (need.group, need.rule));
        for (need, (has_room, stored)) in needs {
            let wait = need.wait(*has_room, stored, at);
            let is_worse = |worst: &Blocked| wait > worst.wait || (wait == worst.wait && need.group > worst.group);
            if wait != Wait::Not && worst.as_ref().is_none_or(is_worse) {
                let account_ref = Some(need.account_ref);
                worst = Some(Blocked { wait, account_ref, group: need.group, rule: Some(need.rule) });
            }
        }
        worst
    }

    /// Returns the obstacle of a call that comes after waiting calls of this process.
    pub(super) fn behind(&self, is_awaited: impl Fn(AccountRef) -> bool) -> Option<Blocked> {
        let awaited = self.rules().filter(|rule| rule.need.is_some() && is_awaited(rule.account_ref));
        let last = awaited.max_by_key(|rule| rule.group)?;
        Some(Blocked { wait: Wait::Unknown, account_ref: Some(last.account_ref), group: last.group, rule: None })
    }

    /// Returns the needs that take something, in the order of the plan's rules.
    pub(super) fn taking(&self) -> Vec<&RuleNeed> {
        let mut taking: Vec<_> = self.rules().filter(|rule| rule.take.is_some()).collect();
        taking.sort_by_key(|rule| (rule.group, rule.rule));
        taking
    }

    /// Returns the levels of all of a plan's rules.
    pub(super) fn levels(&self, plan: &PlanRules, rules: &[(bool, Stored)], at: DecisionTime) -> Levels {
        let mut levels: Levels = plan.rules().map(|_| Level::Unused).collect();
        for (need, (_, stored)) in self.rules().zip(rules) {
            let position = plan.groups[usize::from(need.group)].first + usize::from(need.rule);
            levels[position] = stored.level(need.rate(at));
        }
        levels
    }
}

impl Part {
    fn new(tag: Tag) -> Self {
        Self { tag: Arc::new(tag), rules: Vec::new() }
    }
}

impl RuleNeed {
    /// Returns a need of nothing.
    pub(super) fn new(group: &Group, rule: &Rule, account: &str, account_ref: AccountRef) -> Self {
        Self {
            field: layout::field(account, &rule.limit.quota().identity()).into(),
            account_ref,
            group: 0,
            rule: 0,
            group_id: group.id,
            counter: rule.id,
            kind: rule.kind,
            limit: Arc::clone(&rule.limit),
            take: None,
            need: None,
        }
    }

    pub(super) fn rate(&self, at: DecisionTime) -> Option<Rate> {
        let quota = self.limit.quota();
        match quota.span() {
            Span::Bucket { period, burst } => Some(quota.rate(*period, *burst, at.per_mille)),
            Span::Calendar(_) | Span::Concurrent => None,
        }
    }

    pub(super) fn encode(&self, call: ScriptCall, per_mille: u32, now: u64) -> ScriptCall {
        let quota = self.limit.quota();
        let amount = |amount: Option<u64>| amount.map_or_else(|| "-1".to_owned(), |n| n.min(MOST).to_string());
        // What is more than the limit ever allows has room in no state.
        let need = self.need.map(|need| if need > quota.most() { u64::MAX } else { need });
        let need = if need == Some(u64::MAX) { (MOST + 1).to_string() } else { amount(need) };
        let limit = scaled(quota.amount(), per_mille).min(MOST);
        let call = call.arg(&*self.field);
        match quota.span() {
            Span::Bucket { period, burst } => {
                let micros = format!("{}.{:03}", period / 1_000, period % 1_000);
                let call = call.arg("b").arg(amount(self.take)).arg(need);
                call.arg(limit).arg(micros).arg(scaled(*burst, per_mille).min(MOST))
            }
            Span::Calendar(calendar) => {
                let bounds = calendar.bounds(now);
                let call = call.arg("w").arg(amount(self.take)).arg(need).arg(limit);
                let call = call.arg(bounds.start / 1_000).arg(bounds.end / 1_000).arg(bounds.ordinal);
                call.arg(2 * calendar.unit().longest() / 1_000)
            }
            Span::Concurrent => call.arg("s").arg(amount(self.take)).arg(need).arg(limit),
        }
    }

    /// Returns the time until there is room, by the counter that had room or had none.
    pub(super) fn wait(&self, has_room: bool, stored: &Stored, at: DecisionTime) -> Wait {
        let quota = self.limit.quota();
        let Some(need) = self.need.filter(|_| !has_room) else { return Wait::Not };
        if need > quota.most() {
            return Wait::Ever;
        }
        let nanos = match (stored, quota.span()) {
            (Stored::Bucket(micros, leased), Span::Bucket { period, burst }) => {
                let rate = quota.rate(*period, *burst, at.per_mille);
                let micros = micros + leased * layout::unit(rate);
                if need > rate.burst { None } else { Some(nanos_over(micros, rate, need)) }
            }
            (Stored::Window(window), Span::Calendar(calendar)) => window.wait(calendar, need, at.now),
            _ => None,
        };
        nanos.map_or(Wait::Unknown, |nanos| Wait::Nanos(nanos.max(1)))
    }
}

/// Returns the nanoseconds until `n` fit into a bucket with a level in microseconds of drain.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "rounded up")]
fn nanos_over(micros: f64, rate: Rate, n: u64) -> u64 {
    let unit = rate.period as f64 / rate.amount.max(1) as f64;
    let over = micros * 1_000.0 + n as f64 * unit - rate.burst as f64 * unit;
    over.ceil().max(0.0) as u64
}

fn small(number: usize) -> u16 {
    u16::try_from(number).expect("an operator names fewer limits than that")
}
