//! Events of a connection, and the receiver for them.

use tokio::sync::broadcast::{self, error::RecvError};

use crate::Error;

/// Change of a connection or its breaker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection was opened: either the first one or a replacement.
    Connected,
    /// The connection broke. The client opens a new one.
    Disconnected,
    /// A breaker opened because of this error, and calls fail at once. In a Cluster, the outage may affect only a part
    /// of the slots.
    Unavailable(Error),
    /// A probe succeeded, and every breaker is closed. Calls are sent again.
    Recovered,
    /// The client was closed. No event follows.
    Closed,
    /// The reader was too slow, so this number of events was dropped before the reader read them.
    Lagged(u64),
}

/// Receiver of [`Event`]s, returned by [`Redis::events`](crate::Redis::events).
///
/// # Example
///
/// ```
/// use llm_redis::{Event, Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// // No server listens on this port.
/// let redis = Redis::builder("redis://127.0.0.1:1").spawn()?;
/// let mut events = redis.events();
/// assert!(redis.time().await.is_err());
/// assert!(matches!(events.next().await, Some(Event::Unavailable(cause)) if cause.is_outage()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// Waits for the next event. Returns `None` when all clones of the client have been dropped and no event is left.
    ///
    /// ```
    /// use llm_redis::{Event, Redis};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), llm_redis::Error> {
    /// let redis = Redis::builder("redis://127.0.0.1").spawn()?;
    /// let mut events = redis.events();
    /// redis.close().await;
    /// drop(redis);
    /// assert!(matches!(events.next().await, Some(Event::Closed)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(Event::Lagged(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}
