//! Decisions in Redis, and from chunks.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use futures_util::future::join_all;
use llm_redis::{Error, ErrorKind};
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, timeout_at},
};

use super::{
    accounts::RedisAccounts,
    chunks::Taking,
    layout::{self, Id, Stored, Tag},
    outage::Outcome,
    outbox::{Job, Used},
    question::{Answer, Mode, Question, RuleNeed},
    shared::{Open, lock, micros},
};
use crate::{
    Demand, Dimension, LimitStatuses, Reason, Settlement,
    account_ref::AccountRef,
    accounts::{Decision, DecisionRequest, Settled, Standing},
    counter::{DecisionTime, Level, Levels, Wait},
    hold::{Hold, Holds},
    rules::Group,
};

/// Number of times that a question is sent whose time was wrong: the first reply says the server's.
const TIMES: usize = 4;
/// Number of times that a call asks for more of a chunk, of which other calls of this process may take what comes.
const REFILLS: usize = 16;

/// A decision of the server.
struct Decided {
    taken: bool,
    now: u64,
    rules: Vec<(bool, Stored)>,
}

/// Reason why chunks cannot decide.
enum Lack {
    /// An account has too little. The server has been asked for more when this is ready.
    Room(AccountRef, OwnedNotified),
    /// The server cannot be asked.
    Server(ErrorKind),
}

/// Amounts taken from chunks for a call that other accounts have not granted yet. Dropped, they go back.
struct TakenChunks<'a> {
    accounts: &'a RedisAccounts,
    holds: Holds,
}

/// A reservation whose reply has not come. Dropped, it is cancelled, whether it was made or not.
struct Unconfirmed<'a> {
    accounts: &'a RedisAccounts,
    id: Id,
    question: &'a Question,
    is_over: bool,
}

impl RedisAccounts {
    /// Reads the levels of a call's limits.
    pub(super) async fn look(&self, request: DecisionRequest<'_>) -> LimitStatuses {
        #[cfg(test)]
        self.follow_test(request.at.now).await;
        let mut statuses = LimitStatuses::new(Arc::clone(request.plan), request.at);
        let question = Question::new(self.shared.redis.key_space(), &request, |_| true);
        let decided = match question.parts.is_empty() {
            true => Ok(Decided { taken: false, now: request.at.now, rules: Vec::new() }),
            false => self.ask(&question, Mode::Look, Id::default()).await,
        };
        match decided {
            Ok(Decided { now, rules, .. }) => {
                let at = DecisionTime { now, ..request.at };
                statuses.set(question.levels(request.plan, &rules, at), now);
            }
            Err(error) => tracing::debug!(%error, "levels cannot be read"),
        }
        statuses
    }

    /// Decides without a round trip. Returns false if that is not possible.
    pub(super) fn decides_here(&self, request: &DecisionRequest<'_>, decision: &mut Decision) -> bool {
        !self.needs_others(request) && self.decide_by_chunks(request, decision).is_none()
    }

    /// Decides by what this process knows: by its chunks alone. Returns the account that has too little, if it cannot.
    fn decide_by_chunks(&self, request: &DecisionRequest<'_>, decision: &mut Decision) -> Option<Lack> {
        let groups = self.chunked_groups(request);
        let now = self.shared.server_now();
        let create = |group: &Group| {
            let account = layout::account_of(group, request.demand, &request.plan.name);
            let key_space = self.shared.redis.key_space();
            let tag = match group.scope.dimensions().contains(&Dimension::Tenant) {
                true => Tag::of_tenant(key_space, &request.demand.tenant),
                false => Tag::of_shared(key_space, &account),
            };
            (tag, self.shared.id(self.shared.next_number()))
        };
        let mut chunks = lock(&self.shared.chunks);
        let times = (now, self.shared.local_now());
        match chunks.take(request, groups.clone(), times, create, &mut decision.held.holds) {
            Taking::Lacks(at, replied) => return Some(Lack::Room(at, replied.notified_owned())),
            Taking::Fails(kind) => return Some(Lack::Server(kind)),
            Taking::Blocked(blocked) => decision.blocked = Some(blocked),
            Taking::Taken => {}
        }
        let time = DecisionTime { now, ..request.at };
        let mut levels: Levels = request.plan.rules().map(|_| Level::Unused).collect();
        for (_, group) in groups {
            let at = layout::account_ref(group, request.demand, &request.plan.name);
            for (position, level) in (group.first..).zip(chunks.levels(group, at, time)) {
                levels[position] = level;
            }
        }
        decision.statuses.set(levels, now);
        if let Some(at) = decision.blocked.filter(|to| to.wait != Wait::Ever).and_then(|to| to.account_ref)
            && let Some(tag) = chunks.tag(at)
        {
            self.shared.remember(at, tag);
        }
        None
    }

