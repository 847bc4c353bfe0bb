//! Script requests to the server, which state the needs of a call, and the parsing of the server's replies.

use std::sync::Arc;

use llm_redis::{Error, ScriptCall, Value};

use super::{
    layout::{self, Id, Tag},
    scripts::{DECIDE, MOST, bytes, double},
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

/// Needs of a call in all accounts of one hash tag, or the amounts that a process leases of one account.
#[derive(Clone, Debug)]
pub(super) struct ScriptRequest {
    pub(super) tag: Arc<Tag>,
    /// Needs in the order of the plan's rules.
    pub(super) rules: Vec<RuleNeed>,
    pub(super) per_mille: u32,
    pub(super) lease: Option<Lease>,
}

/// Need of a call in one counter.
#[derive(Clone, Debug)]
pub(super) struct RuleNeed {
    pub(super) field: Arc<str>,
    pub(super) account_ref: AccountRef,
    /// Index of the group in the plan.
    pub(super) group: u16,
    /// Index of the rule in the group.
    pub(super) position: u16,
    /// Number that identifies the group's scope.
    pub(super) group_id: u32,
    pub(super) rule: Rule,
    /// Amount that the call takes; `None` if it takes nothing.
    pub(super) take: Option<u64>,
    /// Amount for which there must be room; `None` if there need not be any.
    pub(super) need: Option<u64>,
}

/// Lease of amounts that replaces the previous lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) before: Option<Id>,
    /// True if calls took nothing from the previous lease.
    pub(super) is_ended: bool,
    /// For each rule, the amount that calls took from the previous lease, the amount of that lease that this process
    /// continues to use, and the amount that its present calls need.
    pub(super) kept: Vec<[u64; 3]>,
    /// Number of equal parts of the free amount, of which the process gets one.
    pub(super) parts: u64,
    /// True if calls of this process wait for room.
    pub(super) waits: bool,
}

impl Lease {
    /// Encodes the lease for the server. The bytes follow those of the rules.
    fn numbers(&self) -> Vec<u8> {
        let head = [u64::from(self.waits), self.parts, u64::from(self.is_ended)];
        let kept = self.kept.iter().flatten().copied();
        let numbers: Vec<f64> = head.into_iter().chain(kept).map(double).collect();
        let before = self.before.as_ref().map_or(&[][..], |id| &id[..]);
        [&bytes(&numbers), before].concat()
    }
}

/// Purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Take,
    Look,
    /// Like [`Take`](Self::Take), for a call that waits. The server keeps announcing room to it for a while.
    Wait,
    Force,
    Lease,
}

/// Times that a request states, in nanoseconds since 1970 if not said otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTimes {
    /// Estimate of the server's time.
    pub(super) now: u64,
    /// Time that replaces the server's clock in tests.
    pub(super) exact: Option<u64>,
    /// Time at which this process knows the server to have created the hash, in microseconds since 1970; 0 if it is not
    /// known.
    pub(super) born: u64,
}

/// Reply to a request.
#[derive(Debug)]
pub(super) enum ScriptReply {
    Decided(Decided),
    /// The request arrived too late, or named another calendar window. The value is the server's time in nanoseconds
    /// since 1970.
    OutOfTime(u64),
    /// The server has lost the hash of the accounts.
    Lost,
}

/// Decision of the server.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) taken: bool,
    /// The server's time, in nanoseconds since 1970.
    pub(super) now: u64,
    /// Time at which the server created the hash, in microseconds since 1970.
    pub(super) born: u64,
    /// For each rule of the request, true if there was room, and the state of its counter.
    pub(super) rules: Vec<(bool, State)>,
    /// Amounts that the server has leased, by rule.
    pub(super) leased: Vec<u64>,
}

/// Longest time from sending a request to its execution, in microseconds.
const LATEST: u64 = 5_000_000;
/// Times for which an unused hash is kept, in microseconds: with calendar windows, and without.
pub(super) const KEPT: [u64; 2] = [400 * 86_400_000_000, 86_400_000_000];

impl ScriptRequest {
    /// Returns one request per hash tag about the groups for which `is_included` is true. All accounts that count by
    /// tenant have one hash tag.
    pub(super) fn all(
        request: &DecisionRequest<'_>,
        has_one_tag: bool,
        tag_of: impl Fn(&Group, &str) -> Tag,
        is_included: impl Fn(&Group) -> bool,
    ) -> Vec<Self> {
        let DecisionRequest { demand, plan, at, .. } = *request;
        let mut script_requests: Vec<Self> = Vec::new();
        let mut tenants = None;
        for (number, group) in plan.groups.iter().enumerate() {
            if !group.scope.includes(demand, &plan.name) || !is_included(group) {
                continue;
            }
            let account = layout::account_of(group, demand, &plan.name);
            let is_tenants = has_one_tag || group.scope.dimensions().contains(&Dimension::Tenant);
            let position = tenants.filter(|_| is_tenants).unwrap_or_else(|| {
                let (tag, rules) = (Arc::new(tag_of(group, &account)), Vec::new());
                script_requests.push(Self { tag, rules, per_mille: at.per_mille, lease: None });
                script_requests.len() - 1
            });
            if is_tenants {
                tenants = Some(position);
            }
            let account_ref = layout::account_ref(group, demand, &plan.name);
            script_requests[position].rules.extend(group.rules.iter().enumerate().map(|(position, rule)| RuleNeed {
                group: small(number),
                position: small(position),
                take: request.takes(rule),
                need: if request.standing == Standing::Regardless { None } else { rule.needed(demand) },
                ..RuleNeed::new(group, rule, &account, account_ref)
            }));
        }
        script_requests
    }

