//! Real Redis servers for tests: spawned on free ports, killed on drop.
//!
//! [`RedisServer`] is one server (plain, with a password, with TLS, a replica, short of memory), [`RedisCluster`] three
//! nodes that share all slots. They store nothing on disk but a temporary directory. A test can pause, resume, kill and
//! restart them. `redis-server` is found by `REDIS_SERVER_BIN` or `PATH`. If there is none, a spawn panics and says what
//! to do. The module exists on Unix only.
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
