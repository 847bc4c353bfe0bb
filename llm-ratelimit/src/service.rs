//! Path of a call through the layer.
//!
//! 1. The estimator states the tokens of the [`Demand`], and the envelope of the call states the rest.
//! 2. The call gets a sent flag, and the limiter reserves at once. If the decision needs a round trip, or the call must
//!    wait, the rest of the admission is a boxed future.
//! 3. A [`Running`] holds the reservation. The call gets an attempt permit, and is sent to the inner service.
//! 4. The reply gets the statuses of its limits, and the reservation settles when the response has ended.

use std::{fmt, future::poll_fn, sync::Arc};

use llm_core::{
    Call, Error, Estimate, Operation, Output, Reply,
    layer::{Extensions, LlmService, Members, NoFallback, ResponseFuture, SentFlag, always_ready},
};
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Instrument, Span};

use crate::{
    Demand, EstimateInput, LimitStatuses, Limiter, OverrunPolicy, RateLimitLayer, Refusal, Reservation,
    accounts::{RoundTrip, Standing},
    running::{AwaitedCall, Running},
    telemetry,
};

/// Service with a limiter in front of it: see [`RateLimitLayer`].
///
/// The service is always ready, because the needed amounts depend on the call. The call waits for room inside its
/// future, for a bounded time, and then for its own clone of the inner service. Clones share the limiter.
///
/// The reservation is settled when the response, or its stream, has ended. If the call is dropped before, the
/// reservation settles by whether the call was sent.
#[derive(Clone)]
pub struct RateLimit<S> {
    inner: S,
    settings: Arc<RateLimitLayer>,
}

/// Refusal that a limiter in shadow mode would have made, in the extensions of the reply to the call that it sent.
#[derive(Clone, Debug)]
pub struct ShadowRefusal(pub Refusal);

/// Call that has not been admitted yet.
struct PendingCall {
    settings: Arc<RateLimitLayer>,
    demand: Demand,
    estimate: Estimate,
    flag: SentFlag,
    /// True if the call was merged from calls of several tenants, so that the limits of its own tenant do not apply to
    /// all of them.
    is_foreign: bool,
}

/// Admission of a call, at once or later. The future of a waiting call is boxed, so that calls that do not wait do not
/// carry its size.
enum Admission {
    AtOnce(Result<AdmittedCall, Error>),
    Waits(RoundTrip<'static, Result<AdmittedCall, Error>>),
}

/// Call that may be sent.
struct AdmittedCall {
    running: Running,
    /// Statuses of the call's limits for the reply's extensions, with the refusal in shadow mode.
    extensions: Extensions,
}

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
    /// Returns the demand of a call, with the estimated tokens, and the fallback models and the provider of the layer.
    pub(crate) fn demand<T: Operation>(&self, call: &Call<T>, estimate: Estimate) -> Demand {
        let (input, output) = self.estimator.estimate(&EstimateInput::of(call, estimate));
        let mut demand = Demand::of(call);
        (demand.input, demand.output) = (input, output);
        if let Some(attempts) = self.attempts {
            demand = demand.times(attempts.get());
        }
        if let (Some(models), None) = (self.fallback_models.get(&demand.model), call.extensions.get::<NoFallback>()) {
            demand = demand.fallback_models(Arc::clone(models));
        }
        demand.provider.clone_from(&self.provider);
        demand.opaque = estimate.input_bound.is_none();
        demand.no_input = estimate.input_bound == Some(0);
        demand.no_output = estimate.output_bound == Some(0);
        demand
    }

    /// Decides about a call at once, or returns a future if the call must wait for the decision.
    fn admission<T: Operation>(self: Arc<Self>, call: &mut Call<T>) -> Admission {
        let estimate = call.body.estimate();
        let demand = self.demand(call, estimate);
        let (flag, is_foreign) = (call.track(), has_other_tenants(call));
        let span = telemetry::admission(T::NAME, self.limiter.is_shadow());
        PendingCall { settings: self, demand, estimate, flag, is_foreign }.admit(span)
    }

