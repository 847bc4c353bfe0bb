use std::{
    any::TypeId,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use llm_core::{
    Call, Charge, Error, ErrorKind, Operation, Output, Reply,
    layer::{
        CallDeadline, Complete, End, LlmService, NestedRetry, NoFallback, Pinned, ResponseFuture, always_ready, oneshot,
    },
};
use tokio::time::{sleep, sleep_until};
use tower_service::Service;
use tracing::Instrument;

use crate::{
    KeyPool, Lease, LeaseRequest, attempt_loop::AttemptLoop, lease::Failed, pool::Inner, request::affinity,
    settings::Settings, telemetry,
};

/// The service is always ready. A call waits inside its future, because the choice of a member depends on the model of
/// the call. After it gets a member, the future waits until its own clone of the member's service is ready. Clones
/// share the pool.
impl<T: Operation, S: LlmService<T> + Sync> Service<Call<T>> for KeyPool<S> {
    always_ready!(T::Output);

    fn call(&mut self, mut call: Call<T>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        ResponseFuture::waiting(async move {
            let span = telemetry::call(T::NAME);
            let is_nested = call.extensions.insert(NestedRetry).is_some();
            let mut attempts = AttemptLoop::new(call.extensions.get().cloned(), is_nested);
            let request = request(&inner, &call);
            let sent = attempts.run(&inner, &request, |lease| attempt(&call, lease));
            let result = if span.is_disabled() { sent.await } else { sent.instrument(span.clone()).await };
            telemetry::ended(&span, attempts.failures(), result.as_ref().map(|reply| reply.extensions.get()));
            result
        })
    }
}

/// Returns the lease request of a call.
fn request<T: Operation, S>(inner: &Inner<S>, call: &Call<T>) -> LeaseRequest {
    let estimate = call.body.estimate();
    let bound = estimate.output_bound;
    let output = bound.map_or(estimate.output, |bound| estimate.output.min(bound));
    LeaseRequest {
        model: call.body.shared_model(),
        amounts: [1, estimate.input.saturating_add(bound.unwrap_or(0)), estimate.input, output],
        priority: call.priority,
        deadline: CallDeadline::of(call),
        affinity: if inner.settings.affinity { affinity(&call.tenant, call.body.affinity()) } else { 0 },
        pinned: call.extensions.get::<Pinned>().cloned(),
        no_fallback: call.extensions.get::<NoFallback>().is_some(),
        repeatable: call.body.is_repeatable(),
    }
}

/// Sends a call to the leased member, and ends the lease with the outcome.
async fn attempt<T: Operation, S: LlmService<T> + Sync>(
    call: &Call<T>,
    lease: Lease<S>,
) -> Result<Reply<T::Output>, Failed> {
    match send(call, &lease).await {
        Ok(reply) => Ok(served(reply, lease)),
        Err(error) => Err(lease.fail(error)),
    }
}

async fn send<T: Operation, S: LlmService<T>>(call: &Call<T>, lease: &Lease<S>) -> Result<Reply<T::Output>, Error> {
    let (mut call, deadline) = (call.clone(), CallDeadline::of(call));
    if let Some(own) = &lease.attempt.renamed {
        call.body = call
            .body
            .with_model(Arc::clone(own))
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "the operation cannot take another name of its model"))?;
    }
    call.extensions.insert(lease.member_id());
    // A complete response has another timeout than the first content of a stream.
    let is_whole = TypeId::of::<T::Output>() == TypeId::of::<Complete<T>>();
    let Settings { response_timeout, first_content_timeout, .. } = &*lease.inner.settings;
    let timeout = if is_whole { *response_timeout } else { *first_content_timeout };
    if timeout.is_none() && deadline.is_unbounded() {
        return oneshot(lease.key().clone(), call).await;
    }
    let sent = call.track();
    let mut reply = pin!(oneshot(lease.key().clone(), call));
    let mut timer = pin!(timeout.map(sleep));
    let mut passed = pin!(deadline.passed(|at| sleep_until(at.into())));
    let late = poll_fn(|cx| {
        if let Poll::Ready(result) = reply.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        if timer.as_mut().as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready()) {
            return Poll::Ready(Err((ErrorKind::Timeout, "the member sent no content in time")));
        }
        let message = "the call's deadline passed while a member served it";
        passed.as_mut().poll(cx).map(|()| Err((ErrorKind::DeadlineExceeded, message)))
    });
    late.await.unwrap_or_else(|(kind, message)| {
        let charge = if sent.is_sent() { Charge::Unknown } else { Charge::None };
        Err(Error::new(kind, message).with_charge(charge))
    })
}

/// Adds the member's name to a reply, and ends the attempt when the response ends.
fn served<O: Output, S: Send + Sync + 'static>(reply: Reply<O>, mut lease: Lease<S>) -> Reply<O> {
    lease.begin(reply.limits.as_deref());
    let (member, stand_in) = (lease.member_id(), lease.is_fallback());
    reply.receipt.edit(|accounting| {
        accounting.member = Some(member.clone());
        accounting.fallback |= stand_in;
    });
    let mut reply = reply.on_end(move |end, receipt| match end {
        End::Failed(_, error) => drop(lease.fail(error.clone())),
        End::Complete(_) => lease.end(true, receipt.usage().as_ref()),
        End::Dropped(_) => lease.end(false, receipt.usage().as_ref()),
    });
    reply.extensions.insert(member);
    reply
}
