//! Tests of the value of responses: several responses of one attempt, and responses without an attempt.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_core::{
    Call, Cause, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, ErrorKind, Operation, Origin,
    Output, Provider, Receipt, Reply, Task, Tasks, Usage, Usd, into_provider, into_service,
    layer::{Fingerprinter, LlmService, oneshot},
};
use llm_providers::{Ledger, ledger::Waste};
use serde::{Deserialize, Serialize};
use tower::{Layer, ServiceBuilder};

use super::vendor::{COST, Vendor, call, ledger, response};

/// Service that returns prepared replies, as a cache or a single flight would.
#[derive(Default)]
struct Given(Mutex<VecDeque<Reply<ChatResponse>>>);

#[async_trait::async_trait]
impl Provider for Given {
    async fn chat(&self, _: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        let next = self.0.lock().expect("no test panics with it").pop_front();
        next.ok_or_else(|| Error::new(ErrorKind::Closed, "no more replies"))
    }
    async fn chat_stream(&self, _: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        unreachable!("these tests ask for whole responses")
    }
    async fn embed(&self, _: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        unreachable!("these tests embed nothing")
    }
}

/// Sends one call through the attempts layer only.
pub(super) async fn buy(ledger: &Ledger, call: Call<ChatRequest>) -> Reply<ChatResponse> {
    let bottom = ledger.attempts().layer(into_service(Arc::new(Vendor::default())));
    oneshot(bottom, call).await.expect("this vendor answers")
}

/// Returns a prepared reply through the requests layer.
pub(super) async fn answered(ledger: &Ledger, call: Call<ChatRequest>, reply: Reply<ChatResponse>) -> Receipt {
    let given = Given(Mutex::new([reply].into()));
    let top = ledger.requests().layer(into_service(Arc::new(given)));
    oneshot(top, call).await.expect("this vendor answers").receipt
}

/// Returns the reply for another caller of the same single flight.
pub(super) fn joined(bought: &Receipt) -> Reply<ChatResponse> {
    let (receipt, from) = (Receipt::default(), bought.accounting());
    receipt.edit(|accounting| {
        accounting.copy_response(&from);
        accounting.origin = Origin::Coalesced;
        accounting.cost_share = from.cost_share;
    });
    Reply::new(response(), receipt)
}

#[tokio::test]
async fn requests_first_coalesced_response_is_useful() {
    let ledger = ledger();
    let leader = buy(&ledger, call("acme")).await;
    assert_eq!(ledger.snapshot().total().open, COST, "nobody has it yet");
    let (second, third) = (joined(&leader.receipt), joined(&leader.receipt));

    let second = answered(&ledger, call("acme"), second).await;
    let leader = answered(&ledger, call("acme"), leader).await;
    let third = answered(&ledger, call("acme"), third).await;
    assert_eq!(
        (second.paid().exact(), second.saved()),
        (Some(COST), Usd::ZERO),
        "the first to end, not the one who asked first"
    );
    for other in [leader, third] {
        assert_eq!((other.paid().exact(), other.saved(), other.cost()), (Some(Usd::ZERO), COST, Some(COST)));
    }

    let books = ledger.snapshot();
    let row = books.total();
    assert!(books.balance().is_balanced(), "{books}");
    assert_eq!((row.paid, row.useful, row.open), (COST, COST, Usd::ZERO));
    assert_eq!((row.list.nanos(), row.saved.of(Cause::Coalesced).nanos()), (3 * COST.nanos(), 2 * COST.nanos()));
    assert_eq!((row.vendor, row.coalesced, row.hits, row.attempts), (1, 2, 0, 1));
}

#[tokio::test]
async fn requests_coalesced_response_saves_list_price() {
    let ledger = ledger();
    let leader = buy(&ledger, call("acme")).await;
    assert_eq!(
        (leader.receipt.paid().exact(), leader.receipt.cost()),
        (Some(COST), Some(COST)),
        "the attempts layer alone states both"
    );
    let follower = joined(&leader.receipt);
    follower.receipt.edit(|accounting| accounting.cost_share = None);
    answered(&ledger, call("acme"), leader).await;
    let follower = answered(&ledger, call("acme"), follower).await;
    assert_eq!((follower.paid().exact(), follower.saved()), (Some(Usd::ZERO), COST));
    assert!(ledger.snapshot().balance().is_balanced());
}

#[tokio::test]
async fn requests_stated_cost_counts_without_row() {
    for (model, expected) in [("unheard-of", 7), ("m", COST.nanos())] {
        let ledger = ledger();
        let receipt = Receipt::default();
        receipt.edit(|accounting| {
            accounting.model = Some(model.into());
            accounting.usage = Some(Usage::new(10, 5));
            accounting.cost = Some(Usd::from_nanos(7));
        });
        let given = Given(Mutex::new([Reply::new(response(), receipt)].into()));
        let stack = ServiceBuilder::new().layer(ledger.requests()).layer(ledger.attempts());
        oneshot(stack.service(into_service(Arc::new(given))), call("acme")).await.unwrap();
        let row = ledger.snapshot().total().clone();
        assert_eq!((row.paid.nanos(), row.list.nanos(), row.useful.nanos()), (expected, expected, expected));
    }
}

