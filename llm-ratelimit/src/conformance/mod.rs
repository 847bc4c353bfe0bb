//! Test suite that every implementation of [`Accounts`] must pass. Add a new implementation to [`implementations`].

#![expect(clippy::disallowed_methods, reason = "tests spawn callers and look at how large they are to be")]

#[cfg(feature = "redis")]
mod chunks;
mod model;
#[cfg(feature = "redis")]
mod redis;
mod round_trip;
mod suite;
mod waiting;

use llm_core::{ManualClock, Usage};

use self::round_trip::RoundTrips;
use crate::{Demand, Settlement, account_table::AccountTable, accounts::Accounts};

/// Function that creates empty accounts.
type Make = fn() -> Box<dyn Accounts>;

/// Returns all implementations by name. Servers with TLS, and a Cluster, which takes seconds to form, are included only
/// at full size.
fn implementations() -> Vec<(&'static str, Make)> {
    let always: &[(&'static str, Make)] = &[
        ("memory", || Box::new(AccountTable::new(1_000))),
        ("round trips", || Box::new(RoundTrips::new())),
        #[cfg(feature = "redis")]
        ("redis", || Box::new(crate::redis::accounts_on_one_server())),
    ];
    let at_full_size: &[(&'static str, Make)] = &[
        #[cfg(feature = "redis-tls")]
        ("redis with TLS", || Box::new(crate::redis::accounts_with_tls())),
        #[cfg(feature = "redis-cluster")]
        ("redis Cluster", || Box::new(crate::redis::accounts_on_cluster())),
    ];
    always.iter().chain(at_full_size.iter().filter(|_| is_full())).copied().collect()
}

/// Returns `true` if the environment requests the tests at full size.
fn is_full() -> bool {
    std::env::var("LLM_FULL").is_ok_and(|full| full == "1")
}

/// 21 November 2026, 12:00:00 UTC.
const NOON: u64 = 1_795_262_400;

fn noon() -> ManualClock {
    ManualClock::at_unix(NOON)
}

fn ask(tenant: &str) -> Demand {
    Demand::new(tenant, "m")
}

fn used(input: u64, output: u64) -> Settlement {
    Settlement::Used { usage: Usage::new(input, output), cost: None }
}