    /// Returns the groups of a call that are decided from chunks.
    fn chunked_groups<'a>(&'a self, request: &DecisionRequest<'a>) -> impl Iterator<Item = (usize, &'a Group)> + Clone {
        let DecisionRequest { demand, plan, .. } = *request;
        let is_included = move |group: &Group| group.scope.includes(demand, &plan.name);
        plan.groups.iter().enumerate().filter(move |(_, group)| is_included(group) && self.is_chunked(group, demand))
    }

    fn is_chunked(&self, group: &Group, demand: &Demand) -> bool {
        group.rules.first().is_some_and(|rule| (self.shared.settings.is_chunked)(&rule.limit, &demand.tenant))
    }

    /// Decides from chunks, for which it asks the server where there is too little, and then by the other accounts.
    pub(super) async fn decide_remotely(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        #[cfg(test)]
        self.follow_test(request.at.now).await;
        let _deciding = self.shared.begin_decision();
        let key_space = self.shared.redis.key_space();
        let timeout = Instant::now() + self.shared.settings.decision_timeout;
        for _ in 0..REFILLS {
            let lack = self.decide_by_chunks(request, decision);
            let kind = match lack {
                None if decision.blocked.is_some() => return,
                None => {
                    let mut taken = TakenChunks { accounts: self, holds: std::mem::take(&mut decision.held.holds) };
                    let question = Question::new(key_space, request, |group| !self.is_chunked(group, request.demand));
                    self.decide_by_question(question, request, decision).await;
                    if decision.blocked.is_none() && decision.refused.is_none() {
                        decision.held.holds.append(&mut taken.holds);
                    }
                    return;
                }
                Some(Lack::Room(at, replied)) => {
                    self.outbox.report(at);
                    match timeout_at(timeout, replied).await {
                        Ok(()) => continue,
                        Err(_) => ErrorKind::Timeout,
                    }
                }
                Some(Lack::Server(kind)) => kind,
            };
            if kind == ErrorKind::Busy {
                break;
            }
            let question = Question::new(key_space, request, |_| true);
            return self.decide_locally(question, request, decision, self.shared.next_number(), &kind);
        }
        decision.refused = Some(Reason::Busy);
    }

    /// Returns true if a call needs accounts of which this process has no chunks.
    fn needs_others(&self, request: &DecisionRequest<'_>) -> bool {
        let DecisionRequest { demand, plan, .. } = *request;
        let mut included = plan.groups.iter().filter(|group| group.scope.includes(demand, &plan.name));
        included.any(|group| !self.is_chunked(group, demand))
    }

    async fn decide_by_question(&self, question: Question, request: &DecisionRequest<'_>, decision: &mut Decision) {
        if question.parts.is_empty() {
            return;
        }
        let behind = match request.standing {
            Standing::New => question.behind(|at| self.shared.is_awaited(at)),
            Standing::Waited | Standing::Regardless => None,
        };
        let mode = match request.standing {
            _ if behind.is_some() => Mode::Look,
            Standing::New => Mode::Take,
            Standing::Waited => Mode::Wait,
            Standing::Regardless => Mode::Force,
        };
        let number = self.shared.next_number();
        let decided = match self.ask(&question, mode, self.shared.id(number)).await {
            Ok(decided) => decided,
            Err(error) if error.kind() == ErrorKind::Busy => return decision.refused = Some(Reason::Busy),
            Err(error) => return self.decide_locally(question, request, decision, number, &error),
        };
        let at = DecisionTime { now: decided.now, ..request.at };
        let mut levels = question.levels(request.plan, &decided.rules, at);
        for (level, known) in levels.iter_mut().zip(&decision.statuses.levels) {
            if *level == Level::Unused {
                *level = *known;
            }
        }
        decision.statuses.set(levels, at.now);
        if decided.taken {
            self.grant(question, decision, number, |id, question| Open::Leased { id, question });
            return;
        }
        decision.blocked = question.obstacle(&decided.rules, at).or(behind);
        self.remember_rooms(&question, decision);
    }

    /// Fills in what a granted call holds, and keeps it open until it is settled.
    fn grant(
        &self,
        question: Question,
        decision: &mut Decision,
        number: u64,
        open: impl FnOnce(Id, Arc<Question>) -> Open,
    ) {
        let hold = |need: &RuleNeed| Hold {
            account_ref: need.account_ref,
            counter: need.counter,
            kind: need.kind,
            amount: need.take.unwrap_or(0),
            mark: number.into(),
        };
        decision.held.holds = question.taking().into_iter().map(hold).collect();
        if !decision.held.holds.is_empty() {
            self.shared.add(number, open(self.shared.id(number), Arc::new(question)));
        }
    }

    fn remember_rooms(&self, question: &Question, decision: &Decision) {
        let Some(account_ref) = decision.blocked.filter(|to| to.wait != Wait::Ever).and_then(|to| to.account_ref)
        else {
            return;
        };
        for part in &question.parts {
            if part.rules.iter().any(|rule| rule.account_ref == account_ref) {
                self.shared.remember(account_ref, &part.tag);
            }
        }
    }

    /// Decides while the server is away. What is granted is counted when it is back.
    fn decide_locally(
        &self,
        question: Question,
        request: &DecisionRequest<'_>,
        decision: &mut Decision,
        number: u64,
        error: &dyn std::fmt::Debug,
    ) {
        tracing::debug!(?error, "redis cannot decide");
        let outcome = self.local.decide(&question, request, decision, &*self.shared.settings.policy);
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
        if decision.refused.is_none() && decision.blocked.is_none() {
            let holds = std::mem::take(&mut decision.held.holds);
            self.grant(question, decision, number, |_, question| Open::Local { question, holds });
        } else {
            self.remember_rooms(&question, decision);
        }
    }

    /// Asks the server: once if one server holds all accounts, else each part apart.
    async fn ask(&self, question: &Question, mode: Mode, id: Id) -> Result<Decided, Error> {
        let mut unconfirmed = Unconfirmed { accounts: self, id, question, is_over: mode == Mode::Look };
        if question.parts.len() == 1 || !self.shared.redis.is_cluster() {
            let decided = self.ask_once(question, mode, id).await;
            // What was not sent, or refused, holds nothing.
            unconfirmed.is_over |= match &decided {
                Ok(_) => true,
                Err(error) => !error.may_have_run(),
            };
            return decided;
        }
        let parts: Vec<_> = (0..question.parts.len()).map(|part| question.part(part)).collect();
        let decided = join_all(parts.iter().map(|part| self.ask_once(part, mode, id))).await;
        let mut decided = decided.into_iter().collect::<Result<Vec<_>, _>>()?;
        if mode != Mode::Look && !decided.iter().all(|part| part.taken) {
            // What some parts took goes back, and their levels are read anew.
            for (part, decided) in parts.iter().zip(&mut decided).filter(|(_, decided)| decided.taken) {
                self.shared.cancel(part, id).await?;
                *decided = self.ask_once(part, Mode::Look, id).await?;
                decided.taken = false;
            }
        }
        unconfirmed.is_over = true;
        let taken = decided.iter().all(|part| part.taken);
        let now = decided.iter().map(|part| part.now).max().unwrap_or_default();
        Ok(Decided { taken, now, rules: decided.into_iter().flat_map(|part| part.rules).collect() })
    }

    async fn ask_once(&self, question: &Question, mode: Mode, id: Id) -> Result<Decided, Error> {
        let shared = &self.shared;
        for _ in 0..TIMES {
            let lease = micros(shared.settings.lease);
            let born: Vec<u64> = {
                let marks = lock(&shared.marks);
                question.parts.iter().map(|part| marks.born(&part.tag)).collect()
            };
            let call = question.call(mode, &id, lease, (shared.server_now(), shared.exact()), &born);
            let reply = shared.redis.run_with_timeout(shared.settings.decision_timeout, call).await?;
            match question.answer(reply)? {
                Answer::Decided { taken, now, born, rules } => {
                    shared.learn_time(now);
                    shared.note(question, &born, &rules);
                    return Ok(Decided { taken: taken && mode != Mode::Look, now, rules });
                }
                Answer::OutOfTime(now) => shared.learn_time(now),
                Answer::Lost => {
                    for part in &question.parts {
                        shared.restore(&part.tag).await?;
                    }
                }
                Answer::Ended | Answer::UnknownLayout => break,
            }
        }
        Err(Error::refused_by_script(
            "the accounts have another layout, or the server's time leaps: update this process",
        ))
    }
}

impl Drop for TakenChunks<'_> {
    fn drop(&mut self) {
        let mut settled = Settled::default();
        self.accounts.settle_chunks(&self.holds, &Settlement::Unsent, &[], &mut settled);
        if !settled.awaited.is_empty() {
            self.accounts.shared.tell(settled);
        }
    }
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        for part in &self.question.parts {
            let used = part.rules.iter().filter(|need| need.take.is_some()).map(|need| Used::new(need, 0)).collect();
            self.accounts.outbox.push(Job::Settle {
                tag: Arc::clone(&part.tag),
                id: self.id,
                used,
                shares: Arc::new([]),
            });
        }
    }
}
