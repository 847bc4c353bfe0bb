//! Sender of events to readers, `tracing` and metrics.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::{Event, Events, telemetry};

/// Sender of [`Event`]s with the label of a client.
pub(crate) struct EventReporter {
    sender: broadcast::Sender<Event>,
    pub(crate) instance: Arc<str>,
}

/// Number of events that a reader may be behind before it misses the oldest.
const CAPACITY: usize = 64;

impl EventReporter {
    pub(crate) fn new(instance: Arc<str>) -> Self {
        Self { sender: broadcast::channel(CAPACITY).0, instance }
    }

    /// Creates a receiver of all events from now on.
    pub(crate) fn subscribe(&self) -> Events {
        Events::new(self.sender.subscribe())
    }

    /// Emits an event to readers, `tracing` and metrics. It never waits.
    pub(crate) fn report(&self, event: Event) {
        let instance = &*self.instance;
        match &event {
            Event::Connected => tracing::info!(instance, "redis connected"),
            Event::Disconnected => tracing::warn!(instance, "redis connection broke"),
            Event::Unavailable(error) => tracing::warn!(instance, %error, "redis is unavailable"),
            Event::Recovered => tracing::info!(instance, "redis recovered"),
            Event::Closed | Event::Lagged(_) => tracing::debug!(instance, "redis client closed"),
        }
        telemetry::record_event(instance, &event);
        // Sending fails if there are no readers.
        let _ = self.sender.send(event);
    }
}
