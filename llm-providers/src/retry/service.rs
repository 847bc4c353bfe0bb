use std::{
    task::{Context, Poll},
    time::Duration,
};

use llm_core::{
    Call, Charge, Error, Operation, Reply,
    layer::{AttemptPermit, LlmService, NestedRetry, ResponseFuture, RetryToken, oneshot},
};
use tokio::time::sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::layer::RetryLayer;
use crate::{deadline::Deadline, runtime};

/// Service that retries failed calls. The docs of the [module](super) say when and how.
///
/// Always ready; each attempt waits for its own clone of the inner service. Clones share the budget. A call that is
/// dropped while it waits is not asked again.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    settings: RetryLayer,
}

impl<S> Retry<S> {
    pub(super) fn new(inner: S, settings: RetryLayer) -> Self {
        Self { inner, settings }
    }
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Retry<S> {
    type Response = Reply<T::Output>;
    type Error = Error;
    type Future = ResponseFuture<T::Output>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<T>) -> Self::Future {
        let inner = self.inner.clone();
        if call.extensions.insert(NestedRetry).is_some() {
            return ResponseFuture::waiting(oneshot(inner, call));
        }
        let settings = self.settings.clone();
        settings.budget.deposit();
        ResponseFuture::waiting(async move {
            let deadline = Deadline::of(&call);
            let mut earlier: Option<Error> = None;
            let mut attempt = 1;
            loop {
                let error = match oneshot(inner.clone(), call.clone()).await {
                    Ok(reply) => return Ok(reply),
                    Err(error) => error,
                };
                let all = earlier.iter().fold(error.clone(), Error::with_earlier_attempts);
                let Some((wait, retry)) = settings.wait(&call, &error, attempt) else { return Err(all) };
                tracing::debug!(attempt, kind = %error.kind(), ?wait, "the call failed and is asked again");
                // The deadline may have moved nearer: callers of a shared call leave it.
                if deadline.bound(sleep(wait)).await.is_err() {
                    return Err(all);
                }
                let permit = call.extensions.get::<AttemptPermit>().cloned();
                if !is_allowed(permit, &error).await {
                    return Err(all);
                }
                earlier = Some(all);
                retry.spend();
                attempt += 1;
            }
        })
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry::new(inner, self.clone())
    }
}

impl RetryLayer {
    /// Returns the wait before the next attempt; `None` if there is none.
    fn wait<T: Operation>(&self, call: &Call<T>, error: &Error, attempt: u32) -> Option<(Duration, RetryToken)> {
        let free = self.pay_twice || error.charge() == Charge::None;
        // Nothing can wait outside a runtime.
        if !runtime::is_running() {
            return None;
        }
        if !(error.is_retryable() && free && call.body.is_repeatable() && attempt < self.attempts.get()) {
            return None;
        }
        let wait = match error.retry_after() {
            Some(asked) if asked > self.longest_wait => return None,
            Some(asked) => asked,
            None => self.backoff.wait(attempt),
        };
        // The budget last: what is not tried again takes nothing from it.
        if Deadline::of(call).is_within(wait) { None } else { Some((wait, self.budget.withdraw()?)) }
    }
}

/// Returns true if the layers above permit one more attempt.
async fn is_allowed(permit: Option<AttemptPermit>, failed: &Error) -> bool {
    let Some(permit) = permit else { return true };
    let decision = permit.request(failed).await;
    decision.inspect_err(|refusal| tracing::debug!(%refusal, "the call is not retried")).is_ok()
}
