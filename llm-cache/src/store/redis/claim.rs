//! Claims: one process sends a call, and the others wait for its response.
//!
//! | reply to a claim | what the claimant does |
//! |---|---|
//! | a value that it can serve | serves the value; no call is needed |
//! | a value that it cannot serve | claims again, ignoring this value; after four such values, calls without a lease |
//! | granted | leads, and renews the lease each third of its time |
//! | taken | waits for a message, and looks again at least each second, until its maximum wait is over |
//! | an error, or no reply in time | calls, and holds the lease if the server may have granted it |
//!
//! A claimant takes the lease over if one of its tags was invalidated since the holder's claim, because it could not
//! use the holder's response.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use llm_redis::{Notification, Subscription, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    queue::{Job, Queue},
    scripts::CLAIM,
    shared::Shared,
    ticket::Ticket,
    value,
};
use crate::{
    Key,
    store::{Claim, Claimant, IsUsable, Lease, MaxWait, Outcome, lease::Hold},
};

/// Interval at which a waiter looks for the response without having received a message. Messages may be lost.
const CHECK: Duration = Duration::from_secs(1);
/// Largest number of values that a claimant reads without being able to serve them. After that, it calls without a
/// lease.
const LOOKS: u32 = 4;

/// Message that lets each waiter send a call of its own. After any other message, waiters look for the response again.
pub(super) const OVER: &str = "over";
/// Message which reports that the response is stored.
pub(super) const STORED: &str = "stored";
/// Message which reports that the lease was released, and another process may claim it.
pub(super) const LEFT: &str = "left";

/// Lease that this process holds on a call.
struct Held {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    key: Key,
    ticket: Ticket,
    since: Instant,
    /// Time of the last renewal, in milliseconds after `since`.
    renewed: AtomicU64,
}

/// Reply of the server to a claim.
enum ClaimReply {
    Granted,
    Value(Bytes),
    /// Another process holds the lease. The duration is the time until the lease ends, unless it is renewed.
    Taken(Duration),
}

/// Looks up an entry, claims the lease on the call for it, or waits for the call of the process that holds the lease.
pub(super) async fn claim(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    claimant: Claimant<'_>,
    is_usable: &IsUsable<'_>,
) -> Claim {
    let mut ticket = shared.ticket(claimant.keys, claimant.priority);
    let (mut seen, mut looks, mut wakes) = (Bytes::new(), 0, None);
    let mut by = claim_by(shared, &claimant.wait);
    if !shared.invalidations.knows_time() {
        // Other processes do not serve a response whose call began before this process knew the server's time. A
        // failure is counted in `sync`.
        let _ = shared.sync(Some(time_to(by))).await;
    }
    loop {
        ticket.token = shared.token();
        let invalidated = shared.last_invalidation(claimant.tags);
        let reply = ask(shared, queue, &ticket, &seen, invalidated, by).await;
        let left = match reply {
            Ok(ClaimReply::Granted) => {
                shared.counts.granted.fetch_add(1, Ordering::Relaxed);
                return Claim::Lead(held(shared, queue, &claimant.keys.entry, ticket));
            }
            Ok(ClaimReply::Value(found)) => {
                if let Some(entry) = current(shared, &claimant.keys.entry, &found, by).await
                    && is_usable(&entry)
                {
                    return Claim::Found(entry);
                }
                looks += 1;
                if looks == LOOKS {
                    return Claim::Lead(Lease::free());
                }
                seen = found.slice_ref(value::stamp(&found));
                continue;
            }
            Ok(ClaimReply::Taken(left)) => left,
            Err(error) => {
                shared.fail(&error);
                // The server may have granted the lease although no reply came.
                return Claim::Lead(match error.may_have_run() {
                    true => held(shared, queue, &claimant.keys.entry, ticket),
                    false => Lease::free(),
                });
            }
        };
        let MaxWait { until, for_others } = claimant.wait;
        if !for_others || Instant::now() >= until {
            return Claim::Taken;
        }
        if wait(shared, &ticket, &mut wakes, left, until).await {
            return Claim::Lead(Lease::free());
        }
        by = claim_by(shared, &claimant.wait);
    }
}

