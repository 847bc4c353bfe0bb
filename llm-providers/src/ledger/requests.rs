use llm_core::{
    Call, Cause, Error, Operation, Origin, Receipt, Reply, Usd,
    layer::{Accounting, End, LlmService, always_ready},
    price::UnknownCost,
};
use serde::Serialize;
use serde_json::Value;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Ledger,
    call_outcome::{BookedResponse, CallOutcome},
    future::{Booked, Booking},
    keys::Keys,
    request_log,
    stack_faults::StackFault,
    texts::{RequestTexts, Texts, response_text},
};

/// Layer that creates [`Requests`]: see [`Ledger::requests`].
#[derive(Clone, Debug)]
pub struct RequestsLayer {
    ledger: Ledger,
}

/// Service that books the value of each call's response, and makes `paid` and `saved` on its receipt final.
///
/// Put it at the top of a stack. Always ready; each call waits for its own clone of the inner service. Clones share the
/// ledger.
#[derive(Clone, Debug)]
pub struct Requests<S> {
    inner: S,
    ledger: Ledger,
}

/// Running call. If this value is dropped, the call counts as dropped by its caller.
#[derive(Debug)]
pub struct Pending {
    ledger: Ledger,
    keys: Keys,
    units: u32,
    /// Texts of the request; `None` if they are not logged.
    texts: Option<RequestTexts>,
    ended: bool,
}

impl Ledger {
    /// Returns the layer that books the responses that callers get. Put it at the top of a stack.
    pub fn requests(&self) -> RequestsLayer {
        RequestsLayer { ledger: self.clone() }
    }
}

impl<S> Layer<S> for RequestsLayer {
    type Service = Requests<S>;

    fn layer(&self, inner: S) -> Requests<S> {
        Requests { inner, ledger: self.ledger.clone() }
    }
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Requests<S> {
    always_ready!(T::Output, Booked<T, S, Pending>);

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let ledger = self.ledger.clone();
        let keys = Keys::of(&call, ledger.time());
        let texts = (ledger.request_log() == Some(true)).then(|| RequestTexts::of(&call.body));
        let pending = Pending { ledger, keys, units: call.units, texts, ended: false };
        Booked::new(self.inner.clone(), call, pending)
    }
}

impl<T: Operation> Booking<T> for Pending {
    fn on_reply(mut self, reply: Result<Reply<T::Output>, Error>) -> Result<Reply<T::Output>, Error> {
        let reply = reply.inspect_err(|_| self.end(&CallOutcome::Failed, None))?;
        Ok(reply.on_end(move |end, receipt| self.ended(&end, receipt)))
    }
}

impl Pending {
    fn ended<C: Serialize + 'static>(mut self, end: &End<'_, C>, receipt: &Receipt) {
        let outcome = match end {
            End::Complete(_) => CallOutcome::Completed(Box::new(self.value(receipt))),
            End::Failed(..) => CallOutcome::Failed,
            End::Dropped(_) => CallOutcome::Dropped,
        };
        let text = self.texts.is_some().then(|| response_text(end.response())).flatten();
        self.end(&outcome, text);
    }

    fn value(&self, receipt: &Receipt) -> BookedResponse {
        // The accounting data is copied, so that neither the receipt nor the accounts are locked while the cost share
        // is taken.
        let accounting = receipt.accounting();
        // A vendor's response that no layer below has priced stays unpriced.
        let paid = (accounting.origin == Origin::Vendor).then_some(accounting.paid.clone());
        let Accounting { origin, usage, cost, list, unpriced, mut saved, cost_share, .. } = accounting;
        let Accounting { model: response_model, provider, request_id, .. } = accounting;
        let taken = cost_share.as_ref().map(|share| share.take().ok_or(share.amount()));
        let useful = match taken {
            Some(Ok(amount)) => amount,
            // Another response of the same attempt has taken the cost already.
            Some(Err(amount)) => {
                if saved.of(Cause::Coalesced).is_zero() {
                    saved.add(Cause::Coalesced, amount);
                }
                Usd::ZERO
            }
            None => {
                if origin == Origin::Coalesced && saved.of(Cause::Coalesced).is_zero() {
                    saved.add(Cause::Coalesced, cost.unwrap_or_default());
                }
                Usd::ZERO
            }
        };
        receipt.edit(|accounting| {
            accounting.paid = match paid {
                Some(paid) => paid.map(|paid| paid.with_known(useful)),
                None => Some(useful.into()),
            };
            accounting.saved = saved;
        });
        let cause = || match (unpriced, origin) {
            (Some(cause), _) => cause,
            (None, Origin::Cache { .. }) => UnknownCost::Stored,
            (None, _) => UnknownCost::NoAttemptsLayer,
        };
        let is_priced = cost.is_some();
        let list = cost.and(list).ok_or_else(cause);
        BookedResponse {
            origin,
            units: self.units,
            usage,
            is_priced,
            list,
            useful,
            saved,
            response_model,
            provider,
            request_id,
        }
    }

    fn end(&mut self, outcome: &CallOutcome, response_text: Option<Value>) {
        self.ended = true;
        if let CallOutcome::Completed(response) = outcome
            && response.list == Err(UnknownCost::NoAttemptsLayer)
        {
            self.ledger.stack_faults().note(StackFault::NoAttemptsLayer);
        }
        let texts = self.texts.take().map(|request| Texts { request, response: response_text });
        let line = self.ledger.request_log().map(|_| request_log::line(&self.keys, outcome, texts));
        let mut table = self.ledger.account_table();
        table.call(&self.keys, outcome);
        if let (Some(log), Some(line)) = (&mut table.log, line) {
            log.push(&line);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.ended {
            self.end(&CallOutcome::Dropped, None);
        }
    }
}
