//! Entries in Redis, with memory in front, and one payment for each question among all processes that share it.
//!
//! Opening a store spawns two tasks: one does what is [queued](queue) behind the callers, the other listens to what others
//! invalidate. Both end with the store.
//!
//! A stored value is a [head](value) and an entry as it lies at rest. It, the lease on its question and the channel on
//! which waiters are woken have one hash tag. What was invalidated is one sorted set for all ([`invalidations`](dropped)): should
//! the server lose it, a new epoch begins, and everything older is a miss.

mod claim;
mod invalidations;
mod leases;
mod listing;
mod queue;
mod scripts;
mod shared;
mod store;
mod value;
mod writer;

pub(crate) use self::store::{RedisSettings, RedisStore};
#[cfg(feature = "fuzzing")]
pub(crate) use self::value::read as read_value;
