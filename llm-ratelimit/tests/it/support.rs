//! Clocks and helpers for tests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use llm_core::{Clock, ManualClock, Usage, Usd, price::PriceTable};
use llm_ratelimit::{Demand, Limiter, LimiterBuilder, Plans, Settlement};
use tokio::time::Instant;

/// 21 November 2026, 12:00:00 UTC.
pub(crate) const NOON: u64 = 1_795_262_400;
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Future that is ready when it is first polled, such as those of accounts in memory.
pub(crate) trait AtOnce: Future + Sized {
    fn at_once(self) -> Self::Output {
        self.now_or_never().expect("accounts in memory never wait")
    }
}

impl<F: Future> AtOnce for F {}

/// Wall clock that follows tokio's paused time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paused(Instant);

impl Paused {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Paused {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOON) + self.0.elapsed()
    }
}

pub(crate) fn noon() -> ManualClock {
    ManualClock::at_unix(NOON)
}

pub(crate) fn limits<'a>(limits: impl IntoIterator<Item = &'a str>) -> LimiterBuilder {
    Limiter::builder(Plans::uniform(limits).expect("the limits are right")).unit("proposal").unit("photo")
}

/// Returns a table without prices, because each call states its own cost.
pub(crate) fn unpriced() -> PriceTable {
    PriceTable::new("2026-01-01")
}

pub(crate) fn ask(tenant: &str) -> Demand {
    Demand::new(tenant, "m")
}

pub(crate) fn nanos(nanos: i64) -> Usd {
    Usd::from_nanos(nanos)
}

pub(crate) fn used(input: u64, output: u64) -> Settlement {
    Settlement::Used { usage: Usage::new(input, output), cost: None }
}

pub(crate) fn cost(nano: i64) -> Settlement {
    Settlement::Used { usage: Usage::default(), cost: Some(nanos(nano)) }
}
