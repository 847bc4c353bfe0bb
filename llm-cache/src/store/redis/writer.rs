//! Tasks of a store: one writes entries, the other follows invalidations.
//!
//! Jobs run concurrently, up to a bound. A job that fails is retried for five seconds with growing pauses between the
//! attempts. An entry that is replaced or removed meanwhile is not written.

use std::{
    convert::Infallible,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use llm_redis::{Command, Error, ErrorKind, Request, Subscription, Value};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    claim::{LEFT, OVER, STORED, millis},
    queue::{Job, MOST},
    scripts::{RELEASE, RENEW, STORE},
    shared::{Shared, failed},
    ticket::Ticket,
};
use crate::{
    Key,
    store::{Entry, Record},
};

/// Longest time for which a job is retried.
pub(super) const BEHIND: Duration = Duration::from_secs(5);
/// Timeout of one attempt. The timeout is necessary because a connection may break without an error.
const TRY: Duration = Duration::from_secs(1);
/// First pause between two attempts. Each further pause is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

type Running<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Runs the queued jobs until the queue is closed. A job that must be retried delays no other.
pub(super) async fn write(shared: Arc<Shared>, mut queue: mpsc::Receiver<Job>) {
    let _ends = Ends(&shared);
    let mut batch = Batch::new();
    let mut running: FuturesUnordered<Running<'_>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = running.next() => {}
            job = queue.recv(), if running.len() < MOST => match job {
                Some(job) => running.push(shared.start(job, &mut batch)),
                None => break,
            },
        }
    }
    while running.next().await.is_some() {}
}

/// Guard that records the end of the writing task, even if its runtime ends first.
struct Ends<'a>(&'a Shared);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        // The number is not set yet, because the task ends once.
        let _ = self.0.ended.set(self.0.counts.dropped_writes.load(Ordering::Relaxed));
    }
}

/// Jobs since the last job that had to wait for all earlier ones. Each job holds a sender. The batch is done when all
/// senders are dropped.
struct Batch {
    running: mpsc::Sender<Infallible>,
    done: mpsc::Receiver<Infallible>,
}

impl Batch {
    fn new() -> Self {
        let (running, done) = mpsc::channel(1);
        Self { running, done }
    }

    /// Starts a new batch. The returned future completes when the old one is done.
    fn next(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let Self { running, mut done } = mem::replace(self, Self::new());
        drop(running);
        async move {
            let _ = done.recv().await;
        }
    }
}

/// Follows the invalidations of other processes. Requests them after each message, and twice within the bound while
/// entries are looked up.
pub(super) async fn follow(shared: Weak<Shared>, mut invalidation_channel: Subscription) {
    loop {
        let Some(bound) = shared.upgrade().map(|shared| shared.bound) else { return };
        let woken = match timeout(bound / 2, invalidation_channel.next()).await {
            Ok(Some(_)) => true,
            Ok(None) => return,
            Err(_) => false,
        };
        let Some(shared) = shared.upgrade() else { return };
        if woken || shared.used.load(Ordering::Relaxed) {
            // A reply after the bound would be too late. `sync` counts a failure.
            let _ = shared.sync(Some(bound.min(BEHIND))).await;
        }
    }
}

