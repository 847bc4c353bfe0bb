//! The handle of what a call reserved. What it holds settles by its own drop: see [`Held`](crate::hold::Held).

use std::fmt;

use llm_core::layer::SentFlag;

use crate::{LimitStatuses, Settlement, accounts::Decision};

/// Amounts reserved for a call. Settle it when the call has ended.
///
/// Dropped without that, it settles by what is known: a call that was not sent costs nothing, one that was
/// ([`mark_sent`](Self::mark_sent), or the [`SentFlag`] it [follows](Self::follow) says so) keeps all of it as spent.
/// Slots come back either way.
///
/// ```
/// use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
///
/// # tokio_test::block_on(async {
/// let limiter = Limiter::builder(Plans::uniform(["10k tokens/day"])?).build()?;
/// let mut reservation = limiter.try_reserve(&Demand::new("acme", "gpt-4o-mini").tokens(900, 100))?;
/// reservation.mark_sent();
/// reservation.settle(Settlement::Unknown); // all of it counts
/// assert_eq!(limiter.usage("acme").await.iter().map(|status| status.used).sum::<u64>(), 1_000);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[must_use = "dropped at once, it gives everything back"]
pub struct Reservation(pub(crate) Decision);

impl Reservation {
    /// Returns the status of all limits of the call, right after it reserved.
    pub fn limit_statuses(&self) -> &LimitStatuses {
        &self.0.statuses
    }

    /// Marks the call as being sent, so that it may be charged from here on. Call it before the request leaves: a reservation
    /// that is dropped unmarked gives everything back.
    pub fn mark_sent(&mut self) {
        self.0.held.sent = true;
    }

    /// Follows a call's flag, which a client below sets when it sends the request.
    pub fn follow(mut self, flag: SentFlag) -> Self {
        self.0.held.flag = Some(flag);
        self
    }

    /// Returns true if the call may be charged.
    pub fn is_sent(&self) -> bool {
        self.0.held.is_sent()
    }

    /// Counts what the call used, in every limit that applied to it when it reserved. What it reserved beyond that comes
    /// back. What it used beyond its reservation counts as well, and what of that exceeds a limit is debt.
    pub fn settle(mut self, settlement: Settlement) {
        self.0.held.settle(settlement);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("holds", &self.0.held.holds)
            .field("sent", &self.is_sent())
            .finish_non_exhaustive()
    }
}
