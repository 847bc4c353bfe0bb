//! Events that the usage of a limit has reached an alert share, and their receivers.

use std::{sync::Arc, time::SystemTime};

use crate::Limit;

/// Event that the use of a limit on a calendar window has reached a share.
///
/// Emitted exactly once for each [alert share](crate::LimiterBuilder::alert_shares) and window: when what is spent (settled,
/// not merely reserved) reaches that share of the limit that is in force. With a [`BalancePersister`](crate::BalancePersister) also over restarts; a process that is
/// killed may be followed by one that emits the last event again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The limit.
    pub limit: Arc<Limit>,
    /// The tenant, model, label, …, in the order of [`Limit::dimensions`]; `(all others)` for those that share an
    /// account because there was no room for their own.
    pub subject: Vec<String>,
    /// Share that was reached, in per cent.
    pub percent: u8,
    /// Amount spent, in tokens, nano-dollars, calls or units.
    pub spent: u64,
    /// End of the window.
    pub until: SystemTime,
}

/// Receiver of [`Event`]s. It is called while a call settles, outside of all locks. It must not wait: send slow work
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
    /// Returns the event in one sentence.
    pub fn text(&self) -> String {
        let whom = if self.subject.is_empty() { "all together".to_owned() } else { self.subject.join(", ") };
        format!("{}% of {} is used by {whom}", self.percent, self.limit)
    }
}
