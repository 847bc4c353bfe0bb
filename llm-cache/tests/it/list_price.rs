//! Tests of the ledger above a cache: the cost of responses in other service classes, and of packed requests, differs
//! from their list price.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, Cause, ChatRequest, ChatResponse, EmbedRequest, Error, Operation, Origin, Provider, Receipt, Reply, Usage,
    Usd, into_provider,
    layer::{LlmService, ResponseFuture, oneshot},
    price::PriceTable,
};
use llm_providers::{
    Ledger,
    scripted::{Rule, Scripted},
};
use tower::{Service, ServiceBuilder};

use crate::{conformance::TestStore, upstream::read};

/// Nano-dollars for a token: 1,000 for input and 2,000 for output, half as much in the class flex, and twice as much in
/// priority.
const PRICES: &str = r#"{"as_of": "2026-01-02", "models": {"m": {"rows": [{"input": "1", "output": "2"}], "tiers": {
    "flex": [{"input": "0.5", "output": "1"}], "priority": [{"input": "2", "output": "4"}]}}}}"#;
/// List price of 10 input tokens and 5 output tokens.
const LIST: i64 = 20_000;
/// List price of a packed response.
const ALONE: i64 = 50_000;

/// Layer that changes the receipts of all replies, at the end of the response if `last` is true, and otherwise at once.
#[derive(Clone)]
struct Edits<S> {
    inner: S,
    last: bool,
    edit: Arc<dyn Fn(&Receipt) + Send + Sync>,
}

fn edits<S>(last: bool, edit: impl Fn(&Receipt) + Send + Sync + 'static) -> impl tower::Layer<S, Service = Edits<S>> {
    let edit: Arc<dyn Fn(&Receipt) + Send + Sync> = Arc::new(edit);
    tower::layer::layer_fn(move |inner| Edits { inner, last, edit: Arc::clone(&edit) })
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Edits<S> {
    type Response = Reply<T::Output>;
    type Error = Error;
    type Future = ResponseFuture<T::Output>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let Self { inner, last, edit } = self.clone();
        ResponseFuture::waiting(async move {
            let reply = oneshot(inner, call).await?;
            if last {
                return Ok(reply.on_end(move |_, receipt| edit(receipt)));
            }
            edit(&reply.receipt);
            Ok(reply)
        })
    }
}

/// Service class, cost of a response in this class, and whether responses are packed.
#[derive(Clone, Copy, Debug)]
struct Served {
    tier: Option<&'static str>,
    cost: i64,
    packed: bool,
}

const SERVED: [Served; 6] = [
    Served { tier: None, cost: LIST, packed: false },
    Served { tier: Some("flex"), cost: LIST / 2, packed: false },
    Served { tier: Some("priority"), cost: LIST * 2, packed: false },
    Served { tier: None, cost: LIST, packed: true },
    Served { tier: Some("flex"), cost: LIST / 2, packed: true },
    Served { tier: Some("priority"), cost: LIST * 2, packed: true },
];

impl Served {
    fn provider(self, ledger: &Ledger, cache: &Cache) -> Arc<dyn Provider> {
        let rule = Rule::say("one two three").usage(Usage::new(10, 5)).after(Duration::from_millis(10));
        let layers = ServiceBuilder::new()
            .layer(ledger.requests())
            .layer(CacheLayer::new(cache.clone()))
            .layer(edits(true, move |receipt| {
                if self.packed {
                    receipt.edit(|accounting| accounting.set_packed(Ok(Usd::from_nanos(ALONE))));
                }
            }))
            .layer(ledger.attempts())
            .layer(edits(false, move |receipt| {
                receipt.edit(|accounting| accounting.service_tier = self.tier.map(Into::into))
            }));
        into_provider(layers.service(Scripted::new().rule(rule)))
    }

    fn list(self) -> i64 {
        if self.packed { ALONE } else { LIST }
    }
}

async fn ask(provider: &dyn Provider, streamed: bool) -> Receipt {
    let call = Call::new("acme", ChatRequest::new("m").user("?"));
    if !streamed {
        return provider.chat(call).await.expect("this vendor answers").receipt;
    }
    let reply = provider.chat_stream(call).await.expect("this vendor answers");
    read(reply.output).await.expect("this vendor answers");
    reply.receipt
}

fn ledger() -> Ledger {
    Ledger::new(PriceTable::from_json(PRICES).expect("the table above is well formed"))
}

