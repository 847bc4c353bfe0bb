use std::{sync::Arc, time::SystemTime};

use crate::Limit;

/// A limit on a calendar window has been used up to a share.
///
/// Told exactly once for each share and window: when what is spent (settled, not merely reserved) reaches 50, 80 or 100
/// percent of the limit that is in force. With a [`BalancePersister`](crate::BalancePersister) also over restarts; a process that is
/// killed may be followed by one that tells again what it told last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The limit.
    pub limit: Arc<Limit>,
    /// The tenant, model, label, …, in the order of [`Limit::dimensions`]; `(all others)` for those together for whom there
    /// was no room.
    pub subject: Vec<String>,
    /// The share, in percent.
    pub percent: u8,
    /// What is spent: tokens, nano-dollars, calls, units.
    pub spent: u64,
    /// When the window ends.
    pub until: SystemTime,
}

/// Who is told of [`Event`]s. Called while a call settles, outside of all locks, so it must not wait: hand the event on.
pub trait Sink: Send + Sync + 'static {
    /// Takes one.
    fn emit(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Sink for F {
    fn emit(&self, event: &Event) {
        self(event);
    }
}

impl Event {
    /// The event in one sentence.
    pub fn text(&self) -> String {
        let whom = if self.subject.is_empty() { "all together".to_owned() } else { self.subject.join(", ") };
        format!("{}% of {} is used by {whom}", self.percent, self.limit)
    }
}
