//! Settlements and cancellations on their way to the server.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use llm_redis::{Error, ErrorKind, Request, ScriptCall, Value};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval_at, sleep},
};

use super::{
    layout::{self, Id, MOST, Tag},
    lease::Leased,
    question::{Answer, KEPT, Mode, Question, RuleNeed},
    scripts::{IMPORT, SETTLE},
    shared::{Shared, lock, micros},
};
use crate::{
    account_ref::AccountRef,
    accounts::{Alert, Settled},
    kind::Kind,
    window::ReachedShares,
};

/// Queue of jobs, of bounded length.
#[derive(Debug)]
pub(super) struct Outbox {
    jobs: mpsc::Sender<Job>,
    /// Jobs that no reply has acknowledged yet.
    pending: watch::Sender<usize>,
    shared: Arc<Shared>,
}

/// A job, which is retried until the server has acknowledged it.
#[derive(Debug)]
pub(super) enum Job {
    /// Turns a reservation in one tag into what was used.
    Settle { tag: Arc<Tag>, id: Id, used: Vec<Used>, shares: Arc<[u8]> },
    /// Reports what was used of the chunks of an account, and changes their size.
    Lease(AccountRef),
    /// Counts a call that was granted while the server was away.
    Charge { question: Question, id: Id, used: Vec<Used>, shares: Arc<[u8]> },
}

/// The queue, for a task that does not keep it open.
pub(super) struct WeakOutbox {
    jobs: mpsc::WeakSender<Job>,
    pending: watch::Sender<usize>,
    shared: Weak<Shared>,
}

/// Amount used of a counter.
#[derive(Clone, Debug)]
pub(super) struct Used {
    pub(super) field: Arc<str>,
    pub(super) account_ref: AccountRef,
    pub(super) group_id: u32,
    pub(super) counter: u32,
    pub(super) kind: Kind,
    pub(super) amount: u64,
}

/// Longest time that one attempt waits for its reply.
const ATTEMPT: Duration = Duration::from_secs(1);
/// First pause between two attempts. Each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

type Running<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Outbox {
    /// Creates the queue, and the receiver that the writing task reads.
    pub(super) fn new(shared: Arc<Shared>) -> (Self, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel(shared.settings.outbox);
        (Self { jobs, pending: watch::Sender::new(0), shared }, receiver)
    }

    /// Number of jobs that no reply has acknowledged yet.
    pub(super) fn pending(&self) -> usize {
        *self.pending.borrow()
    }

    pub(super) fn counter(&self) -> watch::Sender<usize> {
        self.pending.clone()
    }

    pub(super) fn downgrade(&self) -> WeakOutbox {
        let (jobs, shared) = (self.jobs.downgrade(), Arc::downgrade(&self.shared));
        WeakOutbox { jobs, pending: self.pending.clone(), shared }
    }

    /// Adds a job. If there is no room for it, what it would give back counts as spent.
    pub(super) fn push(&self, job: Job) {
        if !self.try_push(job) {
            self.shared.count_dropped();
        }
    }

    /// Reports about the chunks of an account, unless a report is on its way.
    pub(super) fn report(&self, account_ref: AccountRef) {
        let begins = lock(&self.shared.chunks).begin_report(account_ref);
        if begins && !self.try_push(Job::Lease(account_ref)) {
            lock(&self.shared.chunks).give_up(account_ref, ErrorKind::Busy);
        }
    }

    /// Reports about all chunks that have something to report or to renew.
    pub(super) fn report_all(&self) {
        let due = lock(&self.shared.chunks).due();
        due.into_iter().for_each(|account_ref| self.report(account_ref));
    }

    fn try_push(&self, job: Job) -> bool {
        let most = self.shared.settings.outbox;
        let has_room = self.pending.send_if_modified(|pending| {
            let has_room = *pending < most;
            *pending += usize::from(has_room);
            has_room
        });
        let is_sent = has_room && self.jobs.try_send(job).is_ok();
        self.pending.send_modify(|pending| *pending -= usize::from(has_room && !is_sent));
        is_sent
    }

    /// Waits until all that was added has been acknowledged or given up.
    #[cfg(test)]
    pub(super) async fn drained(&self) {
        // The sender is here, so it is not closed.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }
}

/// Renews reservations and chunks each third of their lease, as long as the limiter lives.
pub(super) async fn renew(outbox: WeakOutbox, lease: Duration) {
    let mut rounds = interval_at(Instant::now() + lease / 3, lease / 3);
    loop {
        rounds.tick().await;
        let WeakOutbox { jobs, pending, shared } = &outbox;
        let (Some(jobs), Some(shared)) = (jobs.upgrade(), shared.upgrade()) else { return };
        Outbox { jobs, pending: pending.clone(), shared: Arc::clone(&shared) }.report_all();
        shared.renew().await;
    }
}

/// Runs jobs until the queue is closed. A job that must be retried delays no other.
pub(super) async fn write(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>, pending: watch::Sender<usize>) {
    let mut running: FuturesUnordered<Running<'_>> = FuturesUnordered::new();
    let run = |job: Job| -> Running<'_> {
        let (shared, pending) = (&shared, &pending);
        Box::pin(async move {
            shared.tell(shared.run(job).await);
            pending.send_modify(|pending| *pending -= 1);
            if *pending.borrow() == 0 {
                // The limiter may be closing.
                shared.tell(Settled::default());
            }
        })
    };
    loop {
        tokio::select! {
            Some(()) = running.next() => {}
            job = jobs.recv() => match job {
                Some(job) => running.push(run(job)),
                None => break,
            },
        }
    }
    while running.next().await.is_some() {}
}

