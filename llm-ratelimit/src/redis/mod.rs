//! Accounts in Redis, which all processes of a fleet share.
//!
//! A [`script_request`] holds the needs of a call, and the [`scripts`] decide on it. [`open`] keeps reservations until
//! their calls end, and the [`outbox`] sends settlements. [`chunks`] has a [`chunk`] for each account, which leases a
//! [`pool`] of each of its counters. [`marks`] holds the highest known levels of windows, and [`outage`] decides while
//! the server cannot be reached.

mod accounts;
mod builder;
mod chunk;
mod chunks;
mod decide;
mod error;
mod layout;
mod marks;
mod open;
mod outage;
mod outbox;
mod pool;
mod script_request;
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
    accounts::RedisAccounts, builder::RedisAccountsBuilder, error::RedisError, settings::OutagePolicy,
    stats::RedisStats,
};
