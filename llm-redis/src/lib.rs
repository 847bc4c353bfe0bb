#![doc = include_str!("../README.md")]
//!
//! ## Behaviour
//!
//! - **One deadline.** [`RedisBuilder::call_timeout`] (50 ms) covers the wait for a connection, the command, its
//!   response and its retry. Connections are opened in the background, with a timeout of their own.
//! - **Circuit breaker.** The breaker opens if a connection cannot be opened, if three consecutive calls failed, or if
//!   the server does not reply to a probe. The connection manager sends this probe after a call timed out, and waits
//!   [`RedisBuilder::probe_timeout`] (1 s) for the reply. While the breaker is open, every call fails at once.
//! - **Probes.** The connection manager probes a server whose breaker is open, one probe at a time, after pauses that
//!   double from 100 ms to 2 s. A call of the application never serves as a probe. For a single server, opening a
//!   connection is the probe.
//! - **Cluster.** There is one breaker for each sixteenth of the slots, so an unavailable node affects only its own
//!   slots.
//! - **Bounds.** At most [`RedisBuilder::max_in_flight`] calls wait for responses, and a further call fails at once.
//!   Channels and the buffers of their notifications are bounded, too.
//! - **Retries.** A command whose connection breaks is sent once more if time is left. A command that timed out is not
//!   retried. In both cases the server may have executed the command ([`Error::may_have_run`]), so scripts must be
//!   idempotent.
//! - **Failover.** A replica that refuses a write makes the connection manager reconnect, at most once a second,
//!   because the host name may resolve to the new primary by then.
//! - **Time.** `now()` in scripts is the server's time in microseconds, plus an offset that tests set.
//!
//! ## Cloning and readiness
//!
//! Clones are cheap and share the connection, the breakers and the subscriptions. [`RedisBuilder::spawn`] spawns the
//! connection manager, and the `redis` crate spawns the tasks that drive its sockets, all on the current runtime. These
//! tasks end when the last clone is dropped. Futures may be dropped at any time, but the server still executes a
//! command that was sent.
//!
//! ## Errors
//!
//! [`Error`] is cheap to clone and has an [`ErrorKind`]. The error's text says what to do. No text, event or span
//! contains the URL's user, password or query, or a value of a key.
//!
//! ## Observability
//!
//! [`Redis::health`] is a snapshot, [`Redis::stats`] counts, and [`Redis::events`] reports each change. Changes are also
//! `tracing` events. With the feature `metrics` there are:
//!
//! | metric | type | labels |
//! |---|---|---|
//! | `llm_redis_calls_total` | counter | `instance`, `outcome`: `ok`, `timeout`, `unavailable`, `busy`, `connection`, `error` |
//! | `llm_redis_unavailable_total` | counter of outages | `instance` |
//! | `llm_redis_up` | gauge, 1 or 0 | `instance` |
//!
//! ## Redis
//!
//! The protocol is RESP3, so messages arrive on the same connection. `TCP_NODELAY` is on. In a Cluster, a published
//! message is sent to all nodes, whatever the slot of its channel is. The page `docs/fleet.md` of the repository says
//! how to size and configure a server, and which commands to allow.
//!
//! ## Feature flags
//!
//! | feature | effect |
//! |---|---|
//! | `cluster` | `redis+cluster://`, and with `tls` `rediss+cluster://` |
//! | `metrics` | the metrics above, through the `metrics` facade |
//! | `tls` | `rediss://`, by rustls with aws-lc-rs; it becomes the process's crypto provider if none was chosen |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod breaker;
mod builder;
mod client;
mod command;
mod connection;
mod connection_manager;
mod counts;
#[cfg(feature = "metrics")]
mod describe;
mod error;
mod error_mapping;
mod event;
mod eviction;
mod health;
mod inner;
mod key_space;
mod reporter;
mod request;
mod round_trip;
mod scan;
mod script;
mod shards;
mod subscription;
mod telemetry;
mod value;

pub use self::builder::RedisBuilder;
pub use self::client::Redis;
pub use self::command::Command;
#[cfg(feature = "metrics")]
pub use self::describe::describe_metrics;
pub use self::error::{Error, ErrorKind};
pub use self::event::{Event, Events};
pub use self::health::{ConnectionState, Health, Stats};
pub use self::key_space::{HashTag, Key, KeySpace};
pub use self::request::Request;
pub use self::scan::ScanPage;
pub use self::script::{Script, ScriptArg, ScriptCall};
pub use self::subscription::{Notification, Subscription};
pub use self::value::Value;