#[tokio::test]
async fn attempts_unused_response_is_wasted() {
    let ledger = ledger();
    let leader = buy(&ledger, call("acme")).await;
    let follower = joined(&leader.receipt);
    drop(leader);
    let books = ledger.snapshot();
    assert_eq!((books.total().open, books.total().wasted.total()), (COST, Usd::ZERO));
    assert!(books.balance().is_balanced(), "open amounts are part of the books: {books}");
    assert!(books.to_string().contains("open: $0.00002 paid for responses that have not ended"));
    drop(follower);
    let row = ledger.snapshot().total().clone();
    assert_eq!((row.open, row.wasted.of(Waste::Abandoned), row.used), (Usd::ZERO, COST, Usd::ZERO));
    assert!(row.balance().is_balanced());
}

#[tokio::test]
async fn requests_hit_saves_list_price() {
    let ledger = ledger();
    let receipt = Receipt::default();
    receipt.edit(|accounting| {
        accounting.origin = Origin::Cache { tier: "memory", age: Duration::from_secs(1) };
        accounting.usage = Some(Usage::new(10, 5));
        accounting.set_prices(Ok(COST), Ok(COST));
        accounting.saved.add(Cause::CacheHit, COST);
    });
    let hit = answered(&ledger, call("acme").with_units(7), Reply::new(response(), receipt)).await;
    assert_eq!((hit.paid().exact(), hit.saved()), (Some(Usd::ZERO), COST));
    let row = ledger.snapshot().total().clone();
    assert_eq!((row.hits, row.vendor, row.units, row.attempts), (1, 0, 7, 0));
    assert_eq!((row.list, row.saved.of(Cause::CacheHit), row.useful), (COST, COST, Usd::ZERO));
    assert!(row.balance().is_balanced());
}

#[tokio::test]
async fn attempts_above_cache_book_no_hit() {
    let ledger = ledger();
    let given = Given(Mutex::new([joined(&Receipt::default())].into()));
    let bottom = ledger.attempts().layer(into_service(Arc::new(given)));
    oneshot(bottom, call("acme")).await.unwrap();
    assert_eq!(ledger.snapshot().total(), &Default::default());
}

#[tokio::test]
async fn requests_of_other_label_keep_balance() {
    let ledger = ledger();
    let label = |value| call("acme").with_label("feature", value).unwrap().with_label("user", "u").unwrap();
    let leader = buy(&ledger, label("a")).await;
    let follower = joined(&leader.receipt);
    drop(leader);
    answered(&ledger, label("b"), follower).await;

    let books = ledger.snapshot();
    let (a, b) = (books.label("feature", "a").unwrap(), books.label("feature", "b").unwrap());
    assert_eq!((a.paid, a.used, a.useful), (COST, COST, Usd::ZERO));
    assert_eq!((b.paid, b.used, b.useful), (Usd::ZERO, Usd::ZERO, COST));
    assert_eq!((a.balance().between, b.balance().between), (COST, -COST));
    for (_, _, row) in books.labels() {
        assert_eq!((row.balance().attempts, row.balance().responses), (Usd::ZERO, Usd::ZERO));
    }
    assert!(books.label("user", "u").unwrap().balance().is_balanced() && books.balance().is_balanced());
    assert_eq!(books.labels().count(), 3);
}

#[tokio::test]
async fn balance_shows_list_price_without_attempt() {
    let ledger = ledger();
    let receipt = Receipt::default();
    receipt.edit(|accounting| accounting.set_prices(Ok(COST), Ok(COST)));
    answered(&ledger, call("acme"), Reply::new(response(), receipt)).await;
    let books = ledger.snapshot();
    assert_eq!(books.balance().responses, COST);
    assert!(books.to_string().contains("off by: attempts $0.00, responses $0.00002, between $0.00"), "{books}");
}

#[derive(Clone)]
struct Rate(&'static str);

#[derive(Clone, Serialize, Deserialize)]
struct Stars(u8);

impl Operation for Rate {
    type Output = Stars;
    const NAME: &'static str = "rate";
    fn model(&self) -> &str {
        "m"
    }
    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text(self.0);
    }
}

impl Task for Rate {
    fn to_request(&self) -> ChatRequest {
        ChatRequest::new("m").user(self.0)
    }
    fn parse_response(&self, response: ChatResponse) -> Result<Stars, Error> {
        match (self.0, &*response.text()) {
            ("good", "yes") => Ok(Stars(5)),
            _ => Err(Error::new(ErrorKind::Malformed, "no stars in it")),
        }
    }
}

#[tokio::test]
async fn requests_books_custom_operation() {
    let ledger = ledger();
    let stack = ServiceBuilder::new()
        .layer(ledger.requests())
        .layer_fn(Tasks::new)
        .layer(ledger.attempts())
        .service(into_service(Arc::new(Vendor::default())));
    async fn rate<S: LlmService<Rate>>(stack: S, what: &'static str) -> Result<Reply<Stars>, Error>
    where
        Stars: Output,
    {
        oneshot(stack, Call::new("acme", Rate(what))).await
    }
    assert_eq!(rate(stack.clone(), "good").await.unwrap().output.0, 5);
    assert!(rate(stack, "bad").await.is_err());
    let books = ledger.snapshot();
    let row = books.total();
    assert!(books.balance().is_balanced(), "{books}");
    assert_eq!((row.useful, row.wasted.of(Waste::Abandoned)), (COST, COST));
    assert_eq!((row.completed, row.failed), (1, 1));
}

#[tokio::test]
async fn requests_layer_serves_every_operation() {
    let ledger = ledger();
    let provider = into_provider(ledger.requests().layer(into_service(Arc::new(Vendor::default()))));
    assert!(provider.embed(Call::new("acme", EmbedRequest::new("e", ["a"]))).await.is_err());
    assert_eq!(ledger.snapshot().model("e").map(|row| row.failed), Some(1));
}