impl Used {
    pub(super) fn new(need: &RuleNeed, amount: u64) -> Self {
        let RuleNeed { field, account_ref, group_id, counter, kind, .. } = need.clone();
        Self { field, account_ref, group_id, counter, kind, amount }
    }
}

impl Shared {
    async fn run(&self, job: Job) -> Settled {
        let (settled, used) = match job {
            Job::Lease(account_ref) => return self.report(account_ref).await,
            Job::Settle { tag, id, used, shares } => (self.settle(&tag, id, &used, &shares).await, used),
            Job::Charge { question, id, used, shares } => (self.charge(&question, id, &used, &shares).await, used),
        };
        let mut settled = settled.unwrap_or_else(|error| {
            tracing::warn!(%error, "a settlement was given up, and what it would give back counts as spent");
            self.count_dropped();
            Settled::default()
        });
        settled.awaited = used.iter().map(|used| used.account_ref).filter(|at| self.is_awaited(*at)).collect();
        settled.awaited.dedup();
        settled
    }

    async fn settle(&self, tag: &Tag, id: Id, used: &[Used], shares: &[u8]) -> Result<Settled, Error> {
        consequences(self.insist(self.settlement(tag, id, &listed(shares), used)).await?, used)
    }

    /// Counts a call where nothing was reserved: all of it is beyond its reservation.
    async fn charge(&self, question: &Question, id: Id, used: &[Used], shares: &[u8]) -> Result<Settled, Error> {
        let mut settled = Settled::default();
        for part in 0..question.parts.len() {
            let part = question.part(part);
            loop {
                let call = part.call(Mode::Force, &id, 0, (self.server_now(), self.exact()), &[]);
                match part.answer(self.insist(call).await?)? {
                    Answer::OutOfTime(now) => self.learn_time(now),
                    _ => break,
                }
            }
            let of_part = |used: &&Used| part.rules().any(|rule| rule.field == used.field);
            let used: Vec<_> = used.iter().filter(of_part).cloned().collect();
            let Settled { alerts, debts, .. } = self.settle(&part.parts[0].tag, id, &used, shares).await?;
            settled.alerts.extend(alerts);
            settled.debts.extend(debts);
        }
        Ok(settled)
    }

