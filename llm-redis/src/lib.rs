#![doc = include_str!("../README.md")]
//!
//! ## Behaviour
//!
//! - **One deadline.** [`RedisBuilder::call_timeout`] (50 ms) covers the wait for a connection, the command, its response
//!   and its retry. Connections are opened in the background, with a timeout of their own.
//! - **Circuit breaker.** It opens in three cases: a connection cannot be opened, three consecutive calls failed, or the
//!   server does not reply. In the last case the connection manager probes the server after a call timed out, and waits
//!   for [`RedisBuilder::probe_timeout`] (1 s). While the breaker is open, every call fails at once.
//! - **Probes.** The connection manager probes a server whose breaker is open, one probe at a time, after pauses that
//!   double from 100 ms to 2 s. A call is never the probe. For a single server, a new connection is the probe.
//! - **Cluster.** There is one breaker for each sixteenth of the slots, so an unavailable node affects only its own slots.
//! - **Bounds.** At most [`RedisBuilder::max_in_flight`] calls wait for responses, and one more fails at once. Channels and
//!   the buffers of their notifications are bounded, too.
//! - **Retries.** A command whose connection breaks is sent once more if time is left. A command that timed out is not
//!   retried. Either way the server may have executed it ([`Error::may_have_run`]), so scripts must be idempotent.
//! - **Failover.** A replica that refuses a write makes the connection manager reconnect, at most once a second, because
//!   the host name may lead to the new primary by then.
//! - **Time.** `now()` in scripts is the server's time in microseconds, plus an offset that tests set.
//!
//! ## Cloning and readiness
//!
//! Clones are cheap and share everything. [`RedisBuilder::spawn`] spawns the connection manager, and the `redis` crate
//! spawns the tasks that drive its sockets, all on the current runtime. They end with the last clone. Futures may be
//! dropped at any time, but the server still executes a command that was sent.
//!
//! ## Errors
//!
//! [`Error`] is cheap to clone and has an [`ErrorKind`]. Its text says what to do. The user, the password and the query of
//! the URL, and values, are in no text, event or span.
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
//! The protocol is RESP3, so messages arrive on the same connection. `TCP_NODELAY` is on. In a Cluster, messages reach all
//! nodes, whatever the slot of their channel is. The page `docs/fleet.md` of the repository says how to size and configure
//! a server, and which commands to allow.
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
