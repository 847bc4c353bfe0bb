//! Health and statistics of a client.

use crate::Error;

/// Snapshot of a connection's state, returned by [`Redis::health`](crate::Redis::health).
///
/// # Example
///
/// ```
/// use llm_redis::{ConnectionState, Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// // No server listens on this port.
/// let redis = Redis::builder("redis://127.0.0.1:1").spawn()?;
/// assert_eq!(redis.health().state, ConnectionState::Idle);
///
/// assert!(redis.time().await.is_err());
/// let health = redis.health();
/// assert_eq!(health.state, ConnectionState::Unavailable);
/// println!("cause: {:?}", health.outage);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// State of the connection.
    pub state: ConnectionState,
    /// Error that opened the breaker; `None` if no breaker is open. In a Cluster, the outage may affect only a part of
    /// the slots.
    pub outage: Option<Error>,
    /// Number of calls in flight, which have been admitted and have no response yet.
    pub in_flight: usize,
    /// Number of channels with a subscription in this process.
    pub channels: usize,
}

/// State of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// No call or subscription has needed a connection yet.
    Idle,
    /// The client is opening a connection.
    Connecting,
    /// The client sends calls.
    Connected,
    /// A breaker is open, and calls fail at once. In a Cluster, the outage may affect only a part of the slots.
    Unavailable,
    /// The client was closed.
    Closed,
}

/// Counters of a client since it was spawned, returned by [`Redis::stats`](crate::Redis::stats).
///
/// # Example
///
/// ```
/// use llm_redis::Redis;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// // No server listens on this port.
/// let redis = Redis::builder("redis://127.0.0.1:1").spawn()?;
/// for _ in 0..3 {
///     assert!(redis.time().await.is_err());
/// }
/// let stats = redis.stats();
/// assert_eq!((stats.calls, stats.completed, stats.breaker_opened), (3, 0, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Number of calls, whatever their outcome. A pipeline on one server counts as one call.
    pub calls: u64,
    /// Number of calls that received a response, including an error of the server.
    pub completed: u64,
    /// Number of calls that received no connection or no response in time.
    pub timed_out: u64,
    /// Number of calls that failed at once because the breaker was open.
    pub refused: u64,
    /// Number of calls that failed because too many calls were in flight.
    pub busy: u64,
    /// Number of commands sent again after their connection broke.
    pub retried: u64,
    /// Number of times that a script's text was sent because the server did not have the script.
    pub scripts_loaded: u64,
    /// Number of opened connections.
    pub connections: u64,
    /// Number of times that a breaker opened. If several breakers of a Cluster open at once, they count once.
    pub breaker_opened: u64,
    /// Number of failed probes.
    pub probes_failed: u64,
    /// Number of messages that were received from channels.
    pub messages: u64,
    /// Number of notifications that were dropped because the buffer of a subscription was full.
    pub notifications_dropped: u64,
}
