use std::time::Duration;

use llm_core::{
    Call, Charge, Error, Operation,
    layer::{AttemptPermit, LlmService, NestedRetry, ResponseFuture, RetryToken, always_ready, oneshot},
};
use tokio::time::sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::layer::RetryLayer;
use crate::{deadline::Deadline, runtime};

/// Service that retries failed calls. The documentation of the [module](super) states the conditions.
///
/// Always ready; each attempt waits for its own clone of the inner service. Clones share the budget. A call that is
/// dropped while it waits is not sent again.
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
    always_ready!(T::Output);

    fn call(&mut self, mut call: Call<T>) -> Self::Future {
        let inner = self.inner.clone();
        if call.extensions.insert(NestedRetry).is_some() {
            return ResponseFuture::waiting(oneshot(inner, call));
        }
        let settings = self.settings.clone();
        settings.budget.deposit();
        ResponseFuture::waiting(async move {
            let bounds = Bounds {
                is_repeatable: call.body.is_repeatable(),
                deadline: Deadline::of(&call),
                permit: call.extensions.get().cloned(),
            };
            settings.drive(&bounds, move || oneshot(inner.clone(), call.clone())).await
        })
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry::new(inner, self.clone())
    }
}

/// Limits of a call in addition to the layer's settings.
struct Bounds {
    is_repeatable: bool,
    deadline: Deadline,
    permit: Option<AttemptPermit>,
}

impl RetryLayer {
    /// Runs a call of any client, and retries it as a service of this layer does. There is no deadline: drop the future
    /// to stop.
    ///
    /// The kind and the charge of the error that `call` returns decide if it is retried: see the [module](super).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), llm_core::Error> {
    /// use llm_core::{Error, ErrorKind};
    /// use llm_providers::retry::RetryLayer;
    ///
    /// let retry = RetryLayer::new();
    /// let mut attempts = 0;
    /// let response = retry
    ///     .run(|| {
    ///         attempts += 1;
    ///         let refused = attempts < 3;
    ///         async move { if refused { Err(Error::new(ErrorKind::Overloaded, "busy")) } else { Ok("yes") } }
    ///     })
    ///     .await?;
    /// assert_eq!((response, attempts), ("yes", 3));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the last attempt, with the charges of all attempts.
    pub async fn run<R, E, F>(&self, mut call: impl FnMut() -> F) -> Result<R, Error>
    where
        F: Future<Output = Result<R, E>>,
        E: Into<Error>,
    {
        self.budget.deposit();
        let bounds = Bounds { is_repeatable: true, deadline: Deadline::of(&Call::new("", ())), permit: None };
        self.drive(&bounds, || {
            let attempt = call();
            async move { attempt.await.map_err(Into::into) }
        })
        .await
    }

    async fn drive<R, F>(&self, bounds: &Bounds, mut call: impl FnMut() -> F) -> Result<R, Error>
    where
        F: Future<Output = Result<R, Error>>,
    {
        let mut earlier: Option<Error> = None;
        let mut attempt = 1;
        loop {
            let error = match call().await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let all = earlier.iter().fold(error.clone(), Error::with_earlier_attempts);
            let Some((wait, retry)) = self.wait(bounds, &error, attempt) else { return Err(all) };
            tracing::debug!(attempt, kind = %error.kind(), ?wait, "the call failed and is sent again");
            // The deadline may be earlier than before the wait, because a caller dropped a shared call.
            if bounds.deadline.bound(sleep(wait)).await.is_err() {
                return Err(all);
            }
            if !is_allowed(bounds.permit.as_ref(), &error).await {
                return Err(all);
            }
            earlier = Some(all);
            retry.spend();
            attempt += 1;
        }
    }

    /// Returns the waiting time before the next attempt, and the retry taken from the budget; `None` if the call is not
    /// retried.
    fn wait(&self, bounds: &Bounds, error: &Error, attempt: u32) -> Option<(Duration, RetryToken)> {
        let free = self.pay_twice || error.charge() == Charge::None;
        // Outside of a runtime there are no timers, so the call cannot wait.
        if !runtime::is_running() {
            return None;
        }
        if !(error.is_retryable() && free && bounds.is_repeatable && attempt < self.attempts.get()) {
            return None;
        }
        let wait = match error.retry_after() {
            Some(stated) if stated > self.longest_wait => return None,
            Some(stated) => stated,
            None => self.backoff.wait(attempt),
        };
        // The budget is checked last, so that a call that is not retried takes no retry from the budget.
        if bounds.deadline.is_within(wait) { None } else { Some((wait, self.budget.withdraw()?)) }
    }
}

/// Returns `true` if the layers above permit one more attempt.
async fn is_allowed(permit: Option<&AttemptPermit>, failed: &Error) -> bool {
    let Some(permit) = permit else { return true };
    let decision = permit.request(failed).await;
    decision.inspect_err(|refusal| tracing::debug!(%refusal, "the call is not retried")).is_ok()
}
