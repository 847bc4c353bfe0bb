//! Accounts in Redis, which all processes of a fleet share.
//!
//! [`Question`] is what a call asks, and the scripts of [`scripts`] answer it. Settlements go through the [`Outbox`].
//! [`Shared`] holds open reservations and the queues' subscriptions; [`LocalShare`] decides while the server is away.

mod accounts;
mod builder;
mod error;
mod layout;
mod outage;
mod outbox;
mod question;
mod scripts;
mod shared;
#[cfg(test)]
mod test_server;

use std::{
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use llm_redis::Redis;

#[cfg(test)]
pub(crate) use self::test_server::{accounts_on_cluster, accounts_on_one_server, accounts_with_tls};
pub use self::{builder::RedisAccountsBuilder, error::RedisError, outage::OutagePolicy};
use self::{outage::LocalShare, outbox::Outbox, shared::Shared};

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
    shared: Arc<Shared>,
    outbox: Outbox,
    local: LocalShare,
}

/// Counters of [`RedisAccounts`] since they were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Settlements that were given up or found the outbox full. What they would give back counts as spent.
    pub dropped_settlements: u64,
    /// Settlements that wait to be acknowledged.
    pub pending_settlements: u64,
    /// Calls refused because Redis could not be reached.
    pub refused_in_outage: u64,
    /// Calls that passed without a limit because Redis could not be reached.
    pub allowed_in_outage: u64,
    /// Calls decided by local shares because Redis could not be reached.
    pub shared_in_outage: u64,
}

impl RedisAccounts {
    /// Returns the settings of accounts on a server that so many processes share. The number of instances decides the share
    /// of each in an outage.
    pub fn builder(redis: Redis, instances: NonZeroU32) -> RedisAccountsBuilder {
        RedisAccountsBuilder::new(redis, instances)
    }

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
}
