//! Redis plumbing for the llm crate family: one connection, its breaker, its scripts, and its way to stand an outage.
//!
//! # Overview
//!
//! What every layer needs as soon as several processes share its state. [`Redis`] is a handle on one server (Redis 7 or
//! compatible), plain or with TLS, or on a Cluster: one multiplexed connection, opened when it is first needed.
//!
//! - [`Redis::run`] sends a [`Command`] or a [`Script`] and never waits longer than one time-out, whatever happens;
//!   [`Redis::run_with_timeout`] has a bound of its own.
//! - [`Redis::run_pipeline`] sends many commands in one round trip.
//! - [`Redis::scan`] walks over the keys of one name.
//! - [`Redis::subscribe`] listens to other processes, across reconnects, and tells when messages may be lost.
//! - [`KeySpace`] makes names of keys, `{prefix}:v1:{<hash tag>}:<name>`, which show nothing that a user wrote.
//! - [`Redis::health`], [`Redis::events`] and [`Redis::stats`] tell how it is; [`Redis::close`] drains.
//!
//! It is no general Redis client: there are few commands, and no type of the client crate below is in a public signature.
//! It decides nothing: what an outage means is each layer's to say. It is no lock service and no queue.
//!
//! # Example
//!
//! ```
//! use llm_redis::{Command, Redis, Script};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), llm_redis::Error> {
//! // Nobody listens on this port, so this shows an outage too.
//! let redis = Redis::builder("redis://:secret@127.0.0.1:1").prefix("shop").spawn()?;
//!
//! let budget = redis.key_space().hashed_tag(&[b"tenant", b"acme"]);
//! let (spent, asked) = (budget.key("spent"), budget.key("asked"));
//! let spend = Script::new("redis.call('SET', KEYS[2], string.format('%d', now())) return redis.call('INCRBY', KEYS[1], ARGV[1])");
//!
//! match redis.run(spend.with_keys(&[&spent, &asked]).arg(42u64)).await {
//!     Ok(total) => println!("spent {} nano-dollars", total.into_int()?),
//!     Err(error) if error.is_outage() => {
//!         assert!(error.to_string().contains("127.0.0.1:1: the connection was refused"));
//!         assert!(!error.to_string().contains("secret"));
//!     }
//!     Err(error) => return Err(error),
//! }
//! // From now on nobody waits, until a probe in the background finds a server.
//! let error = redis.run(Command::get(&spent)).await.unwrap_err();
//! assert!(error.retry_after().is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # How it decides
//!
//! - **One deadline.** [`RedisBuilder::call_timeout`] (50 ms) covers the wait for a connection, the command, its answer and
//!   its repetition. Opening a connection has a time-out of its own, in the background.
//! - **The breaker** opens when a connection cannot be opened, after three calls in a row that failed, or when the server
//!   is silent: after a call that ran out of time, the keeper asks it and waits for [`RedisBuilder::probe_timeout`]
//!   (1 s). Once it is open, every call fails at once. The keeper probes, one probe at a time, after pauses that
//!   double from 100 ms to 2 s; no call is ever the probe. A new connection is the probe of a single server; in a Cluster
//!   there is a breaker for each sixteenth of the slots, so a node that is away takes only its own.
//! - **Bounds.** At most [`RedisBuilder::max_in_flight`] commands wait for answers; one more fails at once. So are channels
//!   and the queues of their messages bounded.
//! - **Repetition.** A command whose connection breaks is sent once more, if the time allows. A time-out repeats nothing.
//!   Either way a command may have run ([`Error::may_have_run`]): scripts must be idempotent.
//! - **A replica** that answers a write makes the keeper connect anew, at most once a second: after a failover the same
//!   name leads to another server.
//! - **Time** in scripts is the server's: `now()`, in microseconds, plus an offset that tests set.
//!
//! # Readiness and cloning
//!
//! Clones share everything; making one is cheap. [`RedisBuilder::spawn`] spawns the keeper, and the client crate the tasks
//! that drive its sockets, all on the runtime that it is called in; they end with the last clone. Futures may be dropped
//! at any time; a command that was sent runs all the same.
//!
//! # Errors
//!
//! [`Error`] is cheap to clone and has an [`ErrorKind`]; its text says what to do. User, password and query of the URL, and
//! values, are in no text, event or span.
//!
//! # Redis
//!
//! RESP3 is used throughout, so messages come over the same connection. `TCP_NODELAY` is on. In a Cluster, messages go
//! through all nodes, whatever slot their channel has. The repository's `docs/fleet.md` tells how to size and set up a
//! server, and which commands to allow.
//!
//! # Feature flags
//!
//! | feature | what it adds |
//! |---|---|
//! | `cluster` | `redis+cluster://`, and with `tls` `rediss+cluster://` |
//! | `metrics` | `llm_redis_calls_total`, `llm_redis_unavailable_total` and `llm_redis_up`, through the `metrics` facade |
//! | `tls` | `rediss://`, by rustls with aws-lc-rs; it becomes the process's crypto provider if none was chosen |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod breaker;
mod builder;
mod command;
mod connection;
mod counts;
mod error;
mod event;
mod handle;
mod health;
mod keeper;
mod meter;
mod name;
mod scan;
mod script;
mod shared;
mod translate;
mod value;
mod wake;

pub use self::builder::RedisBuilder;
pub use self::command::{Command, Request, ScriptArg};
pub use self::error::{Error, ErrorKind};
pub use self::event::{Event, Events};
pub use self::handle::Redis;
pub use self::health::{ConnectionState, Health, Stats};
pub use self::name::{HashTag, Key, KeySpace};
pub use self::scan::ScanPage;
pub use self::script::{Script, ScriptCall};
pub use self::value::Value;
pub use self::wake::{Notification, Subscription};
