//! Decisions by accounts in Redis and by chunks.

use std::{
    fmt::Display,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use futures_util::future::join_all;
use llm_redis::ErrorKind;
use tokio::time::{Instant, timeout_at};

use super::{
    accounts::RedisAccounts,
    chunk::{Taking, Times},
    layout::{self, Tag},
    open::Reserved,
    outage::Outcome,
    outbox::Job,
    script_request::{Mode, ScriptRequest},
    shared::lock,
};
use crate::{
    Demand, Dimension, LimitStatuses, Reason, Settlement,
    accounts::{Decision, DecisionRequest, Standing},
    blocked::Blocked,
    counter::{DecisionTime, Level, Levels, Wait},
    hold::Holds,
    refusal::Cause,
    rules::Group,
};

/// Largest number of times that one call requests a larger chunk. Several requests can be necessary because other calls
/// of this process may take the amounts first.
const REFILLS: usize = 16;

/// Amounts taken for a call that has not been granted yet. Dropping the value gives the amounts back.
struct Undecided<'a> {
    accounts: &'a RedisAccounts,
    holds: Holds,
    /// Reservation that the server has not acknowledged. Dropping the value cancels it, whether or not the server has
    /// made it.
    sent: Option<(u64, ScriptRequest)>,
}

impl RedisAccounts {
    /// Reads the levels of the limits that apply to a call. Returns no statuses while the server cannot be reached.
    pub(super) async fn look(&self, request: DecisionRequest<'_>) -> LimitStatuses {
        #[cfg(test)]
        self.follow_test(request.at.now).await;
        let mut statuses = LimitStatuses::new(Arc::clone(request.plan), request.at);
        let script_requests = self.script_requests(&request, |_| true);
        let replies = script_requests.iter().map(|script_request| self.shared.send(script_request, Mode::Look, 0));
        let mut levels: Levels = request.plan.rules().map(|_| Level::Unused).collect();
        let mut now = 0;
        for (script_request, decided) in script_requests.iter().zip(join_all(replies).await) {
            match decided {
                Ok(decided) => {
                    script_request.set_levels(request.plan, &decided, &mut levels);
                    now = now.max(decided.now);
                }
                Err(error) => {
                    tracing::debug!(%error, "levels cannot be read");
                    return statuses;
                }
            }
        }
        statuses.set(levels, if script_requests.is_empty() { request.at.now } else { now });
        statuses
    }

    /// Decides without a round trip. Returns `false` if the limits of the call require one.
    pub(super) fn decides_here(&self, request: &DecisionRequest<'_>, decision: &mut Decision) -> bool {
        let DecisionRequest { demand, plan, .. } = *request;
        let mut included = plan.groups.iter().filter(|group| group.scope.includes(demand, &plan.name));
        let is_chunked = included.all(|group| self.is_chunked(group, demand));
        is_chunked && matches!(self.decide_by_chunks(request, decision), Taking::Taken | Taking::Blocked(_))
    }

    /// Decides by those limits of a call that are decided from chunks, without the server.
    fn decide_by_chunks(&self, request: &DecisionRequest<'_>, decision: &mut Decision) -> Taking {
        let DecisionRequest { demand, plan, .. } = *request;
        let is_included =
            move |group: &Group| group.scope.includes(demand, &plan.name) && self.is_chunked(group, demand);
        let groups = plan.groups.iter().enumerate().filter(move |(_, group)| is_included(group));
        let times = Times { now: self.shared.server_now(), local: self.shared.local_now() };
        let mut chunks = lock(&self.shared.chunks);
        let taking =
            chunks.take(request, groups.clone(), times, |group| self.tag_of(group, request), &mut decision.held.holds);
        match &taking {
            Taking::Lacks(..) | Taking::Fails(_) => return taking,
            Taking::Blocked(blocked) => decision.blocked = Some(*blocked),
            Taking::Taken => {}
        }
        let mut levels: Levels = plan.rules().map(|_| Level::Unused).collect();
        for (_, group) in groups {
            let account_ref = layout::account_ref(group, demand, &plan.name);
            chunks.with(account_ref, |chunk| {
                for (position, rule) in (group.first..).zip(&group.rules) {
                    levels[position] = chunk.level(rule);
                }
            });
        }
        decision.statuses.set(levels, times.now);
        taking
    }

    /// Returns `true` if a group is decided from chunks. Limits that tenants share always are, because the key of each
    /// is in a cluster slot of its own.
    fn is_chunked(&self, group: &Group, demand: &Demand) -> bool {
        let settings = &self.shared.settings;
        let is_shared = !settings.has_one_tag && !group.scope.dimensions().contains(&Dimension::Tenant);
        is_shared || group.rules.first().is_some_and(|rule| (settings.is_chunked)(&rule.limit, &demand.tenant))
    }

    fn tag(&self, group: &Group, demand: &Demand, account: &str) -> Tag {
        let is_of_tenant = group.scope.dimensions().contains(&Dimension::Tenant);
        self.shared.tag(is_of_tenant.then_some(&demand.tenant), account)
    }

    fn tag_of(&self, group: &Group, request: &DecisionRequest<'_>) -> Arc<Tag> {
        let account = layout::account_of(group, request.demand, &request.plan.name);
        Arc::new(self.tag(group, request.demand, &account))
    }