#[tokio::test(start_paused = true)]
async fn saved_amounts_add_up_to_list_price() {
    for (served, streamed) in SERVED.into_iter().flat_map(|served| [(served, false), (served, true)]) {
        let (ledger, cache) = (ledger(), Cache::builder("t").build().unwrap());
        let provider = served.provider(&ledger, &cache);
        let (leader, waiter) = tokio::join!(ask(&*provider, streamed), ask(&*provider, streamed));
        let hit = ask(&*provider, !streamed).await;
        for receipt in [leader, waiter, hit] {
            let (paid, saved) = (receipt.paid().exact().unwrap(), receipt.saved());
            assert_eq!((receipt.cost(), receipt.list()), (Some(Usd::from_nanos(served.cost)), Some(paid + saved)));
            assert_eq!(receipt.accounting().packed, served.packed);
        }
        let books = ledger.snapshot();
        let row = books.total();
        assert!(books.balance().is_balanced(), "{served:?}\n{books}");
        assert_eq!((row.vendor, row.coalesced, row.hits, row.unlisted_responses), (1, 1, 1, 0), "{served:?}");
        let saved = Cause::ALL.map(|cause| (cause, row.saved.of(cause).nanos()));
        let expected = [
            (Cause::CacheHit, served.cost),
            (Cause::Coalesced, served.cost),
            (Cause::Packed, 3 * (served.list() - LIST)),
            (Cause::Tier, 3 * (LIST - served.cost)),
        ];
        assert_eq!(saved, expected, "{served:?}");
        assert_eq!((row.useful.nanos(), row.list.nanos()), (served.cost, 3 * served.list()), "{served:?}");
    }
}

#[cfg(feature = "file")]
#[tokio::test(start_paused = true)]
async fn list_price_and_packed_survive_the_file() {
    for served in SERVED {
        let (store, ledger) = (TestStore::file(), ledger());
        let cache = store.open();
        ask(&*served.provider(&ledger, &cache), false).await;
        cache.close().await.unwrap();
        drop(cache);
        let hit = ask(&*served.provider(&ledger, &store.open()), false).await.accounting();
        assert_eq!((hit.list, hit.packed), (Some(Usd::from_nanos(served.list())), served.packed), "{served:?}");
        let books = ledger.snapshot();
        assert!(books.balance().is_balanced(), "{served:?}\n{books}");
        assert_eq!((books.total().hits, books.total().list.nanos()), (1, 2 * served.list()), "{served:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn list_price_of_items_adds_up() {
    for served in SERVED.into_iter().filter(|served| !served.packed) {
        let (ledger, cache) = (ledger(), Cache::builder("t").build().unwrap());
        let provider = served.provider(&ledger, &cache);
        for texts in [&["a", "bbb", "ccccc"][..], &["bbb", "d"], &["a", "ccccc", "d"]] {
            let texts = texts.iter().copied();
            let receipt = provider.embed(Call::new("acme", EmbedRequest::new("m", texts))).await.unwrap().receipt;
            assert_eq!(receipt.list(), Some(receipt.paid().exact().unwrap() + receipt.saved()), "{served:?}");
        }
        let books = ledger.snapshot();
        assert!(books.balance().is_balanced(), "{served:?}\n{books}");
        assert!(!books.total().list.is_zero() && books.total().unlisted_responses == 0, "{books}");
    }
}

#[tokio::test(start_paused = true)]
async fn cache_if_refuses_packed_responses() {
    for served in SERVED {
        let ledger = ledger();
        let strict = || Cache::builder("t").cache_if(|_: &ChatResponse, accounting| !accounting.packed);
        let cache = strict().build().unwrap();
        ask(&*served.provider(&ledger, &cache), false).await;
        assert_eq!(cache.stats().entries, u64::from(!served.packed), "{served:?}");
        // A response that another cache has stored, but that this cache must not serve, is a miss.
        let tolerant = Cache::builder("t").build().unwrap();
        ask(&*served.provider(&ledger, &tolerant), false).await;
        let strict = strict().share_store_with(&tolerant).build().unwrap();
        let origin = ask(&*served.provider(&ledger, &strict), false).await.origin();
        assert_eq!(origin == Origin::Vendor, served.packed, "{served:?}");
        assert!(matches!(ask(&*served.provider(&ledger, &tolerant), false).await.origin(), Origin::Cache { .. }));
        assert!(ledger.snapshot().balance().is_balanced(), "{served:?}");
    }
}
