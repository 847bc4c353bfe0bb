//! Accounts in Redis, which all processes of a fleet share.
//!
//! [`question`] holds what a call asks, and [`scripts`] answer it. Settlements go through the [`outbox`]. [`shared`] holds open
//! reservations and the queues' subscriptions, and [`outage`] decides while the server is away. [`chunks`] holds
//! what is leased of shared accounts, and [`lease`] reports about it.

mod accounts;
mod builder;
mod chunks;
mod decide;
mod error;
mod layout;
mod lease;
mod marks;
mod outage;
mod outbox;
mod pool;
mod question;
mod scripts;
mod settings;
mod shared;
mod stats;
#[cfg(test)]
mod test_server;

#[cfg(test)]
pub(crate) use self::test_server::{
    accounts_on_cluster, accounts_on_one_server, accounts_with_chunks, accounts_with_tls,
};
pub use self::{
    accounts::RedisAccounts, builder::RedisAccountsBuilder, error::RedisError, outage::OutagePolicy, stats::RedisStats,
};