    /// Returns a copy that reserves nothing, so that its settlement counts the whole amount. Concurrency slots are left
    /// out.
    pub(super) fn uncounted(&self) -> Self {
        let mut uncounted = self.clone();
        for rule in &mut uncounted.rules {
            (rule.take, rule.need) = (rule.take.filter(|_| rule.rule.kind != Kind::Slots).map(|_| 0), None);
        }
        uncounted
    }

    /// Returns a copy without the needs in calendar windows; `None` if it takes amounts only in calendar windows.
    pub(super) fn unwindowed(&self) -> Option<Self> {
        let mut script_request = self.clone();
        script_request.rules.retain(|need| need.take.is_some() && need.rule.limit.quota().windows().is_none());
        (!script_request.rules.is_empty()).then_some(script_request)
    }

    /// Returns the number of accounts in which an amount is taken.
    pub(super) fn accounts(&self) -> usize {
        let mut groups: Vec<_> = self.taking().map(|need| need.group).collect();
        groups.dedup();
        groups.len()
    }

    /// Returns the needs with an amount to take.
    pub(super) fn taking(&self) -> impl Iterator<Item = &RuleNeed> {
        self.rules.iter().filter(|need| need.take.is_some())
    }

    /// Returns the holds of a granted call under the reservation with this number.
    pub(super) fn holds(&self, number: u64) -> impl Iterator<Item = Hold> {
        self.taking().map(move |need| Hold {
            account_ref: need.account_ref,
            counter: need.rule.id,
            kind: need.rule.kind,
            amount: need.take.unwrap_or(0),
            mark: number.into(),
        })
    }

    /// Encodes the request as a call of the server's script.
    pub(super) fn call(&self, mode: Mode, id: &Id, lease: u64, at: RequestTimes) -> ScriptCall {
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

    /// Parses the server's reply.
    pub(super) fn read(&self, reply: Value) -> Result<ScriptReply, Error> {
        let mut items = reply.into_list()?.into_iter();
        let mut next = || items.next().unwrap_or(Value::Nil);
        let now = u64::try_from(next().into_int()?).unwrap_or(0).saturating_mul(1_000);
        let refused = |message: &'static str| Err(Error::refused_by_script(message));
        let born = match next().into_int()? {
            -2 => return Ok(ScriptReply::OutOfTime(now)),
            -3 => return refused("the reservation has ended before it began"),
            -5 => return Ok(ScriptReply::Lost),
            born => u64::try_from(born),
        };
        let Ok(born) = born else { return refused(LATER) };
        let at = DecisionTime { now, per_mille: self.per_mille };
        let mut rules = Vec::with_capacity(self.rules.len());
        for need in &self.rules {
            let value = next().into_bytes()?.unwrap_or_default();
            // A value with an unknown format was written by a later version, so the request fails.
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
        Ok(ScriptReply::Decided(Decided { taken, now, born, rules, leased: leased.collect() }))
    }

    /// Returns the obstacle with the longest wait; `None` if every rule has room. Of several obstacles with this wait,
    /// returns the obstacle of the last group.
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

    /// Returns the obstacle of a call that must queue behind waiting calls of this process; `None` if no calls wait.
    pub(super) fn behind(&self, is_awaited: impl Fn(AccountRef) -> bool) -> Option<Blocked> {
        let awaited = self.rules.iter().filter(|need| need.need.is_some() && is_awaited(need.account_ref));
        awaited.max_by_key(|need| need.group).map(|last| last.blocked(Wait::Unknown, None))
    }

    /// Sets the levels of those rules of a plan that the request is about.
    pub(super) fn set_levels(&self, plan: &PlanRules, decided: &Decided, levels: &mut Levels) {
        levels.resize(plan.rules().count(), Level::Unused);
        for (need, (_, state)) in self.rules.iter().zip(&decided.rules) {
            levels[plan.groups[usize::from(need.group)].first + usize::from(need.position)] = need.level(state);
        }
    }
}

/// Error text for a layout of the accounts that this version does not know.
const LATER: &str = "a later version has changed the layout of the accounts: update this process";

impl RuleNeed {
    /// Creates a need without amounts.
    pub(super) fn new(group: &Group, rule: &Rule, account: &str, account_ref: AccountRef) -> Self {
        let field = layout::field(account, &rule.limit.quota().identity()).into();
        let (rule, take, need) = (rule.clone(), None, None);
        Self { field, account_ref, group: 0, position: 0, group_id: group.id, rule, take, need }
    }

    /// Encodes the amounts and the limit. `now` is the estimate of the server's time, in nanoseconds since 1970.
    fn numbers(&self, per_mille: u32, now: u64) -> Vec<u8> {
        let quota = self.rule.limit.quota();
        // An amount above the limit's maximum never fits, so it is encoded as more than any counter can hold.
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

    /// Returns the time until there is room for an amount that did not fit.
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
