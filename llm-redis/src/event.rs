use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::Error;

/// What happened to the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection was opened; the first one, or a new one.
    Connected,
    /// The connection broke, and a new one is being opened.
    Disconnected,
    /// The breaker opened: from now on calls fail at once. In a Cluster it may be a part of the slots.
    Unavailable(Error),
    /// A probe succeeded: calls go out again.
    Recovered,
    /// The handle was closed; there is no event after this.
    Closed,
    /// The reader was too slow, and this many events are lost.
    Lagged(u64),
}

/// Events as they come; see [`Redis::events`](crate::Redis::events).
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(Event::Lagged(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Where events go: to readers, to `tracing`, and to metrics.
pub(crate) struct Teller {
    sender: broadcast::Sender<Event>,
    pub(crate) instance: Arc<str>,
}

/// How many events a reader may be behind.
const BACKLOG: usize = 64;

impl Teller {
    pub(crate) fn new(instance: Arc<str>) -> Self {
        Self { sender: broadcast::channel(BACKLOG).0, instance }
    }

    pub(crate) fn listen(&self) -> Events {
        Events::new(self.sender.subscribe())
    }

    pub(crate) fn tell(&self, event: Event) {
        let instance = &*self.instance;
        match &event {
            Event::Connected => tracing::info!(instance, "redis connected"),
            Event::Disconnected => tracing::warn!(instance, "redis connection broke"),
            Event::Unavailable(error) => tracing::warn!(instance, %error, "redis is away"),
            Event::Recovered => tracing::info!(instance, "redis is back"),
            Event::Closed | Event::Lagged(_) => tracing::debug!(instance, "redis closed"),
        }
        crate::meter::event(instance, &event);
        // Nobody may be listening.
        let _ = self.sender.send(event);
    }
}
