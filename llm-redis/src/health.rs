use crate::Error;

/// How the connection is; see [`Redis::health`](crate::Redis::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// What it is doing.
    pub state: ConnectionState,
    /// Why the breaker is open, if it is; in a Cluster, for a part of the slots.
    pub outage: Option<Error>,
    /// Commands that wait for their answers.
    pub in_flight: usize,
    /// Channels that somebody here listens to.
    pub channels: usize,
}

/// What the connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Nobody has needed it yet.
    Idle,
    /// A connection is being opened.
    Connecting,
    /// Commands go out.
    Connected,
    /// The breaker is open, for everything or for a part of a Cluster.
    Unavailable,
    /// It was closed.
    Closed,
}

/// What has happened so far; see [`Redis::stats`](crate::Redis::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls, whatever became of them. A batch is one.
    pub calls: u64,
    /// Those that were answered, an error of the server being an answer.
    pub completed: u64,
    /// Those that got no answer in time.
    pub timed_out: u64,
    /// Those that failed at once because the breaker was open.
    pub refused: u64,
    /// Those that failed at once because too many were in flight.
    pub busy: u64,
    /// Commands sent once more after a connection broke.
    pub retried: u64,
    /// Scripts sent as a whole because the server did not have them.
    pub scripts_loaded: u64,
    /// Connections opened.
    pub connections: u64,
    /// Times that the breaker opened.
    pub breaker_opened: u64,
    /// Probes that failed.
    pub probes_failed: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// Notification-ups that a full queue dropped.
    pub notifications_dropped: u64,
}
