//! Decisions and settlements in Redis.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::{join_all, try_join_all};
use llm_redis::{Command, Error, ErrorKind};
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, timeout_at},
};

use super::{
    RedisStats,
    chunks::{Taking, is_of_chunk},
    layout::{self, ACCOUNTS, Stored, Tag},
    outage::{LocalShare, Outcome},
    outbox::{Job, Outbox, Used},
    question::{self, Answer, Mode, Question, RuleNeed},
    scripts::{FORGET, IMPORT},
    shared::{Id, Open, Shared, lock, micros},
};
use crate::{
    Balance, Demand, Dimension, LimitStatuses, Reason, Settlement, StoreError,
    account_ref::AccountRef,
    accounts::{Accounts, Decision, DecisionRequest, Listener, RoundTrip, Settled, Standing},
    counter::{DecisionTime, Level, Levels, Wait},
    hold::{Hold, Holds},
    kind::Kind,
    rules::{Group, Names},
    window::ImportMode,
};

/// Number of times that a question is sent whose time was wrong: the first reply says the server's.
const TIMES: usize = 4;
/// Longest time of each step of an operation that the application itself starts.
const OPERATION: Duration = Duration::from_secs(10);
/// Number of times that a call asks for more of a chunk, of which other calls of this process may take what comes.
const REFILLS: usize = 16;
/// Number of balances that are imported at the same time.
const TOGETHER: usize = 64;
/// Time after which the first of those that wait asks again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Accounts in Redis: one limit and one budget, however many processes decide by them.
///
/// A decision is one script and one round trip. It takes all that a call needs, or nothing. The time is the server's.
/// Settlements are sent afterwards, and retried until the server has acknowledged them. The page `docs/fleet.md` of the
/// repository says how to run a server for it, and what an outage or a crash can lose.
///
/// ```no_run
/// use std::num::NonZeroU32;
///
/// use llm_ratelimit::{Demand, Limiter, Plans, RedisAccounts, Settlement, llm_redis::Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::builder("redis://127.0.0.1:6379").prefix("shop").spawn()?;
/// // Four processes share the limits.
/// let accounts = RedisAccounts::builder(redis, NonZeroU32::new(4).ok_or("zero")?).open().await?;
/// let limiter = Limiter::builder(Plans::uniform(["60/minute", "20 concurrent"])?).redis(accounts).build()?;
/// let reservation = limiter.reserve(&Demand::new("acme", "gpt-4o-mini")).await?;
/// reservation.settle(Settlement::Unknown);
/// limiter.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RedisAccounts {
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Outbox,
    pub(super) local: LocalShare,
}

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
    fn stats(&self) -> RedisStats {
        let counts = &self.shared.counts;
        RedisStats {
            dropped_settlements: counts.dropped.load(Relaxed),
            pending_settlements: self.outbox.pending() as u64,
            refused_in_outage: counts.refused.load(Relaxed),
            allowed_in_outage: counts.allowed.load(Relaxed),
            shared_in_outage: counts.local.load(Relaxed),
        }
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
    fn chunked_groups<'a>(
        &'a self,
        request: &DecisionRequest<'a>,
    ) -> impl Iterator<Item = (usize, &'a Group)> + Clone {
        let DecisionRequest { demand, plan, .. } = *request;
        let is_included = move |group: &Group| group.scope.includes(demand, &plan.name);
        plan.groups.iter().enumerate().filter(move |(_, group)| is_included(group) && self.is_chunked(group, demand))
    }

    fn is_chunked(&self, group: &Group, demand: &Demand) -> bool {
        group.rules.first().is_some_and(|rule| (self.shared.settings.is_chunked)(&rule.limit, &demand.tenant))
    }

    /// Decides from chunks, for which it asks the server where there is too little, and then by the other accounts.
    async fn decide_remotely(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        #[cfg(test)]
        self.follow_test(request.at.now).await;
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
            let call = question.call(mode, &id, lease, shared.server_now(), shared.exact());
            let reply = shared.redis.run_with_timeout(shared.settings.decision_timeout, call).await?;
            match question.answer(reply)? {
                Answer::Decided { taken, now, rules } => {
                    shared.learn_time(now);
                    return Ok(Decided { taken: taken && mode != Mode::Look, now, rules });
                }
                Answer::OutOfTime(now) => shared.learn_time(now),
                Answer::Ended | Answer::UnknownLayout => break,
            }
        }
        Err(Error::refused_by_script(
            "the accounts have another layout, or the server's time leaps: update this process",
        ))
    }

    /// Settles what a call took of chunks, account by account.
    fn settle_chunks(&self, holds: &[Hold], settlement: &Settlement, shares: &[u8], settled: &mut Settled) {
        for holds in holds.chunk_by(|a, b| a.account_ref == b.account_ref) {
            let (account_ref, mut chunks) = (holds[0].account_ref, lock(&self.shared.chunks));
            if chunks.settle(holds, settlement, shares) {
                settled.awaited.push(account_ref);
            }
            let is_closing = chunks.is_closing;
            drop(chunks);
            if is_closing {
                self.outbox.report(account_ref);
            }
        }
    }

    /// Gives all chunks back, now and when calls end.
    pub(super) fn return_chunks(&self) {
        lock(&self.shared.chunks).is_closing = true;
        self.outbox.report_all();
    }

    fn settle_open(
        &self,
        open: Open,
        holds: &[Hold],
        settlement: &Settlement,
        now: u64,
        alert_shares: &[u8],
    ) -> Settled {
        let shares: Arc<[u8]> = alert_shares.into();
        let (Open::Leased { question, .. } | Open::Local { question, .. }) = &open;
        let used = |amount: &dyn Fn(&RuleNeed) -> Option<u64>, rules: &[RuleNeed]| -> Vec<Used> {
            rules.iter().filter_map(|need| Some(Used::new(need, amount(need)?))).collect()
        };
        let amount = |need: &RuleNeed| Some(settlement.amount(need.kind, need.take?));
        match &open {
            Open::Leased { id, question } => {
                for part in &question.parts {
                    let used = used(&amount, &part.rules);
                    if !used.is_empty() {
                        let (tag, shares) = (Arc::clone(&part.tag), Arc::clone(&shares));
                        self.outbox.push(Job::Settle { tag, id: *id, used, shares });
                    }
                }
                Settled::default()
            }
            Open::Local { holds: local, .. } => {
                let mut settled = self.local.table.settle(local, settlement, now, alert_shares);
                settled.awaited = holds.iter().map(|hold| hold.account_ref).collect();
                settled.awaited.dedup();
                settled.awaited.retain(|at| self.shared.is_awaited(*at));
                let counted = |need: &RuleNeed| amount(need).filter(|_| need.kind != Kind::Slots);
                let rules: Vec<_> = question.rules().cloned().collect();
                let used = used(&counted, &rules);
                if used.iter().any(|used| used.amount > 0) {
                    let id = self.shared.id(self.shared.next_number());
                    self.outbox.push(Job::Charge { question: question.uncounted(), id, used, shares });
                }
                settled
            }
        }
    }

    async fn all_balances(&self) -> Result<Vec<Balance>, Error> {
        let (mut cursor, mut balances) = (None, Vec::new());
        loop {
            let page = self.shared.redis.scan(ACCOUNTS, cursor.as_deref(), 256).await?;
            for key in page.keys {
                let hash = self.shared.redis.run_with_timeout(OPERATION, Command::new("HGETALL", &key)).await?;
                balances.extend(layout::balances(hash.into_list()?));
            }
            cursor = page.cursor;
            if cursor.is_none() {
                balances.sort_by(|a: &Balance, b| {
                    (&a.scope, &a.values, &a.counter).cmp(&(&b.scope, &b.values, &b.counter))
                });
                balances.dedup_by(|a, b| (&a.scope, &a.values, &a.counter) == (&b.scope, &b.values, &b.counter));
                return Ok(balances);
            }
        }
    }

    /// Takes a balance over. Returns true if it changed an account.
    async fn put(&self, mut balance: Balance, mode: ImportMode) -> Result<bool, Error> {
        if mode != ImportMode::Spent {
            balance.window.lose_reservations();
        }
        let key_space = self.shared.redis.key_space();
        let account = layout::account_name(&balance.scope, balance.values(), balance.catch_all);
        let tag = match balance.scope.value_of(&Dimension::Tenant, balance.values()) {
            Some(tenant) => Tag::of_tenant(key_space, tenant),
            None => Tag::of_shared(key_space, &account),
        };
        let mode = match mode {
            ImportMode::Replace => "replace",
            ImportMode::Greater => "greater",
            ImportMode::Spent => "spent",
        };
        let ordinal = layout::ordinal(&balance);
        let call = IMPORT.with_keys(&[&tag.accounts]).arg(question::KEPT[0]).arg(mode);
        let call = call.arg(layout::field(&account, &balance.counter));
        let call = call.arg(layout::window_value(&balance.window, ordinal));
        Ok(self.shared.redis.run_with_timeout(OPERATION, call).await?.into_int()? == 1)
    }

    /// Lets a test's time stand for the server's, and all that was settled before be counted.
    #[cfg(test)]
    async fn follow_test(&self, now: u64) {
        if self.shared.exact().is_some() {
            self.shared.set_exact(now);
            self.outbox.drained().await;
        }
    }
}

