//! The suite that every implementation of [`Accounts`] has to pass. A new one is added to [`IMPLEMENTATIONS`].

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

/// Makes empty accounts.
type Make = fn() -> Box<dyn Accounts>;

const IMPLEMENTATIONS: &[(&str, Make)] = &[
    ("memory", || Box::new(AccountTable::new(1_000))),
    ("round trips", || Box::new(RoundTrips::new())),
    #[cfg(feature = "redis")]
    ("redis", || Box::new(crate::redis::accounts_on_one_server())),
];

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
