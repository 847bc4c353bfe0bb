use std::{
    any::TypeId,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use llm_core::{
    Call, Charge, Error, ErrorKind, Operation, Output, Reply,
    layer::{
        CallDeadline, Complete, End, LlmService, MemberId, NestedRetry, NoFallback, Pinned, ResponseFuture,
        always_ready, oneshot,
    },
};
use tokio::time::{sleep, sleep_until};
use tower_service::Service;
use tracing::Instrument;

use crate::{
    KeyPool,
    pool::Inner,
    running::{Course, Failed, Running},
    state::choice::Want,
    telemetry,
};

/// Always ready: a call waits inside its future, because what it needs is known from the call alone. It then waits for its
/// own clone of a member's service. Clones share the pool.
impl<T: Operation, S: LlmService<T> + Sync> Service<Call<T>> for KeyPool<S> {
    always_ready!(T::Output);

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        ResponseFuture::waiting(async move {
            let span = telemetry::call(T::NAME);
            let mut failures = 0;
            let sent = send(inner, call, &mut failures);
            let result = if span.is_disabled() { sent.await } else { sent.instrument(span.clone()).await };
            telemetry::ended(&span, failures, result.as_ref().map(|reply| reply.extensions.get()));
            result
        })
    }
}

/// Sends a call to one member after the other, as long as that may help.
async fn send<T: Operation, S: LlmService<T> + Sync>(
    inner: Arc<Inner<S>>,
    mut call: Call<T>,
    failures: &mut u32,
) -> Result<Reply<T::Output>, Error> {
    let is_nested = call.extensions.insert(NestedRetry).is_some();
    if !is_nested {
        inner.settings.budget.deposit();
    }
    let mut course = Course::new(is_nested, call.body.is_repeatable(), call.extensions.get().cloned());
    let deadline = CallDeadline::of(&call);
    let mut want = want(&inner, &call);
    loop {
        let (running, service) = match inner.acquire(&mut want, &deadline).await {
            Ok(acquired) => acquired,
            Err(error) => return Err(course.ended(error)),
        };
        let (member, stand_in) = (Arc::clone(&running.attempt().member), running.attempt().stand_in);
        let (verdict, is_doubted, error) = match attempt(&inner, &call, &running, &service, &deadline).await {
            Ok(reply) => return Ok(served(reply, running, member, stand_in)),
            Err(error) => {
                let (verdict, is_doubted) = running.fail(&error);
                (verdict, is_doubted, error)
            }
        };
        *failures += 1;
        course.next(&inner, &mut want, Failed { member, stand_in, verdict, is_doubted, error }).await?;
    }
}

/// Returns what a call wants.
fn want<T: Operation, S>(inner: &Inner<S>, call: &Call<T>) -> Want {
    let estimate = call.body.estimate();
    let bound = estimate.output_bound;
    let output = bound.map_or(estimate.output, |bound| estimate.output.min(bound));
    let amounts = [1, estimate.input.saturating_add(bound.unwrap_or(0)), estimate.input, output];
    let beginning = if inner.settings.affinity { call.body.affinity() } else { 0 };
    let want = inner.want_of(&call.body.shared_model(), amounts, &call.tenant, beginning);
    let pinned = call.extensions.get::<Pinned>().cloned();
    let no_fallback = call.extensions.get::<NoFallback>().is_some();
    Want { priority: call.priority, pinned, no_fallback, ..want }
}

/// Sends a call to one member.
async fn attempt<T: Operation, S: LlmService<T>>(
    inner: &Inner<S>,
    call: &Call<T>,
    running: &Running<S>,
    service: &S,
    deadline: &CallDeadline,
) -> Result<Reply<T::Output>, Error> {
    let mut call = call.clone();
    if let Some(own) = &running.attempt().renamed {
        call.body = call
            .body
            .with_model(Arc::clone(own))
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "the operation cannot take another name of its model"))?;
    }
    call.extensions.insert(MemberId::from(Arc::clone(&running.attempt().member)));
    let timeout = inner.timeout::<T>();
    if timeout.is_none() && deadline.is_unbounded() {
        return oneshot(service.clone(), call).await;
    }
    let sent = call.track();
    let mut reply = pin!(oneshot(service.clone(), call));
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

/// Marks a reply, and ends the attempt when the response does.
fn served<O: Output, S: Send + Sync + 'static>(
    reply: Reply<O>,
    mut running: Running<S>,
    member: Arc<str>,
    stand_in: bool,
) -> Reply<O> {
    running.begin(reply.limits.as_deref());
    let member = MemberId::from(member);
    reply.receipt.edit(|accounting| {
        accounting.member = Some(member.clone());
        accounting.fallback |= stand_in;
    });
    let mut reply = reply.on_end(move |end, receipt| match end {
        End::Failed(_, error) => drop(running.fail(error)),
        End::Complete(_) => running.end(true, receipt.usage().as_ref()),
        End::Dropped(_) => running.end(false, receipt.usage().as_ref()),
    });
    reply.extensions.insert(member);
    reply
}

impl<S> Inner<S> {
    /// Returns the time within which an operation must have content.
    fn timeout<T: Operation>(&self) -> Option<Duration> {
        // A response that arrives whole is its own complete form.
        let is_whole = TypeId::of::<T::Output>() == TypeId::of::<Complete<T>>();
        if is_whole { self.settings.response_timeout } else { self.settings.first_content_timeout }
    }
}
