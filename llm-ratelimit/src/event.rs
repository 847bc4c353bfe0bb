//! Events that usage has reached an alert share of a limit, and their receivers.

use std::{sync::Arc, time::SystemTime};

use crate::Limit;

/// Event that usage in a calendar window has reached an alert share of the limit.
///
/// The event is emitted exactly once for each [alert share](crate::LimiterBuilder::alert_shares) and window, when the
/// spent amount (settled, not only reserved) reaches that share of the limit in force. With a
/// [`BalancePersister`](crate::BalancePersister) this holds across restarts too. Only if a process was killed, the next
/// process may emit the last event again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Limit whose share was reached.
    pub limit: Arc<Limit>,
    /// Values of the account (tenant, model, label, …), in the order of [`Limit::dimensions`]; `(all others)` for calls
    /// that share an account because there was no room for their own.
    pub subject: Vec<String>,
    /// Share that was reached, in percent.
    pub percent: u8,
    /// Amount spent, in tokens, nano-dollars, calls or units.
    pub spent: u64,
    /// End of the window.
    pub until: SystemTime,
}

/// Receiver of [`Event`]s. It is called while a call settles, outside of all locks, and must not block. Do slow work
/// elsewhere.
///
/// ```
/// use llm_ratelimit::{Event, Limiter, Plans};
///
/// let plans = Plans::uniform(["10k tokens/day"])?;
/// let limiter = Limiter::builder(plans).sink(|event: &Event| println!("{}", event.text())).build()?;
/// # let _ = limiter;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait Sink: Send + Sync + 'static {
    /// Receives one event.
    fn emit(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Sink for F {
    fn emit(&self, event: &Event) {
        self(event);
    }
}

impl Event {
    /// Returns a sentence that describes the event.
    pub fn text(&self) -> String {
        let whom = if self.subject.is_empty() { "all together".to_owned() } else { self.subject.join(", ") };
        format!("{}% of {} is used by {whom}", self.percent, self.limit)
    }
}