/// Returns the time until which a claim that is sent now waits for its reply.
fn claim_by(shared: &Shared, wait: &MaxWait) -> Instant {
    wait.until.min(Instant::now() + shared.claim)
}

fn time_to(by: Instant) -> Duration {
    by.saturating_duration_since(Instant::now())
}

/// Guard for a claim without a reply. If the claim is cancelled, the guard releases the lease that the server may have
/// granted.
struct Unanswered<'a> {
    queue: &'a Queue,
    ticket: Option<Ticket>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.queue.release(ticket, LEFT);
        }
    }
}

async fn ask(
    shared: &Shared,
    queue: &Queue,
    ticket: &Ticket,
    seen: &Bytes,
    invalidated: u64,
    by: Instant,
) -> Result<ClaimReply, llm_redis::Error> {
    let millis = millis(shared.lease);
    let call = CLAIM.with_keys(&[&ticket.entry, &ticket.lease]).arg(ticket.token.clone()).arg(millis);
    let call = call.arg(seen.clone()).arg(invalidated);
    let mut unanswered = Unanswered { queue, ticket: Some(ticket.clone()) };
    let reply = shared.redis.run_with_timeout(time_to(by), call).await;
    unanswered.ticket = None;
    Ok(match reply? {
        Value::Int(0) => ClaimReply::Granted,
        Value::Int(left) => ClaimReply::Taken(Duration::from_millis(u64::try_from(left).unwrap_or_default())),
        other => other.into_bytes()?.map_or(ClaimReply::Granted, ClaimReply::Value),
    })
}

/// Waits for a message, or until it is time to look for the response. Returns `true` if the awaited call has ended
/// without storing a response, so that the claimant stops waiting.
async fn wait(
    shared: &Shared,
    ticket: &Ticket,
    wakes: &mut Option<Subscription>,
    left: Duration,
    until: Instant,
) -> bool {
    // If the lease is about to end, the waiter looks again after its end.
    let nap = if left < 2 * CHECK { left.max(CHECK) } else { CHECK };
    let alarm = until.min(Instant::now() + nap);
    if wakes.is_none() {
        shared.counts.awaited.fetch_add(1, Ordering::Relaxed);
        *wakes = shared.redis.subscribe(&ticket.channel).ok();
    }
    let message = match wakes {
        Some(wakes) => timeout_at(alarm, wakes.next()).await,
        None => timeout_at(alarm, std::future::pending()).await,
    };
    match message {
        Ok(Some(Notification::Message(message))) => message == OVER,
        // The Redis handle was closed.
        Ok(None) => true,
        Ok(Some(_)) | Err(_) => false,
    }
}

/// Returns the entry in a value, unless the entry was invalidated, or the invalidations cannot be requested from the
/// server.
async fn current(shared: &Shared, key: &Key, found: &Bytes, by: Instant) -> Option<Arc<crate::store::Entry>> {
    if !shared.invalidations.is_current(Instant::now()) {
        shared.sync(Some(time_to(by))).await.ok()?;
    }
    shared.entry(key, &shared.codec.name(key), found)
}

fn held(shared: &Arc<Shared>, queue: &Arc<Queue>, key: &Key, ticket: Ticket) -> Lease {
    shared.leases.hold(key, &ticket);
    let (shared, queue, key, since) = (Arc::clone(shared), Arc::clone(queue), key.clone(), Instant::now());
    Lease::new(Held { shared, queue, key, ticket, since, renewed: AtomicU64::new(0) })
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Hold for Held {
    fn pace(&self) -> Duration {
        self.shared.lease / 3
    }

    fn renew(&self) {
        let (now, pace) = (millis(self.since.elapsed()), millis(self.pace()));
        let due = |renewed: u64| (now >= renewed + pace * 3 / 4).then_some(now);
        if self.renewed.fetch_update(Ordering::AcqRel, Ordering::Acquire, due).is_ok() {
            self.queue.add(Job::Renew(self.key.clone(), self.ticket.clone()));
        }
    }

    fn end(&self, outcome: Outcome) {
        // A stored response has ended the lease already.
        if self.shared.leases.take(&self.key, &self.ticket) {
            let message = if outcome == Outcome::Over { OVER } else { LEFT };
            self.queue.release(self.ticket.clone(), message);
        }
    }
}
