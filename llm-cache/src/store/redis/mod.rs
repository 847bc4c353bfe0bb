//! Entries in Redis, with a local tier. Of all processes that share the server, one sends and pays for each request.
//!
//! Opening a store spawns two tasks. One runs the [queued](queue) jobs, and the other follows the invalidations of
//! other processes. Both end with the store.
//!
//! A stored value is a [head](value) and an entry at rest. The value, the lease on its request and the channel on which
//! waiters are woken have one hash tag. Invalidations are one sorted set for all processes ([`invalidations`]). If the
//! server loses this set, a new epoch begins, and every older entry is a miss.

mod claim;
mod invalidations;
mod leases;
mod listing;
mod queue;
mod scripts;
mod shared;
mod store;
mod ticket;
mod value;
mod writer;

pub(crate) use self::shared::RedisSettings;
pub(crate) use self::store::RedisStore;
#[cfg(feature = "fuzzing")]
pub(crate) use self::value::read as read_value;
