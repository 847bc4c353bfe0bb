//! Sender of events to readers, `tracing` and metrics.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::broadcast, time::Instant};

use crate::{Error, Event, Events, telemetry};

/// Sender of [`Event`]s, with the client's label for `tracing` and metrics.
pub(crate) struct EventReporter {
    sender: broadcast::Sender<Event>,
    pub(crate) instance: Arc<str>,
    /// Time from which the next refusal of the server is logged; `None` before the first refusal.
    next_refusal: Mutex<Option<Instant>>,
}

/// Number of events that are buffered for a slow reader before the oldest events are dropped.
const CAPACITY: usize = 64;
/// Shortest time between two refusals that are logged.
const PAUSE: Duration = Duration::from_secs(60);

impl EventReporter {
    pub(crate) fn new(instance: Arc<str>) -> Self {
        Self { sender: broadcast::channel(CAPACITY).0, instance, next_refusal: Mutex::new(None) }
    }

    /// Creates a receiver of all further events.
    pub(crate) fn subscribe(&self) -> Events {
        Events::new(self.sender.subscribe())
    }

    /// Emits an event to readers, `tracing` and metrics, without waiting.
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

    /// Logs the error that the server returned in place of a reply, at most once a minute. Outages are not logged here,
    /// because they are reported as events.
    pub(crate) fn log_refusal(&self, error: &Error) {
        if error.is_outage() {
            return;
        }
        let now = Instant::now();
        let mut next = self.next_refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none_or(|next| now >= next) {
            *next = Some(now + PAUSE);
            tracing::warn!(instance = &*self.instance, %error, "redis refuses a request");
        }
    }
}
