use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::reason::Reason;

/// Automatic change of a pool: a member or a group was removed from the choice, or is back, or the whole pool paused.
///
/// Each removal has one event, however often the vendor refuses meanwhile, and so has each return.
///
/// ```
/// use std::{sync::mpsc, time::Duration};
/// use llm_keypool::{Event, KeyPool, LeaseRequest, Member, Outcome, Reason};
///
/// let (sender, events) = mpsc::channel();
/// let pool = KeyPool::builder()
///     .member(Member::new("a", "sk-a"))
///     .on_event(move |event: &Event| drop(sender.send(event.clone())))
///     .build()?;
/// pool.try_lease(&LeaseRequest::new("gpt-4o"))?.report(Outcome::status(429, Some(Duration::from_secs(7))));
/// assert!(matches!(events.recv()?, Event::Parked { reason: Reason::RateLimited, .. }));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A part of the pool was parked.
    Parked {
        /// The part.
        part: Parked,
        /// Reason of the parking.
        reason: Reason,
        /// Time until one call tries again.
        retry_in: Duration,
    },
    /// A part of the pool is back.
    Returned {
        /// The part.
        part: Parked,
        /// Reason of the parking that ended.
        reason: Reason,
        /// Time for which it was away.
        away: Duration,
    },
    /// Groups were refused together, so that the whole pool pauses.
    Paused {
        /// Time until one call tests.
        length: Duration,
    },
    /// The whole pool is back.
    Resumed,
}

/// Part of a pool that is parked: a member, a group, or either for one model.
///
/// | refusal | `member` | `model` |
/// |---|---|---|
/// | a rate limit of the group for a model | `None` | the model |
/// | a rate limit of the whole group, or no money | `None` | `None` |
/// | a wrong key, a breaker, an operator | the member | `None` |
/// | a missing permission for a model | the member | the model |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parked {
    /// The member; `None` if it is a whole group.
    pub member: Option<Arc<str>>,
    /// The group.
    pub group: Arc<str>,
    /// The model, as the vendor names it; `None` if it is all of them.
    pub model: Option<Arc<str>>,
}

/// Receiver of events. Called outside of all locks while a call runs, so it must not wait.
///
/// ```
/// use llm_keypool::{Event, KeyPool, Member};
///
/// let pool = KeyPool::builder()
///     .member(Member::new("a", "sk-a"))
///     .on_event(|event: &Event| println!("{event:?}"))
///     .build()?;
/// # let _ = pool;
/// # Ok::<_, llm_keypool::BuildError>(())
/// ```
pub trait Sink: Send + Sync + 'static {
    /// Takes one event.
    fn emit(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Sink for F {
    fn emit(&self, event: &Event) {
        self(event);
    }
}