impl Shared {
    /// Starts a job. Jobs that remove an entry or report completion wait until all earlier jobs are done.
    fn start<'a>(&'a self, job: Job, batch: &mut Batch) -> Running<'a> {
        let before = matches!(job, Job::Remove(..) | Job::Done(_)).then(|| batch.next());
        let running = batch.running.clone();
        Box::pin(async move {
            let _done = running;
            if let Some(before) = before {
                before.await;
            }
            self.run(job).await;
        })
    }

    async fn run(&self, job: Job) {
        match job {
            Job::Store { key, entry, tickets, _room } => {
                self.store(&key, &entry, tickets).await;
                self.dequeue(&key, Some(&entry));
            }
            Job::Renew(key, ticket) => self.renew(&key, ticket).await,
            Job::Release { ticket, message } => self.release(ticket, message).await,
            Job::Remove(redis_key, done) => {
                let removed = self.insist(Command::del(&redis_key), || true).await;
                // The receiver has been dropped if its caller was cancelled.
                let _ = done.send(removed.map(drop).map_err(|error| failed(&error)));
            }
            Job::Done(done) => drop(done.send(())),
        }
    }

    async fn store(&self, key: &Key, entry: &Arc<Entry>, tickets: Vec<Ticket>) {
        // The `Serialize` implementation of the application runs here, and may panic.
        let written = catch_unwind(AssertUnwindSafe(|| {
            let record = Record::of(key, entry).filter(|record| self.allows(&record.provenance))?;
            Some((self.value(&record)?, self.ttl_millis(&record.expiry)))
        }));
        let Some(((name, value), ttl_millis)) = written.ok().flatten() else {
            self.counts.dropped_writes.fetch_add(1, Ordering::Relaxed);
            return self.release_all(tickets, OVER).await;
        };
        let is_wanted = || self.is_queued(key, entry);
        let mut tickets = tickets.into_iter();
        let Some(ticket) = tickets.next() else {
            let set = Command::set(&self.redis_key(&name), value);
            let set = if ttl_millis == 0 { set } else { set.expires_in(Duration::from_millis(ttl_millis)) };
            return self.stored(self.insist(set, is_wanted).await, is_wanted());
        };
        let call = STORE.with_keys(&[&ticket.entry, &ticket.lease, &ticket.channel]);
        let call = call.arg(value).arg(ttl_millis).arg(ticket.token.clone());
        let stored = self.insist(call, is_wanted).await;
        let is_wanted = is_wanted();
        match &stored {
            // The entry was replaced or removed, so it is not written, and its lease is released.
            Err(error) if error.is_outage() && !is_wanted => self.release(ticket, LEFT).await,
            Err(error) if error.is_outage() => self.leases.leave(ticket),
            // The script ends the lease even if the value was not stored.
            _ => drop(self.leases.close(&ticket)),
        }
        self.stored(stored, is_wanted);
        // This process may hold other leases for the same entry: those of calls with another priority, and of calls
        // from before an invalidation.
        self.release_all(tickets, STORED).await;
    }

    /// Counts a failure to write an entry, unless the entry was replaced or removed.
    fn stored(&self, stored: Result<Value, Error>, is_wanted: bool) {
        if let Err(error) = stored
            && is_wanted
        {
            self.counts.dropped_writes.fetch_add(1, Ordering::Relaxed);
            self.fail(&error);
        }
    }

    async fn renew(&self, key: &Key, ticket: Ticket) {
        let call = RENEW.with_keys(&[&ticket.lease]).arg(ticket.token.clone()).arg(millis(self.lease));
        let is_held = || self.leases.is_held(key, &ticket);
        let renewed = self.insist(call, is_held).await.and_then(Value::into_int);
        match renewed {
            _ if !is_held() => {}
            Ok(0) => drop(self.counts.expired.fetch_add(u64::from(self.leases.close(&ticket)), Ordering::Relaxed)),
            Ok(_) => {}
            Err(error) => self.fail(&error),
        }
    }

    async fn release_all(&self, tickets: impl IntoIterator<Item = Ticket>, message: &'static str) {
        for ticket in tickets {
            self.release(ticket, message).await;
        }
    }

    async fn release(&self, ticket: Ticket, message: &'static str) {
        let call = RELEASE.with_keys(&[&ticket.lease, &ticket.channel]).arg(ticket.token.clone()).arg(message);
        match self.insist(call, || true).await {
            Ok(_) => drop(self.leases.close(&ticket)),
            Err(error) => {
                self.fail(&error);
                self.leases.leave(ticket);
            }
        }
    }

    /// Retries a request until Redis replies, for a limited time and while `is_wanted` returns true. The request must
    /// have the same effect if it runs twice.
    async fn insist(&self, request: impl Into<Request>, is_wanted: impl Fn() -> bool) -> Result<Value, Error> {
        let (request, until, mut pause) = (request.into(), Instant::now() + BEHIND, FIRST_PAUSE);
        loop {
            let bound = until.saturating_duration_since(Instant::now()).min(TRY);
            let turn = self.sending.acquire().await;
            let tried = self.redis.run_with_timeout(bound, request.clone()).await;
            drop(turn);
            let Err(error) = tried else { return tried };
            if !may_pass(&error) || Instant::now() + pause >= until || !is_wanted() {
                return Err(error);
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// Returns `true` if the same request may succeed a little later.
fn may_pass(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Closed => false,
        // After a failover, the connection to the new primary may not exist yet.
        ErrorKind::ReadOnly => true,
        _ => error.is_outage(),
    }
}
