//! In-process vendor that follows a plan, and the stack of both ledger layers over it.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex},
};

use futures_util::{StreamExt, stream};
use llm_core::{
    Call, ChatEvent, ChatRequest, ChatResponse, ChatStream, Choice, EmbedRequest, Embeddings, Error, ErrorKind,
    FinishReason, Part, Provider, Receipt, Reply, Usage, Usd, into_provider, into_service, price::PriceTable,
};
use llm_providers::Ledger;
use tower::ServiceBuilder;

/// 1,000 nano-dollars per input token, 2,000 per output token.
const PRICES: &str = r#"{"as_of": "2026-01-02", "models": {
    "m": {"max_output": 100, "rows": [{"input": "1", "output": "2"}]}, "m-2020-01-01": {"rows": []}}}"#;

/// Plan for the vendor's handling of one call.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// True if the request leaves this process.
    pub(crate) sent: bool,
    pub(crate) head: Head,
    /// End of the response. A stream stops there after its first piece; a unary response is complete.
    pub(crate) tail: Tail,
    pub(crate) usage: Option<Usage>,
    pub(crate) model: Option<&'static str>,
    pub(crate) tier: Option<&'static str>,
    pub(crate) surcharges: &'static [&'static str],
    pub(crate) request_id: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) enum Head {
    Responses,
    Hangs,
    Fails(Error),
}

#[derive(Clone, Debug)]
pub(crate) enum Tail {
    Whole,
    Hangs,
    Fails(Error),
}

impl Default for Plan {
    fn default() -> Self {
        let usage = Some(Usage::new(10, 5));
        Self {
            sent: true,
            head: Head::Responses,
            tail: Tail::Whole,
            usage,
            model: None,
            tier: None,
            surcharges: &[],
            request_id: None,
        }
    }
}

/// Vendor that follows its plans one by one. Without a plan, it answers.
#[derive(Debug, Default)]
pub(crate) struct Vendor(pub(crate) Mutex<VecDeque<Plan>>);

impl Vendor {
    async fn head<T>(&self, call: &Call<T>) -> Result<Plan, Error> {
        let plan = self.0.lock().expect("no plan panics").pop_front().unwrap_or_default();
        call.set_vendor(&"v".into());
        if plan.sent {
            call.mark_sent();
        }
        match &plan.head {
            Head::Responses => Ok(plan),
            Head::Hangs => pending().await,
            Head::Fails(error) => Err(error.clone()),
        }
    }
}

fn reply<O: llm_core::Output>(output: O, plan: Plan) -> Reply<O> {
    let receipt = Receipt::default();
    receipt.edit(|accounting| {
        accounting.model = plan.model.map(Into::into);
        accounting.service_tier = plan.tier.map(Into::into);
        accounting.surcharges = plan.surcharges.iter().map(|way| Arc::from(*way)).collect();
        accounting.request_id = plan.request_id.map(Into::into);
    });
    // As in a client, the usage is known when the response ends.
    Reply::new(output, receipt).on_end(move |_, receipt| receipt.edit(|accounting| accounting.usage = plan.usage))
}

#[async_trait::async_trait]
impl Provider for Vendor {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        let mut response = response();
        response.model.clone_from(&call.body.model);
        Ok(reply(response, self.head(&call).await?))
    }

    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        let plan = self.head(&call).await?;
        let pieces = stream::iter([Ok(ChatEvent::Text { choice: 0, text: "yes".into() })]);
        let pieces = match plan.tail.clone() {
            Tail::Whole => pieces.boxed(),
            Tail::Hangs => pieces.chain(stream::pending()).boxed(),
            Tail::Fails(error) => pieces.chain(stream::iter([Err(error)])).boxed(),
        };
        Ok(reply(ChatStream::new(pieces), plan))
    }

    async fn embed(&self, _: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "no embeddings here"))
    }
}

pub(crate) fn response() -> ChatResponse {
    ChatResponse::new("1", "m", vec![Choice::new(0, vec![Part::text("yes")], FinishReason::Stop)])
}

pub(crate) fn ledger() -> Ledger {
    Ledger::new(PriceTable::from_json(PRICES).expect("the table above is well formed"))
}

/// Returns both layers over a vendor that follows `plans`.
pub(crate) fn stack(ledger: &Ledger, plans: impl IntoIterator<Item = Plan>) -> Arc<dyn Provider> {
    let vendor = Arc::new(Vendor(Mutex::new(plans.into_iter().collect())));
    let stack = ServiceBuilder::new().layer(ledger.requests()).layer(ledger.attempts()).service(into_service(vendor));
    into_provider(stack)
}

pub(crate) fn call(tenant: &str) -> Call<ChatRequest> {
    Call::new(tenant, ChatRequest::new("m").user("is it safe?"))
}

/// Returns the largest cost of [`call`].
pub(crate) fn bound() -> Usd {
    use llm_core::Operation;
    ledger().prices().bound("m", &call("").body.estimate()).expect("the model is listed")
}

/// Cost of the default plan's usage: 10 × 1,000 + 5 × 2,000.
pub(crate) const COST: Usd = Usd::from_nanos(20_000);