    /// Returns one request per hash tag about the groups for which `is_included` is true.
    fn script_requests(
        &self,
        request: &DecisionRequest<'_>,
        is_included: impl Fn(&Group) -> bool,
    ) -> Vec<ScriptRequest> {
        let has_one_tag = self.shared.settings.has_one_tag;
        ScriptRequest::all(request, has_one_tag, |group, account| self.tag(group, request.demand, account), is_included)
    }

    /// Decides by chunks and by the server. If the call may wait for room, the account that blocks it is remembered.
    pub(super) async fn decide_remotely(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        #[cfg(test)]
        self.follow_test(request.at.now).await;
        let _deciding = self.shared.begin_decision();
        self.decide_or_ask(request, decision).await;
        if let Some(Blocked { wait: Wait::Nanos(_) | Wait::Unknown, account_ref: Some(at), group, .. }) =
            decision.blocked
        {
            let tag_of = || self.tag_of(&request.plan.groups[usize::from(group)], request);
            lock(&self.shared.chunks).remember(at, tag_of);
        }
    }

    /// Decides by the chunks first, and requests larger chunks if they are too small. Then decides by the accounts
    /// without chunks.
    async fn decide_or_ask(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        let timeout = Instant::now() + self.shared.settings.decision_timeout;
        for _ in 0..REFILLS {
            let error: &dyn Display = match self.decide_by_chunks(request, decision) {
                Taking::Blocked(_) => return,
                Taking::Taken => return self.decide_by_question(request, decision).await,
                Taking::Lacks(at, replied) => {
                    self.shared.report(at);
                    match timeout_at(timeout, replied).await {
                        Ok(()) => continue,
                        Err(_) => &"no chunk came within the decision timeout",
                    }
                }
                Taking::Fails(error) if error.kind() == ErrorKind::Busy => break,
                Taking::Fails(error) => &error.clone(),
            };
            return self.decide_locally(self.script_requests(request, |_| true), request, decision, error);
        }
        decision.refused = Some(Reason::Busy);
    }

    /// Decides by the accounts without chunks, which all have one hash tag. If the call is not granted, the amounts
    /// that it took from chunks are given back.
    async fn decide_by_question(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        let mut undecided = Undecided { accounts: self, holds: std::mem::take(&mut decision.held.holds), sent: None };
        let script_request = self.script_requests(request, |group| !self.is_chunked(group, request.demand)).pop();
        if let Some(script_request) = script_request {
            let behind = match request.standing {
                Standing::New => script_request.behind(|at| self.shared.is_awaited(at)),
                Standing::Waited | Standing::Regardless => None,
            };
            let mode = match request.standing {
                _ if behind.is_some() => Mode::Look,
                Standing::New => Mode::Take,
                Standing::Waited => Mode::Wait,
                Standing::Regardless => Mode::Force,
            };
            let number = self.shared.next_number();
            let (_, script_request) = undecided.sent.insert((number, script_request));
            let decided = self.shared.send(script_request, mode, number).await;
            // A request that was not sent, or that the server refused, reserves nothing.
            let may_hold = decided.as_ref().map_or_else(llm_redis::Error::may_have_run, |_| false);
            let Some((number, script_request)) = undecided.sent.take() else { return };
            if may_hold && mode != Mode::Look {
                undecided.sent = Some((number, script_request.clone()));
            }
            match decided {
                Ok(decided) => {
                    let at = DecisionTime { now: decided.now, ..request.at };
                    let mut levels = std::mem::take(&mut decision.statuses.levels);
                    script_request.set_levels(request.plan, &decided, &mut levels);
                    decision.statuses.set(levels, at.now);
                    if decided.taken && mode != Mode::Look {
                        decision.held.holds = script_request.holds(number).collect();
                    } else {
                        decision.blocked = script_request.obstacle(&decided, at).or(behind);
                    }
                    if !decision.held.holds.is_empty() {
                        lock(&self.shared.open).add(Reserved::of_call(number, script_request));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Busy => decision.refused = Some(Reason::Busy),
                Err(error) => self.decide_locally(vec![script_request], request, decision, &error),
            }
        }
        if decision.refused.is_none() && decision.blocked.is_none() {
            decision.held.holds.append(&mut undecided.holds);
        }
    }

    /// Decides while the server cannot be reached. A granted call is counted once the server replies again.
    fn decide_locally(
        &self,
        script_requests: Vec<ScriptRequest>,
        request: &DecisionRequest<'_>,
        decision: &mut Decision,
        error: &dyn Display,
    ) {
        tracing::debug!(%error, "redis cannot decide");
        let number = self.shared.next_number();
        let outcome = self.local.decide(script_requests, number, request, decision, &*self.shared.settings.policy);
        let counts = &self.shared.counts;
        let (count, name) = match outcome {
            Outcome::Refused => (&counts.refused, "refused"),
            Outcome::Allowed => (&counts.allowed, "allowed"),
            Outcome::Local => (&counts.local, "local"),
        };
        count.fetch_add(1, Relaxed);
        #[cfg(feature = "metrics")]
        metrics::counter!("llm_ratelimit_outage_decisions_total", "outcome" => name).increment(1);
        #[cfg(not(feature = "metrics"))]
        let _ = name;
        if decision.refused.is_some() {
            decision.cause = Some(Box::new(Cause::Outage(error.to_string().into())));
        }
    }
}

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        let settled = self.accounts.settle_chunks(&self.holds, &Settlement::Unsent);
        if !settled.awaited.is_empty() {
            self.accounts.shared.tell(settled);
        }
        if let Some((number, script_request)) = self.sent.take() {
            self.accounts.shared.push(Job::Settle(Reserved::of_call(number, script_request)));
        }
    }
}