    /// Reports about the chunks of an account until the server has acknowledged it.
    async fn report(&self, account_ref: AccountRef) -> Settled {
        let (lease, mut pause) = (self.settings.lease, FIRST_PAUSE);
        loop {
            let now = self.local_now();
            let nanos = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX / 2);
            let Some(mut report) = lock(&self.chunks).report(account_ref, self.server_now(), nanos) else {
                return Settled::default();
            };
            report.born = lock(&self.marks).born(&report.tag);
            let call = report.call(micros(lease), self.settings.parts, self.server_now(), self.exact_time());
            let reply = self.attempt(self.settings.decision_timeout, call).await;
            let error = match reply.and_then(|reply| report.answer(reply)) {
                Ok(Leased::OutOfTime(now)) => {
                    self.learn_time(now);
                    continue;
                }
                Ok(Leased::Lost) => match self.restore(&report.tag).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Ok(Leased::Done { now: server_now, born, pools, events }) => {
                    self.learn_time(server_now);
                    let levels = report.pools.iter().zip(&pools).map(|(pool, reply)| (&pool.need, &reply.stored));
                    lock(&self.marks).note(&report.tag, born, levels);
                    let times = (server_now, now.saturating_add(nanos));
                    let used: Vec<_> = report.pools.iter().map(|pool| Used::new(&pool.need, 0)).collect();
                    let mut settled = consequences(events, &used).unwrap_or_default();
                    let mut chunks = lock(&self.chunks);
                    if chunks.reply(account_ref, pools, times, report.per_mille) {
                        settled.awaited.push(account_ref);
                    }
                    if chunks.is_closing && chunks.has_surplus(account_ref) && chunks.begin_report(account_ref) {
                        drop(chunks);
                        self.tell(settled);
                        continue;
                    }
                    return settled;
                }
                Ok(Leased::UnknownLayout) => Error::refused_by_script("a later version has changed the layout"),
                Err(error) => error,
            };
            tracing::debug!(%error, "chunks cannot be reported");
            let is_last = self.ends_at.get().is_some_and(|end| Instant::now() + pause >= *end);
            if error.kind() == ErrorKind::Closed || is_last {
                lock(&self.chunks).give_up(account_ref, error.kind());
                return Settled::default();
            }
            lock(&self.chunks).fail(account_ref, error.kind());
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Reports the levels of accounts that the server has lost, as far as this process has seen them, and its open
    /// reservations. Of what several processes report, the highest remains.
    pub(super) async fn restore(&self, tag: &Tag) -> Result<(), Error> {
        let (windows, leased) = (lock(&self.marks).lost(tag), self.leased(tag));
        // Accounts of which nothing is known here may have expired.
        if windows.len() + leased.len() > 0 {
            let (windows, reservations) = (windows.len(), leased.len());
            tracing::warn!(windows, reservations, "the server has lost accounts, and gets what is known of them here");
        }
        for (field, window) in windows {
            let call = IMPORT.with_keys(&[&tag.accounts]).arg(KEPT[0]).arg("greater").arg(&*field).arg(window);
            self.redis.run_with_timeout(ATTEMPT, call).await?;
        }
        let lease = micros(self.settings.lease);
        for (id, question) in leased {
            let call = question.call(Mode::Force, &id, lease, (self.server_now(), self.exact()), &[]);
            self.redis.run_with_timeout(ATTEMPT, call).await?;
        }
        Ok(())
    }

    /// Cancels what a part of a question took.
    pub(super) async fn cancel(&self, part: &Question, id: Id) -> Result<(), Error> {
        let part = &part.parts[0];
        let used: Vec<_> = part.rules.iter().map(|need| Used::new(need, 0)).collect();
        let call = self.settlement(&part.tag, id, "undo", &used);
        self.redis.run_with_timeout(self.settings.decision_timeout, call).await.map(drop)
    }

    fn settlement(&self, tag: &Tag, id: Id, shares: &str, used: &[Used]) -> ScriptCall {
        let call = SETTLE.with_keys(&[&tag.accounts, &tag.ends, &tag.channel]);
        let call = call.arg(&id[..]).arg(self.exact_time()).arg(shares);
        used.iter().fold(call, |call, used| call.arg(&*used.field).arg(used.amount.min(MOST)))
    }

    /// Sends a request in its turn. One that is retried leaves its turn to others meanwhile.
    async fn attempt(&self, timeout: Duration, request: impl Into<Request>) -> Result<Value, Error> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        self.redis.run_with_timeout(timeout, request).await
    }

    /// Retries a request until Redis answers, or until the limiter has been gone for a while.
    async fn insist(&self, request: impl Into<Request>) -> Result<Value, Error> {
        let (request, mut pause) = (request.into(), FIRST_PAUSE);
        loop {
            let error = match self.attempt(ATTEMPT, request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let is_last = self.ends_at.get().is_some_and(|end| Instant::now() + pause >= *end);
            if error.kind() == ErrorKind::Closed || is_last {
                return Err(error);
            }
            if !error.is_outage() && self.counts.failed.fetch_add(1, Relaxed) == 0 {
                tracing::warn!(%error, "a settlement failed, trying again");
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// Writes alert shares as the script reads them.
fn listed(shares: &[u8]) -> String {
    let texts: Vec<String> = shares.iter().map(u8::to_string).collect();
    texts.join(" ")
}

/// Reads the windows that reached alert shares or made debt.
fn consequences(reply: Value, used: &[Used]) -> Result<Settled, Error> {
    let mut settled = Settled::default();
    for event in reply.into_list()? {
        let mut event = event.into_list()?.into_iter();
        let mut next = || event.next().unwrap_or(Value::Nil);
        let field = next().into_bytes()?.unwrap_or_default();
        let mut number = || next().into_int().map(|n| u64::try_from(n).unwrap_or(0));
        let (from, to, debt, spent, until) = (number()?, number()?, number()?, number()?, number()?);
        let Some(Used { group_id, counter, kind, .. }) = used.iter().find(|used| used.field.as_bytes() == &field[..])
        else {
            continue;
        };
        if debt > 0 {
            settled.debts.push((*kind, debt));
        }
        if to > 0 {
            let values = layout::parse_field(&field).map(|(_, values, ..)| values).unwrap_or_default();
            let share = |percent: u64| u8::try_from(percent).unwrap_or(u8::MAX);
            let (shares, until) = (ReachedShares { from: share(from), to: share(to) }, until.saturating_mul(1_000));
            let (group, counter) = (*group_id, *counter);
            settled.alerts.push(Alert { group, counter, values, shares, used: spent, until });
        }
    }
    Ok(settled)
}
