//! Leases of this process, from the claim until the server is known to have released them.
//!
//! | state of a lease | meaning |
//! |---|---|
//! | held | the call runs; storing a response under the key ends the lease |
//! | open | granted, and not known to be released; closing the cache waits for these leases |
//! | left | could not be released; the server drops the lease when its time to live is over |

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::ticket::Ticket;
use crate::Key;

pub(super) struct Leases {
    /// Time after which the server drops a lease that is not renewed.
    ttl: Duration,
    table: Mutex<Table>,
    /// Notified when a lease is removed from `open`.
    closed: Notify,
}

#[derive(Default)]
struct Table {
    /// Leases of running calls, by the keys under which their responses are stored.
    held: HashMap<Key, Vec<Ticket>>,
    /// Tokens of all leases that were granted and not released.
    open: HashSet<Bytes>,
    /// Leases that could not be released, each with the time at which the server drops it.
    left: Vec<(Ticket, Instant)>,
}

impl Leases {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, table: Mutex::default(), closed: Notify::new() }
    }

    /// Adds the lease of a running call. Storing a response under `key` ends the lease.
    pub(super) fn hold(&self, key: &Key, ticket: &Ticket) {
        let mut table = self.table();
        table.open.insert(ticket.token.clone());
        table.held.entry(key.clone()).or_default().push(ticket.clone());
    }

    pub(super) fn is_held(&self, key: &Key, ticket: &Ticket) -> bool {
        self.table().held.get(key).is_some_and(|tickets| tickets.contains(ticket))
    }

    /// Removes and returns all held leases under a key. The caller must release them.
    pub(super) fn take_all(&self, key: &Key) -> Vec<Ticket> {
        self.table().held.remove(key).unwrap_or_default()
    }

    /// Removes one held lease. Returns `true` if the lease was still held; the caller must then release it.
    pub(super) fn take(&self, key: &Key, ticket: &Ticket) -> bool {
        let mut table = self.table();
        let Some(tickets) = table.held.get_mut(key) else { return false };
        let before = tickets.len();
        tickets.retain(|known| known != ticket);
        let was_held = tickets.len() < before;
        if tickets.is_empty() {
            table.held.remove(key);
        }
        was_held
    }

    /// Removes a lease that the server no longer has. Returns `true` if it was open.
    pub(super) fn close(&self, ticket: &Ticket) -> bool {
        let was_open = self.table().open.remove(&ticket.token);
        self.closed.notify_waiters();
        was_open
    }

    /// Records that a lease could not be released. The server drops it when its time to live is over.
    pub(super) fn leave(&self, ticket: Ticket) {
        let now = Instant::now();
        let mut table = self.table();
        table.open.remove(&ticket.token);
        table.left.retain(|(_, end)| *end > now);
        table.left.push((ticket, now + self.ttl));
        drop(table);
        self.closed.notify_waiters();
    }

    /// Removes and returns the leases that could not be released, and that the server may still have.
    pub(super) fn take_left(&self) -> Vec<Ticket> {
        let (left, now) = (std::mem::take(&mut self.table().left), Instant::now());
        left.into_iter().filter(|(_, end)| *end > now).map(|(ticket, _)| ticket).collect()
    }

    /// Waits until all leases that are open at the time of the call are closed, at most until `until`. Returns the
    /// number of those still open.
    pub(super) async fn closed(&self, until: Instant) -> usize {
        let open: Vec<Bytes> = self.table().open.iter().cloned().collect();
        let count = || {
            let table = self.table();
            open.iter().filter(|token| table.open.contains(*token)).count()
        };
        let all = async {
            loop {
                let closed = self.closed.notified();
                if count() == 0 {
                    return;
                }
                closed.await;
            }
        };
        let _ = timeout_at(until, all).await;
        count()
    }

    /// Returns the number of leases that could not be released, and that the server may still have.
    pub(super) fn left(&self) -> usize {
        let now = Instant::now();
        self.table().left.iter().filter(|(_, end)| *end > now).count()
    }

    /// Returns the number of leases that the server may still have.
    pub(super) fn count(&self) -> usize {
        self.left() + self.table().open.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use llm_redis::Redis;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(n: u32) -> Key {
        Key::of("ns", "acme", "op", &n).unwrap()
    }

    fn ticket(n: u8) -> Ticket {
        // No connection is made: the test only needs names of keys.
        let redis = Redis::builder("redis://127.0.0.1:1").spawn().unwrap();
        let hash_tag = redis.key_space().tag("p");
        let [entry, lease, channel] = ["entry", "lease", "wake"].map(|name| hash_tag.key(name));
        Ticket { entry, lease, channel, token: vec![n].into() }
    }

    #[tokio::test(start_paused = true)]
    async fn closed_waits_for_leases_open_before() {
        let leases = Leases::new(10 * SECOND);
        leases.hold(&key(1), &ticket(1));
        leases.hold(&key(2), &ticket(2));
        let start = Instant::now();
        assert_eq!(leases.closed(start + SECOND).await, 2);
        assert_eq!(start.elapsed(), SECOND);
        let (open, ()) = tokio::join!(leases.closed(start + 60 * SECOND), async {
            leases.hold(&key(3), &ticket(3));
            assert!(leases.take(&key(1), &ticket(1)) && !leases.take(&key(1), &ticket(1)));
            assert_eq!(leases.take_all(&key(2)).len(), 1);
            for n in [1, 2] {
                tokio::time::sleep(SECOND).await;
                leases.close(&ticket(n));
            }
        });
        assert_eq!((open, start.elapsed()), (0, 3 * SECOND));
        assert!(leases.is_held(&key(3), &ticket(3)) && leases.count() == 1);
    }

    #[tokio::test(start_paused = true)]
    async fn left_leases_count_until_server_expiry() {
        let leases = Leases::new(10 * SECOND);
        leases.hold(&key(1), &ticket(1));
        assert!(leases.take(&key(1), &ticket(1)));
        leases.leave(ticket(1));
        assert_eq!((leases.closed(Instant::now()).await, leases.count()), (0, 1));
        tokio::time::advance(10 * SECOND).await;
        assert_eq!(leases.count(), 0);
        leases.leave(ticket(2));
        assert!(leases.take_left() == [ticket(2)] && leases.count() == 0);
    }
}
