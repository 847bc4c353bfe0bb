use llm_core::{
    Call, Error, Operation, Origin, Reply,
    layer::{LlmService, Unread, always_ready},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Ledger,
    future::{Booked, Booking},
    keys::Keys,
    running::RunningAttempt,
    stack_faults::StackFault,
    terms::Terms,
};

/// Layer that creates [`Attempts`]: see [`Ledger::attempts`].
#[derive(Clone, Debug)]
pub struct AttemptsLayer {
    ledger: Ledger,
}

/// Service that books every attempt at a vendor, even if it fails or is dropped, and writes its cost and a
/// [`CostShare`](llm_core::layer::CostShare) to the receipt.
///
/// Put it right above the client. Always ready; each call waits for its own clone of the inner service. Clones share
/// the ledger.
#[derive(Clone, Debug)]
pub struct Attempts<S> {
    inner: S,
    ledger: Ledger,
}

impl Ledger {
    /// Returns the layer that books every attempt at a vendor. Put it right above the client.
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
    always_ready!(T::Output, Booked<T, S, RunningAttempt>);

    fn call(&mut self, mut call: Call<T>) -> Self::Future {
        let sent = call.track();
        if call.extensions.unread_options().any(|unread| unread == Unread::Ineffective) {
            self.ledger.stack_faults().note(StackFault::UnreadOption);
        }
        let terms = Terms::of(&self.ledger, &call.body);
        let attempt = RunningAttempt::new::<T>(
            &self.ledger,
            Keys::of(&call, self.ledger.time()),
            call.extensions.get().cloned(),
            sent,
            terms,
        );
        Booked::new(self.inner.clone(), call, attempt)
    }
}

impl<T: Operation> Booking<T> for RunningAttempt {
    fn on_reply(self, reply: Result<Reply<T::Output>, Error>) -> Result<Reply<T::Output>, Error> {
        match reply {
            Ok(reply) if reply.receipt.origin() == Origin::Vendor => {
                self.replied();
                Ok(reply.on_end(move |end, receipt| self.ended::<T>(&end, receipt)))
            }
            Ok(reply) => {
                self.skip();
                Ok(reply)
            }
            Err(error) => {
                self.refused(&error);
                Err(error)
            }
        }
    }
}
