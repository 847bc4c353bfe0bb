//! The client against real servers.
//!
//! Time is real, so no measured time decides a test: tests await events, and bounds on waits are generous.

#![expect(clippy::disallowed_methods, reason = "tests spawn tasks and measure waits")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod breaker;
mod builder;
mod close;
#[cfg(feature = "cluster")]
mod cluster;
mod commands;
mod errors;
mod max_in_flight;
#[cfg(feature = "metrics")]
mod metrics;
mod reconnect;
mod retries;
mod script;
mod secrets;
mod subscription;
#[cfg(feature = "tls")]
mod tls;

use std::time::Duration;

use llm_redis::{Command, Event, Events, Key, Redis, RedisBuilder};

/// Delay that a busy machine may add to a bound before a test fails.
const ALLOWANCE: Duration = Duration::from_secs(3);
/// Timeout that no test reaches.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Returns a builder with timeouts that a busy machine keeps, and with quick probes.
fn builder(url: &str) -> RedisBuilder {
    let backoff = (Duration::from_millis(10), Duration::from_millis(40));
    Redis::builder(url).call_timeout(Duration::from_secs(5)).probe_backoff(backoff.0, backoff.1)
}

fn open(url: &str) -> Redis {
    builder(url).spawn().expect("the URL is right")
}

fn key(redis: &Redis) -> Key {
    redis.key_space().tag("p").key("k")
}

/// Waits for an event.
async fn wait_for(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    let found = async {
        loop {
            let event = events.next().await.expect("the client is open");
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("the event occurs")
}

/// Sends a command until it receives a response.
async fn answered(redis: &Redis, key: &Key) {
    while redis.run(Command::get(key)).await.is_err() {
        tokio::task::yield_now().await;
    }
}
