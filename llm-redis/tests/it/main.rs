//! The handle against real servers. No virtual time: what is asserted of waiting is who answers, and generous bounds.

#![expect(clippy::disallowed_methods, reason = "tests spawn tasks and measure waits")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[cfg(feature = "cluster")]
mod cluster;
mod commands;
mod errors;
#[cfg(feature = "metrics")]
mod metered;
mod outage;
mod secrets;
#[cfg(feature = "tls")]
mod tls;
mod urls;
mod wakes;

use std::time::Duration;

use llm_redis::{Command, Event, Events, Key, Redis, RedisBuilder};

/// What a busy machine may add to a bound before a test calls it broken.
const ALLOWANCE: Duration = Duration::from_secs(3);

/// Time-outs that a busy machine keeps, and quick probes.
fn builder(url: &str) -> RedisBuilder {
    let probes = (Duration::from_millis(10), Duration::from_millis(40));
    Redis::builder(url).call_timeout(Duration::from_secs(5)).probe_backoff(probes.0, probes.1)
}

fn open(url: &str) -> Redis {
    builder(url).spawn().expect("the URL is right")
}

/// Waits until something happens.
async fn wait_for(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    let found = async {
        loop {
            let event = events.next().await.expect("the handle is open");
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("it happens")
}

/// Asks until it is answered.
async fn answered(redis: &Redis, key: &Key) {
    while redis.run(Command::get(key)).await.is_err() {
        tokio::task::yield_now().await;
    }
}