impl Accounts for RedisAccounts {
    fn try_decide(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        let is_known = !self.needs_others(request) && self.decide_by_chunks(request, decision).is_none();
        if !is_known {
            decision.refused = Some(Reason::Remote);
        }
    }

    fn decide<'a>(&'a self, request: &'a DecisionRequest<'a>, decision: &'a mut Decision) -> Option<RoundTrip<'a, ()>> {
        #[cfg(test)]
        if self.shared.exact().is_some() {
            return Some(Box::pin(self.decide_remotely(request, decision)));
        }
        if !self.needs_others(request) && self.decide_by_chunks(request, decision).is_none() {
            return None;
        }
        Some(Box::pin(self.decide_remotely(request, decision)))
    }

    fn settle(&self, holds: &[Hold], settlement: &Settlement, now: u64, alert_shares: &[u8]) -> Settled {
        let of_chunks = holds.partition_point(|hold| !is_of_chunk(hold));
        let (others, of_chunks) = holds.split_at(of_chunks);
        let open = others.first().and_then(|hold| self.shared.take(hold.mark.into()));
        let settled = open.map(|open| self.settle_open(open, others, settlement, now, alert_shares));
        let mut settled = settled.unwrap_or_default();
        self.settle_chunks(of_chunks, settlement, alert_shares, &mut settled);
        settled
    }

