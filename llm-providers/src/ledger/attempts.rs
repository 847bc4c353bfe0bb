use std::task::{Context, Poll};

use llm_core::{
    Call, Error, Operation, Origin, Reply,
    layer::{LlmService, ResponseFuture, oneshot},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{Ledger, keys::Keys, running::RunningAttempt, terms::Terms};

/// Layer that makes [`Attempts`]: see [`Ledger::attempts`].
#[derive(Clone, Debug)]
pub struct AttemptsLayer {
    ledger: Ledger,
}

/// Service that books every attempt at a vendor, with every end, and puts cost and [`CostShare`](llm_core::layer::CostShare) on the receipt.
///
/// Its place is right above the client. Always ready; each call waits for its own clone of the inner service. Clones share
/// the ledger.
#[derive(Clone, Debug)]
pub struct Attempts<S> {
    inner: S,
    ledger: Ledger,
}

impl Ledger {
    /// Returns the layer right above a client, which books every attempt at a vendor.
    pub fn attempts(&self) -> AttemptsLayer {
        AttemptsLayer { ledger: self.clone() }
    }
}

impl<S> Layer<S> for AttemptsLayer {
    type Service = Attempts<S>;

    fn layer(&self, inner: S) -> Attempts<S> {
        Attempts { inner, ledger: self.ledger.clone() }
    }
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Attempts<S> {
    type Response = Reply<T::Output>;
    type Error = Error;
    type Future = ResponseFuture<T::Output>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<T>) -> Self::Future {
        let dispatch = call.track();
        let terms = Terms::of(&self.ledger, &call.body);
        let attempt = RunningAttempt::new::<T>(
            &self.ledger,
            Keys::of(&self.ledger, &call),
            call.extensions.get().cloned(),
            dispatch,
            terms,
        );
        let inner = self.inner.clone();
        ResponseFuture::waiting(async move {
            match oneshot(inner, call).await {
                Ok(reply) if reply.receipt.origin() == Origin::Vendor => {
                    attempt.begun();
                    Ok(reply.on_end(move |end, receipt| attempt.ended::<T>(&end, receipt)))
                }
                Ok(reply) => {
                    attempt.spared();
                    Ok(reply)
                }
                Err(error) => {
                    attempt.refused(&error);
                    Err(error)
                }
            }
        })
    }
}
