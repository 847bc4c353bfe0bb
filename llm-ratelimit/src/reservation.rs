use std::{fmt, sync::Arc};

use llm_core::{Usage, Usd, layer::SentFlag, price::PriceOptions};

use crate::{LimitStatuses, Settlement, accounts::Decision, demand::Models, hold::Hold};

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
pub struct Reservation {
    limiter: Option<Arc<dyn Settle>>,
    decision: Decision,
    /// The models that price the call, where it holds money.
    models: Option<Models>,
    sent: bool,
    dispatch: Option<SentFlag>,
}

/// Settlement of reservations, by the limiter that made them.
pub(crate) trait Settle: Send + Sync {
    /// Turns what a call holds into what it used.
    fn settle(self: Arc<Self>, holds: &[Hold], settlement: &Settlement);

    /// Returns the cost of a usage of a model by the table, or as it is assumed.
    fn cost(&self, model: &str, options: &PriceOptions, usage: &Usage) -> Option<Usd>;
}

impl Reservation {
    pub(crate) fn new(limiter: Arc<dyn Settle>, decision: Decision, models: Option<Models>) -> Self {
        Self { limiter: Some(limiter), decision, models, sent: false, dispatch: None }
    }

    /// Returns the status of all limits of the call, right after it reserved.
    pub fn limit_statuses(&self) -> &LimitStatuses {
        &self.decision.statuses
    }

    /// Marks the call as being sent, so that it may be charged from here on. Call it before the request leaves: a reservation
    /// that is dropped unmarked gives everything back.
    pub fn mark_sent(&mut self) {
        self.sent = true;
    }

    /// Follows a call's flag, which a client below sets when it sends the request.
    pub fn follow(mut self, dispatch: SentFlag) -> Self {
        self.set_flag(dispatch);
        self
    }

    pub(crate) fn set_flag(&mut self, dispatch: SentFlag) {
        self.dispatch = Some(dispatch);
    }

    pub(crate) fn flag(&self) -> Option<&SentFlag> {
        self.dispatch.as_ref()
    }

    /// Returns true if the call may be charged, as far as is known.
    pub fn is_sent(&self) -> bool {
        self.sent || self.dispatch.as_ref().is_some_and(SentFlag::is_sent)
    }

    /// Counts what the call used, in every limit that applied to it when it reserved. What it reserved beyond that comes
    /// back. What it used beyond its reservation counts as well, and what of that exceeds a limit is debt.
    pub fn settle(mut self, settlement: Settlement) {
        self.end(settlement);
    }

    fn end(&mut self, mut settlement: Settlement) {
        let Some(limiter) = self.limiter.take() else { return };
        if let Settlement::Used { usage, cost: cost @ None } | Settlement::AtLeast { usage, cost: cost @ None } =
            &mut settlement
        {
            let models = self.models.as_ref();
            *cost = models.and_then(|models| models.highest_cost(|model, options| limiter.cost(model, options, usage)));
        }
        limiter.settle(&self.decision.holds, &settlement);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.limiter.is_some() {
            let settlement = if self.is_sent() { Settlement::Unknown } else { Settlement::Unsent };
            self.end(settlement);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("holds", &self.decision.holds)
            .field("sent", &self.is_sent())
            .finish_non_exhaustive()
    }
}