    /// Returns `true` if the call continues later: after it has waited for room, after its reservation has been
    /// written, or, in shadow mode, after its refusal has been recorded.
    fn waits_after(&self, demand: &Demand, outcome: &Result<Reservation, Refusal>) -> bool {
        let is_written = || self.records.is_some() && outcome.is_ok() && self.limiter.counts_windows(&demand.tenant);
        match self.limiter.is_shadow() {
            true => outcome.is_err(),
            false => self.limiter.0.waits_after(outcome) || is_written(),
        }
    }

    /// Completes an admission: waits for the decision, unless it is in `outcome`, then for room, and then until the
    /// reservation is written, as far as the settings require it.
    async fn wait(
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

impl PendingCall {
    /// Decides at once, or returns a future if the call must wait for the decision.
    fn admit(self, span: Span) -> Admission {
        let limiter = &self.settings.limiter;
        let at_once = span.in_scope(|| limiter.0.reserve_at_once(&self.demand, Standing::New));
        match at_once {
            Some(mut outcome) if !self.settings.waits_after(&self.demand, &outcome) => {
                span.in_scope(|| limiter.0.report(&mut outcome));
                telemetry::admitted(&span, &outcome, || limiter.plan_of(&self.demand.tenant));
                Admission::AtOnce(match outcome {
                    Ok(reservation) => Ok(self.run(reservation)),
                    Err(refusal) => Err(self.refused(refusal)),
                })
            }
            outcome => Admission::Waits(Box::pin(self.wait(outcome, span))),
        }
    }

    async fn wait(self, outcome: Option<Result<Reservation, Refusal>>, span: Span) -> Result<AdmittedCall, Error> {
        let limiter = &self.settings.limiter;
        let outcome = self.settings.wait(&self.demand, outcome).instrument(span.clone()).await;
        telemetry::admitted(&span, &outcome, || limiter.plan_of(&self.demand.tenant));
        match outcome {
            Ok(reservation) => Ok(self.run(reservation)),
            Err(refusal) if !limiter.is_shadow() => Err(self.refused(refusal)),
            Err(refusal) => {
                let mut reservation = limiter.0.record(&self.demand).await;
                reservation.0.statuses = refusal.limit_statuses().clone();
                let refusal = if self.is_foreign { refusal.without_statuses() } else { refusal };
                let mut admitted = self.run(reservation);
                admitted.extensions.insert(ShadowRefusal(refusal));
                Ok(admitted)
            }
        }
    }

    fn run(self, mut reservation: Reservation) -> AdmittedCall {
        reservation.0.held.flag = Some(self.flag);
        let mut extensions = Extensions::new();
        if !self.is_foreign {
            extensions.insert_with_headers(reservation.0.statuses, LimitStatuses::headers);
        }
        let running = Running::new(self.settings, self.demand, self.estimate, reservation.0.held);
        AdmittedCall { running, extensions }
    }

    fn refused(self, refusal: Refusal) -> Error {
        if self.is_foreign { refusal.without_statuses().into() } else { refusal.into() }
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
        let (mut inner, settings) = (self.inner.clone(), Arc::clone(&self.settings));
        ResponseFuture::waiting(async move {
            let AdmittedCall { running, extensions } = match settings.admission(&mut call) {
                Admission::AtOnce(admitted) => admitted,
                Admission::Waits(admitted) => admitted.await,
            }?;
            let above = call.extensions.remove();
            if let Some(permit) = running.permit(above) {
                call.extensions.insert(permit);
            }
            let awaited = AwaitedCall::new(running);
            // The service is not called by `oneshot`, because its future would hold the call a second time.
            let reply = match poll_fn(|cx| inner.poll_ready(cx)).await.map_err(Into::into) {
                Ok(()) => inner.call(call).await.map_err(Into::into),
                Err(error) => Err(error),
            };
            let running = awaited.arrived();
            let mut reply = match reply {
                Ok(reply) => reply,
                Err(error) => {
                    running.refused(&error);
                    return Err(error);
                }
            };
            reply.extensions.extend(extensions);
            Ok(watch::<T>(reply, running))
        })
    }
}

/// Returns `true` if the call was merged from calls of several tenants. The limits of its own tenant do not apply to
/// the others.
fn has_other_tenants<T>(call: &Call<T>) -> bool {
    let members: Option<&Members> = call.extensions.get();
    members.is_some_and(|members| members.iter().any(|member| member.tenant != call.tenant))
}

/// Settles the call when its response has ended, and cuts off a stream whose budget is used up.
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
