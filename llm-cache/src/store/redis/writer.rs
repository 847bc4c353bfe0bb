//! The two tasks of a store.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::join_all;
use llm_redis::{Command, Error, Subscription};
use tokio::{sync::mpsc, time::timeout};

use super::{
    claim::millis,
    queue::Job,
    scripts::{KEEP, RELEASE, STORE},
    shared::{Shared, Ticket, failed},
};
use crate::{
    Key,
    store::{Entry, Record},
};

/// How many jobs are done together.
const TOGETHER: usize = 64;

type Doing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Does what is queued, until nobody can queue anything more.
pub(super) async fn write(shared: Arc<Shared>, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(TOGETHER);
    while queue.recv_many(&mut jobs, TOGETHER).await > 0 {
        let mut together: Vec<Doing<'_>> = Vec::new();
        for job in jobs.drain(..) {
            match job {
                Job::Store { key, entry, ticket, _room } => together.push({
                    let shared = &shared;
                    Box::pin(async move {
                        let _room = _room;
                        shared.store(&key, &entry, ticket).await;
                        shared.dequeue(&key, Some(&entry));
                    })
                }),
                Job::Keep(ticket) => together.push(Box::pin(shared.keep(ticket))),
                Job::Release { ticket, message } => together.push(Box::pin(shared.release(ticket, message))),
                Job::Remove(spot, done) => {
                    join_all(std::mem::take(&mut together)).await;
                    let removed = shared.redis.run(Command::del(&spot)).await;
                    // Whoever wanted to know may have left.
                    let _ = done.send(removed.map(drop).map_err(|error| failed(&error)));
                }
                Job::Done(done) => {
                    join_all(std::mem::take(&mut together)).await;
                    let _ = done.send(());
                }
            }
        }
        join_all(together).await;
    }
}

/// Keeps up with what others invalidate: at each message, and while somebody looks things up twice within the bound.
pub(super) async fn follow(shared: Weak<Shared>, mut drops: Subscription) {
    loop {
        let Some(pause) = shared.upgrade().map(|shared| shared.bound / 2) else { return };
        let woken = match timeout(pause, drops.next()).await {
            Ok(Some(_)) => true,
            Ok(None) => return,
            Err(_) => false,
        };
        let Some(shared) = shared.upgrade() else { return };
        if woken || shared.used.load(Ordering::Relaxed) {
            // It is counted there.
            let _ = shared.sync().await;
        }
    }
}

impl Shared {
    async fn store(&self, key: &Key, entry: &Arc<Entry>, ticket: Option<Ticket>) {
        // The application's own code writes its answers.
        let written = catch_unwind(AssertUnwindSafe(|| {
            let record = Record::of(key, entry).filter(|record| self.allows(&record.source))?;
            Some((self.value(&record)?, self.expiry(&record.life)))
        }));
        let Some(((name, value), expiry)) = written.ok().flatten() else {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            if let Some(ticket) = ticket {
                self.release(ticket, super::claim::OVER).await;
            }
            return;
        };
        let stored = match ticket {
            Some(Ticket { entry, lease, channel, token }) => {
                let call = STORE.on(&[&entry, &lease, &channel]).arg(value).arg(expiry).arg(token);
                self.redis.run(call).await
            }
            None => {
                let set = Command::set(&self.spot(&name), value);
                let set = if expiry == 0 { set } else { set.expires_in(std::time::Duration::from_millis(expiry)) };
                self.redis.run(set).await
            }
        };
        self.count(&self.counts.lost, stored.map(drop));
    }

    async fn keep(&self, ticket: Ticket) {
        let call = KEEP.on(&[&ticket.lease]).arg(ticket.token).arg(millis(self.lease));
        match self.redis.run(call).await.and_then(llm_redis::Value::int) {
            Ok(kept) => drop(self.counts.expired.fetch_add(u64::from(kept == 0), Ordering::Relaxed)),
            Err(error) => self.fail(&error),
        }
    }

    async fn release(&self, ticket: Ticket, message: &'static str) {
        let call = RELEASE.on(&[&ticket.lease, &ticket.channel]).arg(ticket.token).arg(message);
        if let Err(error) = self.redis.run(call).await {
            self.fail(&error);
        }
    }

    fn count(&self, count: &AtomicU64, done: Result<(), Error>) {
        if let Err(error) = done {
            count.fetch_add(1, Ordering::Relaxed);
            self.fail(&error);
        }
    }
}
