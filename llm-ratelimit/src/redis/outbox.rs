//! Queue of the settlements, reports and renewals that are being sent to the server.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use llm_redis::{Error, ErrorKind, Request, ScriptCall, Value};
use tokio::time::{Instant, interval_at, sleep};

use super::{
    chunk::{Chunk, Times},
    layout::{self, Tag},
    open::Reserved,
    script_request::{KEPT, Mode, RuleNeed},
    scripts::{IMPORT, MOST, RENEW, SETTLE, bytes, double},
    shared::{Shared, lock, micros},
};
use crate::{
    account_ref::AccountRef,
    accounts::{Alert, Settled},
    window::ReachedShares,
};

/// Request that is retried until the server acknowledges it, or until [`Shared::ends_at`] after the limiter was
/// dropped.
#[derive(Debug)]
pub(super) enum Job {
    /// Replaces the amounts of a reservation by the used amounts.
    Settle(Reserved),
    /// Returns the amounts that ended calls of a reservation did not use.
    GiveBack(Reserved),
    /// Counts a call that was granted while the server could not be reached. The request first reserves nothing, so
    /// that the settlement counts the whole amount.
    Charge(Reserved),
    /// Reports the used amounts of an account's chunks, and changes the size of the chunks.
    Lease(AccountRef),
}

/// Pause between two attempts. It doubles after each attempt, up to [`LONGEST_PAUSE`].
struct Pause(Duration);

/// Timeout of one attempt.
const ATTEMPT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Largest number of reservations that one script renews.
const BATCH: usize = 500;

/// Renews reservations and chunks after each third of their lease, as long as the limiter lives.
pub(super) async fn renew(shared: Weak<Shared>, lease: Duration) {
    let mut rounds = interval_at(Instant::now() + lease / 3, lease / 3);
    loop {
        rounds.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.report_all();
        let partial = lock(&shared.open).partial();
        partial.into_iter().for_each(|reserved| shared.push(Job::GiveBack(reserved)));
        shared.renew().await;
    }
}

impl Pause {
    /// Waits after a failed attempt. Returns the error if it was the last attempt.
    async fn after(&mut self, error: Error, shared: &Shared) -> Result<(), Error> {
        let is_last = shared.ends_at.get().is_some_and(|end| Instant::now() + self.0 >= *end);
        if error.kind() == ErrorKind::Closed || is_last {
            return Err(error);
        }
        sleep(self.0).await;
        self.0 = (2 * self.0).min(LONGEST_PAUSE);
        Ok(())
    }
}

impl Shared {
    /// Adds a job, and **spawns a task** that runs it. If the queue is full, the job is dropped, and the amounts that
    /// it would return count as spent.
    pub(super) fn push(self: &Arc<Self>, job: Job) {
        if !self.try_push(job) {
            self.count_dropped();
        }
    }

    fn try_push(self: &Arc<Self>, job: Job) -> bool {
        let most = self.settings.outbox;
        let has_room = self.pending.send_if_modified(|pending| {
            let has_room = *pending < most;
            *pending += usize::from(has_room);
            has_room
        });
        if has_room {
            let shared = Arc::clone(self);
            self.set_settling(&job, true);
            self.runtime.spawn(async move {
                let settled = shared.run(&job).await;
                shared.set_settling(&job, false);
                shared.tell(settled);
                shared.pending.send_modify(|pending| *pending -= 1);
                if *shared.pending.borrow() == 0 {
                    // The limiter may be closing and waiting for the last job.
                    shared.tell(Settled::default());
                }
            });
        }
        has_room
    }

    /// Reports an account's chunks, unless they are being reported already.
    pub(super) fn report(self: &Arc<Self>, account_ref: AccountRef) {
        let begins = lock(&self.chunks).with(account_ref, |chunk| !std::mem::replace(&mut chunk.is_reporting, true));
        if begins && !self.try_push(Job::Lease(account_ref)) {
            lock(&self.chunks).with(account_ref, Chunk::give_up);
        }
    }

    /// Reports all chunks that must be reported or renewed.
    pub(super) fn report_all(self: &Arc<Self>) {
        let due = lock(&self.chunks).due();
        due.into_iter().for_each(|account_ref| self.report(account_ref));
    }

    /// Returns the number of jobs that have not been acknowledged or given up.
    pub(super) fn pending(&self) -> usize {
        *self.pending.borrow()
    }