    fn levels<'a>(&'a self, request: DecisionRequest<'a>) -> RoundTrip<'a, LimitStatuses> {
        Box::pin(async move {
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
        })
    }

    fn forget<'a>(&'a self, tenant: &'a str, _: &'a Names) -> RoundTrip<'a, ()> {
        Box::pin(async move {
            #[cfg(test)]
            self.outbox.drained().await;
            let tag = Tag::of_tenant(self.shared.redis.key_space(), tenant);
            let call = FORGET.with_keys(&[&tag.accounts]);
            if let Err(error) = self.shared.redis.run_with_timeout(OPERATION, call).await {
                tracing::error!(%error, "a tenant was not forgotten: forget it again");
            }
        })
    }

    fn export<'a>(&'a self, changed: bool, _: &'a Names) -> RoundTrip<'a, Result<Vec<Balance>, StoreError>> {
        Box::pin(async move {
            #[cfg(test)]
            self.outbox.drained().await;
            // What changed is in Redis already, where a persister need not write it.
            if changed {
                return Ok(Vec::new());
            }
            self.all_balances().await.map_err(|error| StoreError::Read(error.to_string()))
        })
    }

    fn import<'a>(
        &'a self,
        balances: Vec<Balance>,
        mode: ImportMode,
        _: &'a Names,
    ) -> RoundTrip<'a, Result<usize, StoreError>> {
        Box::pin(async move {
            let mut changed = 0;
            for together in balances.chunks(TOGETHER) {
                let put = together.iter().map(|balance| self.put(balance.clone(), mode));
                let put = try_join_all(put).await.map_err(|error| StoreError::Write(error.to_string()))?;
                changed += put.into_iter().filter(|changed| *changed).count();
            }
            Ok(changed)
        })
    }

    fn set_awaited(&self, account_ref: AccountRef, awaited: bool) {
        self.shared.set_awaited(account_ref, awaited);
    }

    fn open(&self) -> usize {
        self.shared.open() + lock(&self.shared.chunks).open() + self.outbox.pending()
    }

    fn close(&self) {
        self.return_chunks();
    }

    fn len(&self) -> usize {
        0
    }

    fn sweep(&self, _: u64) {}

    fn connect(&self, listener: Listener) {
        self.shared.connect(listener);
    }

    fn redis_stats(&self) -> crate::RedisStats {
        self.stats()
    }

    fn ask_again_after(&self) -> Option<Duration> {
        Some(ASK_AGAIN)
    }
}

impl Used {
    pub(super) fn new(need: &RuleNeed, amount: u64) -> Self {
        let RuleNeed { field, account_ref, group_id, counter, kind, .. } = need.clone();
        Self { field, account_ref, group_id, counter, kind, amount }
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
