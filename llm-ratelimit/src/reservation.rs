//! Public handle of a reservation. Dropping its [`Held`](crate::hold::Held) settles it.

use std::fmt;

use llm_core::layer::SentFlag;

use crate::{LimitStatuses, Settlement, accounts::Decision};

/// Amounts that are reserved for a call. Settle the reservation when the call has ended.
///
/// If it is dropped instead, the result depends on whether the call was sent ([`mark_sent`](Self::mark_sent), or the
/// [`SentFlag`] that it [follows](Self::follow)): an unsent call costs nothing, and for a sent call the whole
/// reservation counts as spent. Slots are freed in both cases.
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

    /// Marks the call as sent, so that it counts as charged from now on. Call this method before you send the request,
    /// because a reservation that is dropped unmarked returns all of its amounts.
    pub fn mark_sent(&mut self) {
        self.0.held.sent = true;
    }

    /// Makes the sent flag of a call mark the reservation too. The client below sets the flag when it sends the
    /// request.
    pub fn follow(mut self, flag: SentFlag) -> Self {
        self.0.held.flag = Some(flag);
        self
    }

    /// Returns `true` if the call may be charged.
    pub fn is_sent(&self) -> bool {
        self.0.held.is_sent()
    }

    /// Counts the used amounts in every limit that applied to the call when it reserved. Reserved amounts beyond the
    /// used ones are returned. Used amounts beyond the reservation are counted too, and become debt as far as they
    /// exceed a limit.
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