    /// Waits until all jobs have been acknowledged or given up.
    #[cfg(test)]
    pub(super) async fn drained(&self) {
        // `self` owns the sender, so the channel cannot close.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    fn set_settling(&self, job: &Job, is_settling: bool) {
        if let Job::Settle(Reserved { script_request, .. }) | Job::GiveBack(Reserved { script_request, .. }) = job
            && let Some(need) = script_request.rules.first()
        {
            lock(&self.chunks).with(need.account_ref, |chunk| match is_settling {
                true => chunk.settling += 1,
                false => chunk.settling = chunk.settling.saturating_sub(1),
            });
        }
    }

    async fn run(self: &Arc<Self>, job: &Job) -> Settled {
        let reserved = match job {
            Job::Lease(account_ref) => return self.lease(*account_ref).await,
            Job::Settle(reserved) | Job::GiveBack(reserved) | Job::Charge(reserved) => reserved,
        };
        let mut settled = self.settle(job, reserved).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a settlement was given up, so the amounts that it would return count as spent");
            self.count_dropped();
            Settled::default()
        });
        settled.awaited = self.awaited(reserved.script_request.rules.iter());
        settled
    }

    /// Settles a reservation. A charge first makes a reservation without amounts, so that the settlement counts the
    /// whole amount beyond it.
    async fn settle(&self, job: &Job, reserved: &Reserved) -> Result<Settled, Error> {
        if matches!(job, Job::Charge(_)) {
            self.retried(|| self.send(&reserved.script_request, Mode::Force, reserved.number)).await?;
        }
        let request = Request::from(match job {
            Job::GiveBack(_) => self.settlement(reserved, double(reserved.partial), reserved.remaining()),
            _ => self.settlement(reserved, f64::INFINITY, reserved.used.iter().copied()),
        });
        let reply = self.retried(|| self.redis.run_with_timeout(ATTEMPT, request.clone())).await?;
        consequences(reply, &reserved.script_request.rules)
    }

    /// Sends a request until the server has acknowledged it. Returns the last error if the request was given up.
    async fn retried<T, F: Future<Output = Result<T, Error>>>(&self, send: impl Fn() -> F) -> Result<T, Error> {
        let mut pause = Pause(FIRST_PAUSE);
        loop {
            match self.in_turn(send()).await {
                Ok(reply) => return Ok(reply),
                Err(error) => pause.after(error, self).await?,
            }
        }
    }

    /// Sends a request as soon as `turns` has a permit. Between its retries, other requests may be sent.
    async fn in_turn<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        request.await
    }

    /// Encodes a settlement. `number` is the number of a partial settlement, or infinity for the final one.
    fn settlement(&self, reserved: &Reserved, number: f64, amounts: impl Iterator<Item = u64>) -> ScriptCall {
        let (script_request, shares) =
            (&reserved.script_request, self.alert_shares.get().map_or(&[][..], |shares| shares));
        let (id, head) = (self.id(reserved.number), bytes(&[double(self.exact().map(|now| now / 1_000)), number]));
        let call = SETTLE.with_keys(&script_request.tag.keys()).arg(&id[..]).arg(shares).arg(head);
        let amounts = script_request.rules.iter().zip(amounts).filter(|(need, _)| need.take.is_some());
        amounts.fold(call, |call, (need, amount)| call.arg(&*need.field).arg(amount.min(MOST)))
    }

    /// Requests leases for an account until the server grants what the account needs, or until no further attempt is
    /// allowed.
    async fn lease(self: &Arc<Self>, account_ref: AccountRef) -> Settled {
        let (lease, mut pause) = (nanos(self.settings.lease), Pause(FIRST_PAUSE));
        loop {
            let times = Times { now: self.server_now(), local: self.local_now() };
            let sent = {
                let (number, sizes) = (self.next_number(), (lease, self.settings.parts));
                let request =
                    |chunk: &mut Chunk| Some(chunk.request(number, times, sizes, self.is_closing(), |n| self.id(n)));
                let mut chunks = lock(&self.chunks);
                let Some((sent, before)) = chunks.with(account_ref, request) else { return Settled::default() };
                if let Some(before) = before {
                    lock(&self.open).add(before);
                }
                sent
            };
            let error = match self.in_turn(self.send(&sent.script_request, Mode::Lease, sent.number)).await {
                Ok(decided) => {
                    let expires = times.local.saturating_add(lease);
                    let reply = |chunk: &mut Chunk| chunk.reply(&decided, expires, self.is_closing());
                    let goes_on = lock(&self.chunks).with(account_ref, reply);
                    let ended = sent.before.and_then(|number| lock(&self.open).confirm(number));
                    if let Some(reserved) = ended {
                        self.push(Job::Settle(reserved));
                    }
                    let awaited = self.awaited(sent.script_request.rules.iter());
                    let settled = Settled { awaited, ..Settled::default() };
                    if !goes_on {
                        return settled;
                    }
                    self.tell(settled);
                    continue;
                }
                Err(error) => error,
            };
            tracing::debug!(%error, "chunks cannot be leased");
            lock(&self.chunks).with(account_ref, |chunk| chunk.fail(&error));
            if pause.after(error, self).await.is_err() {
                lock(&self.chunks).with(account_ref, Chunk::give_up);
                return Settled::default();
            }
        }
    }

    /// Restores accounts that the server has lost, by reporting the highest levels that this process has seen, and its
    /// open reservations. If another call has reported these since this process learned that the hash was created at
    /// `born`, nothing is reported. If several processes report, the highest level remains. After an error, the next
    /// call reports again.
    pub(super) async fn restore(&self, tag: &Tag, born: u64) -> Result<(), Error> {
        let reporting = lock(&self.marks).reporting(tag);
        let _reporting = reporting.lock().await;
        if lock(&self.marks).born(tag) != born {
            return Ok(());
        }
        let (windows, open) = (lock(&self.marks).lost(tag), lock(&self.open).unwindowed(tag));
        // Accounts that this process knows nothing of may have expired, which is no loss.
        if windows.len() + open.len() > 0 {
            let (windows, reservations) = (windows.len(), open.len());
            tracing::warn!(windows, reservations, "the server has lost accounts: restoring them from this process");
        }
        for (field, window, limit) in windows {
            let value = layout::window_value(&window, limit.quota().windows());
            let call = IMPORT.with_keys(&tag.keys()).arg(KEPT[0]).arg("greater").arg(&*field).arg(value);
            self.redis.run_with_timeout(ATTEMPT, call).await?;
        }
        for (number, script_request) in open {
            let call = self.call(&script_request, Mode::Force, number, 0);
            self.redis.run_with_timeout(ATTEMPT, call).await?;
        }
        lock(&self.marks).reported(tag);
        Ok(())
    }

    /// Renews all open reservations, in batches by hash tag.
    async fn renew(&self) {
        let by_tag = lock(&self.open).by_tag();
        for (tag, numbers) in by_tag.into_values() {
            for numbers in numbers.chunks(BATCH) {
                let born = lock(&self.marks).born(&tag);
                let call = RENEW.with_keys(&tag.keys()).arg(micros(self.settings.lease)).arg(born);
                let call = numbers.iter().fold(call, |call, number| call.arg(&self.id(*number)[..]));
                let reply = self.redis.run_with_timeout(self.settings.lease / 3, call).await.and_then(Value::into_int);
                let renewed = match reply {
                    Ok(5) => self.restore(&tag, born).await,
                    reply => reply.map(drop),
                };
                if let Err(error) = renewed {
                    // The next round tries again. The server frees reservations that are not renewed in time.
                    tracing::debug!(%error, "reservations were not renewed");
                }
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// Parses a settlement's reply, which lists the windows that reached alert shares, and the windows to which the
/// settlement added debt.
fn consequences(reply: Value, needs: &[RuleNeed]) -> Result<Settled, Error> {
    let mut settled = Settled::default();
    for event in reply.into_list()? {
        let mut event = event.into_list()?.into_iter();
        let mut next = || event.next().unwrap_or(Value::Nil);
        let field = next().into_bytes()?.unwrap_or_default();
        let mut number = || next().into_int().map(|n| u64::try_from(n).unwrap_or(0));
        let (from, to, debt, used, until) = (number()?, number()?, number()?, number()?, number()?);
        let Some(need) = needs.iter().find(|need| need.field.as_bytes() == &field[..]) else { continue };
        if debt > 0 {
            settled.debts.push((need.rule.kind, debt));
        }
        if to > 0 {
            let values = layout::parse_field(&field).map(|(_, values, ..)| values).unwrap_or_default();
            let share = |percent: u64| u8::try_from(percent).unwrap_or(u8::MAX);
            let (shares, until) = (ReachedShares { from: share(from), to: share(to) }, until.saturating_mul(1_000));
            settled.alerts.push(Alert { group: need.group_id, counter: need.rule.id, values, shares, used, until });
        }
    }
    Ok(settled)
}
