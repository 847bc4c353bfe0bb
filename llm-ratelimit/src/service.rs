//! The way of a call through the layer.
//!
//! 1. The estimator states the tokens, and the envelope the rest of the [`Demand`].
//! 2. The limiter reserves at once. Where the decision needs a round trip, or the call may wait, it goes on in a box.
//! 3. The call gets a sent flag and an attempt permit, and goes down. From here on a [`Running`] holds its reservation.
//! 4. The reply gets the statuses of its limits, and the reservation settles when the response has ended.

use std::{fmt, sync::Arc};

use llm_core::{
    Call, Estimate, Operation, Output, Reply,
    layer::{LlmService, Members, NoFallback, ResponseFuture, always_ready, oneshot},
};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument;

use crate::{
    Demand, EstimateInput, LimitStatuses, Limiter, OverrunPolicy, RateLimitLayer, Refusal, Reservation,
    accounts::{Decision, Standing},
    running::{Awaited, Running},
    telemetry,
};

/// A service with a limiter in front of it: see [`RateLimitLayer`].
///
/// Always ready: what a call needs is known from the call alone, and it waits, bounded, inside its future. It then waits
/// for its own clone of the inner service. Clones share the limiter.
///
/// The reservation is settled when the answer has ended, a stream's too. A call that is dropped before settles by
/// whether it was sent.
#[derive(Clone)]
pub struct RateLimit<S> {
    inner: S,
    settings: Arc<RateLimitLayer>,
}

/// Refusal of a call that was sent by a limiter in shadow mode, in the reply's extensions.
#[derive(Clone, Debug)]
pub struct ShadowRefusal(pub Refusal);

impl<S> RateLimit<S> {
    pub(crate) fn new(inner: S, settings: RateLimitLayer) -> Self {
        Self { inner, settings: Arc::new(settings) }
    }

    /// Returns the limiter.
    pub fn limiter(&self) -> &Limiter {
        &self.settings.limiter
    }
}

impl RateLimitLayer {
    /// Returns the demand of a call.
    pub(crate) fn demand<T: Operation>(&self, call: &Call<T>, estimate: Estimate) -> Demand {
        let (input, output) = self.estimator.estimate(&EstimateInput::of(call, estimate));
        let mut demand = Demand::of(call);
        (demand.input, demand.output) = (input, output);
        if let Some(attempts) = self.attempts {
            demand = demand.times(attempts.get());
        }
        if let (Some(models), None) = (self.fallback_models.get(&demand.model), call.extensions.get::<NoFallback>()) {
            demand.fallback_models = Arc::clone(models);
        }
        demand.provider.clone_from(&self.provider);
        demand.opaque = estimate.input_bound.is_none();
        demand.no_input = estimate.input_bound == Some(0);
        demand.no_output = estimate.output_bound == Some(0);
        demand
    }

    /// Returns true if a call with this outcome waits: for room, or for its reservation to be written.
    fn waits_after(&self, demand: &Demand, outcome: &Result<Reservation, Refusal>) -> bool {
        let is_written = || self.records.is_some() && outcome.is_ok() && self.limiter.counts_windows(&demand.tenant);
        !self.limiter.is_shadow() && (self.limiter.0.waits_after(outcome) || is_written())
    }

    /// Waits after an outcome at once, or for the decision if there is none.
    async fn admit(
        &self,
        demand: &Demand,
        outcome: Option<Result<Reservation, Refusal>>,
    ) -> Result<Reservation, Refusal> {
        let limiter = &self.limiter.0;
        let mut outcome = match outcome {
            Some(outcome) => outcome,
            None => limiter.reserve(demand, Standing::New).await,
        };
        if !self.limiter.is_shadow() {
            outcome = limiter.wait(demand, outcome).await;
        }
        limiter.report(&mut outcome);
        let reservation = outcome?;
        match &self.records {
            Some(recorder) if !self.limiter.is_shadow() && self.limiter.counts_windows(&demand.tenant) => {
                let outcome = recorder.record().await;
                outcome.map_err(|reason| self.limiter.refuse(demand, reason))?;
            }
            _ => {}
        }
        Ok(reservation)
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, self.clone())
    }
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for RateLimit<S> {
    always_ready!(T::Output);

    fn call(&mut self, mut call: Call<T>) -> Self::Future {
        let (inner, settings) = (self.inner.clone(), Arc::clone(&self.settings));
        ResponseFuture::waiting(async move {
            let estimate = call.body.estimate();
            let demand = settings.demand(&call, estimate);
            let (shadow, plan) = (settings.limiter.is_shadow(), || settings.limiter.plan_of(&demand.tenant));
            let span = telemetry::admission(T::NAME, shadow);
            let at_once = span.in_scope(|| settings.limiter.0.reserve_at_once(&demand, Standing::New));
            let admitted = match at_once {
                Some(mut outcome) if !settings.waits_after(&demand, &outcome) => {
                    span.in_scope(|| settings.limiter.0.report(&mut outcome));
                    outcome
                }
                // In a box, so that calls that do not wait do not carry its size.
                outcome => Box::pin(settings.admit(&demand, outcome)).instrument(span.clone()).await,
            };
            telemetry::admitted(&span, &admitted, plan);
            let is_foreign = has_other_tenants(&call);
            let admitted = admitted.map_err(|refusal| if is_foreign { refusal.without_statuses() } else { refusal });
            let (Reservation(decision), refusal) = match admitted {
                Ok(reservation) => (reservation, None),
                Err(refusal) if !shadow => return Err(refusal.into()),
                Err(refusal) => (Box::pin(settings.limiter.0.record(&demand)).await, Some(Box::new(refusal))),
            };
            let Decision { mut held, mut statuses, .. } = decision;
            held.flag = Some(call.track());
            let running = Running::new(settings, demand, estimate, held);
            let above = call.extensions.remove();
            if let Some(permit) = running.permit(above) {
                call.extensions.insert(permit);
            }
            let awaited = Awaited::new(running);
            let reply = oneshot(inner, call).await;
            let running = awaited.arrived();
            let mut reply = match reply {
                Ok(reply) => reply,
                Err(error) => {
                    running.refused(&error);
                    return Err(error);
                }
            };
            if let Some(refusal) = refusal {
                statuses = refusal.limit_statuses().clone();
                reply.extensions.insert(ShadowRefusal(*refusal));
            }
            if !is_foreign {
                reply.extensions.insert_with_headers(statuses, LimitStatuses::headers);
            }
            Ok(watch::<T>(reply, running))
        })
    }
}

/// Returns true if the call was merged from calls of other tenants, too. The limits of its own tenant are none of theirs.
fn has_other_tenants<T>(call: &Call<T>) -> bool {
    let members: Option<&Members> = call.extensions.get();
    members.is_some_and(|members| members.iter().any(|member| member.tenant != call.tenant))
}

/// Settles when the answer has ended, and cuts it off where it must be.
fn watch<T: Operation>(reply: Reply<T::Output>, running: Running) -> Reply<T::Output> {
    let reply = match running.overrun() {
        OverrunPolicy::Finish => reply,
        _ => {
            let meter = Arc::new(running.meter());
            reply.map(|output| output.watch(move |bytes| Arc::clone(&meter).pass(bytes)))
        }
    };
    reply.on_end(move |end, receipt| running.ended::<T>(&end, receipt))
}

impl<S> fmt::Debug for RateLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("limiter", self.limiter()).finish_non_exhaustive()
    }
}
