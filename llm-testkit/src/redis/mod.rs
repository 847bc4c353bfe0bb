//! Real Redis servers for tests: spawned on free ports, killed on drop.
//!
//! [`RedisServer`] is one server (plain, with a password, with TLS, a replica, short of memory), [`RedisCluster`] three
//! nodes that share all slots. They keep nothing on disk but a temporary directory. A test can stop, continue, kill and
//! restart them. `redis-server` comes from `REDIS_SERVER_BIN` or `PATH`; where there is none, a spawn panics and says what
//! to do. Only on Unix.
//!
//! ```no_run
//! use llm_testkit::redis::RedisServer;
//!
//! let mut server = RedisServer::spawn();
//! assert_eq!(server.command(&["PING"]).as_deref(), Ok("PONG"));
//! server.pause(); // stalls, as a machine that swaps does
//! server.resume();
//! server.kill();
//! server.restart(); // empty, on the same port
//! ```

mod admin;
mod binary;
mod builder;
mod certificate;
mod cluster;
mod process;
mod server;

pub use builder::RedisServerBuilder;
pub use cluster::RedisCluster;
pub use server::RedisServer;
