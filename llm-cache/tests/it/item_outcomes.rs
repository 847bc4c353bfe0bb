//! Tests of the items of a divided request: errors, stale items, status and accounting.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use llm_cache::{Background, Cache, CacheLayer, CacheStatus, Directive, Stale, Tag};
use llm_core::{
    Call, ChatRequest, ChatResponse, ChatStream, EmbedInput, EmbedRequest, Embeddings, Error, ErrorKind, ManualClock,
    Origin, Provider, Receipt, Reply, Usage, Usd, into_provider, into_service, layer::VendorLimits,
};
use llm_providers::Ledger;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceBuilder};

use crate::{
    conformance::TestStore,
    upstream::{HEAD, Upstream, prices, provider, say},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Extension added by a lower layer.
#[derive(Clone, Debug, PartialEq)]
struct Mark(&'static str);

/// Service that slowly embeds a text as its length. It refuses requests with the word "bad", and fails on demand.
#[derive(Clone, Default)]
struct Lengths {
    asked: Arc<Mutex<Vec<Vec<String>>>>,
    fail: Arc<Mutex<Option<ErrorKind>>>,
}

impl Lengths {
    fn asked(&self) -> Vec<Vec<String>> {
        self.asked.lock().expect("no test panics holding it").clone()
    }

    fn fail(&self, kind: Option<ErrorKind>) {
        *self.fail.lock().expect("no test panics holding it") = kind;
    }
}

#[async_trait::async_trait]
impl Provider for Lengths {
    async fn chat(&self, _: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }
    async fn chat_stream(&self, _: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }
    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        let text = |input: &EmbedInput| match input {
            EmbedInput::Text(text) => text.to_string(),
            other => unreachable!("no test asks for {other:?}"),
        };
        let texts: Vec<String> = call.body.inputs.iter().map(text).collect();
        self.asked.lock().expect("no test panics holding it").push(texts.clone());
        sleep(HEAD).await;
        let fail = *self.fail.lock().expect("no test panics holding it");
        if let Some(kind) = fail {
            return Err(Error::new(kind, "as asked"));
        }
        if texts.iter().any(|text| text.contains("bad")) {
            return Err(Error::new(ErrorKind::InvalidRequest, "a bad text"));
        }
        let receipt = Receipt::default();
        receipt.edit(|accounting| {
            accounting.usage = Some(Usage::new(texts.iter().map(|text| text.len() as u64).sum(), 0))
        });
        let vectors = texts.iter().map(|text| Arc::from([text.len() as f32].as_slice())).collect();
        let mut reply = Reply::new(Embeddings::new(call.body.model, vectors), receipt);
        reply.extensions.insert(Mark("from below"));
        Ok(reply.with_limits(Some(Arc::new(VendorLimits::default()))))
    }
}

fn texts(texts: &[&str]) -> Call<EmbedRequest> {
    Call::new("acme", EmbedRequest::new("text-embedding-3-small", texts.iter().copied()))
}

fn over(cache: &Cache) -> (Lengths, Arc<dyn Provider>) {
    let upstream = Lengths::default();
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    (upstream.clone(), into_provider(layers.service(into_service(Arc::new(upstream)))))
}

fn plain() -> (Cache, Lengths, Arc<dyn Provider>) {
    let cache = Cache::builder("t").build().expect("the defaults are right");
    let (upstream, provider) = over(&cache);
    (cache, upstream, provider)
}

fn lengths(reply: &Reply<Embeddings>) -> Vec<f32> {
    reply.output.vectors.iter().map(|vector| vector[0]).collect()
}

fn status<O>(reply: &Reply<O>) -> String {
    CacheStatus::of(reply).to_string()
}

#[tokio::test(start_paused = true)]
async fn items_of_failed_batch_are_retried_alone() {
    let (cache, upstream, provider) = plain();
    let embed = |of: &[&str]| provider.embed(texts(of));
    let (bad, one, many) = tokio::join!(embed(&["good", "bad"]), embed(&["good"]), embed(&["good", "other"]));
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!((lengths(&one.unwrap()), lengths(&many.unwrap())), (vec![4.0], vec![4.0, 5.0]));
    assert_eq!(upstream.asked(), [vec!["good", "bad"], vec!["other"], vec!["good"]], "the good one is asked for once");
    assert_eq!((cache.stats().running, cache.stats().entries), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn items_with_own_error_are_not_retried() {
    let (_, upstream, provider) = plain();
    let both = || provider.embed(texts(&["bad", "good"]));
    let (one, other, more) = tokio::join!(both(), both(), provider.embed(texts(&["good", "bad", "more"])));
    for failed in [one, other, more] {
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::InvalidRequest);
    }
    assert_eq!(upstream.asked(), [vec!["bad", "good"], vec!["more"]]);
    upstream.fail(Some(ErrorKind::Server));
    let (both, one) = tokio::join!(provider.embed(texts(&["a", "b"])), provider.embed(texts(&["a"])));
    assert_eq!((both.unwrap_err().kind(), one.unwrap_err().kind()), (ErrorKind::Server, ErrorKind::Server));
    assert_eq!(upstream.asked().len(), 3, "whoever waits for a vendor in trouble asks it no more");
}

/// Service that cancels the first call, and answers the others.
#[derive(Clone, Default)]
struct Cancelling {
    words: Upstream,
    begun: Arc<AtomicU64>,
}

impl Cancelling {
    async fn begin(&self) -> Result<(), Error> {
        if self.begun.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        sleep(HEAD).await;
        Err(Error::new(ErrorKind::Cancelled, "the first is cancelled"))
    }
}

#[async_trait::async_trait]
impl Provider for Cancelling {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        self.begin().await?;
        self.words.chat(call).await
    }
    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        self.begin().await?;
        self.words.chat_stream(call).await
    }
    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        self.begin().await?;
        self.words.embed(call).await
    }
}

#[tokio::test(start_paused = true)]
async fn single_flight_waiter_leads_after_leader_cancelled() {
    for what in ["unary", "streamed", "one text", "two texts"] {
        let (upstream, cache) = (Cancelling::default(), Cache::builder("t").build().unwrap());
        let layer = CacheLayer::new(cache.clone());
        let provider = into_provider(layer.layer(into_service(Arc::new(upstream.clone()))));
        let call = async || match what {
            "one text" => provider.embed(texts(&["a"])).await.map(drop),
            "two texts" => provider.embed(texts(&["a", "b"])).await.map(drop),
            _ => say(&*provider, "a b", what == "streamed").await.map(drop),
        };
        let (leader, follower, other) = tokio::join!(call(), call(), call());
        assert_eq!(leader.unwrap_err().kind(), ErrorKind::Cancelled, "{what}");
        assert_eq!((follower.is_ok(), other.is_ok()), (true, true), "{what}");
        assert_eq!((upstream.begun.load(Ordering::SeqCst), cache.stats().running), (2, 0), "{what}");
    }
}

pub(crate) async fn stale_if_error_serves_items_on_vendor_failure(store: TestStore) {
    let cache = store.open_with(|builder| builder.ttl(HOUR).stale_if_error(HOUR));
    let (upstream, provider) = over(&cache);
    let embed = |of: &[&str]| provider.embed(texts(of));
    embed(&["a", "bb"]).await.expect("there is an answer");
    store.clock.advance(HOUR * 3 / 2);
    for kind in
        [ErrorKind::RateLimited, ErrorKind::Server, ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::OverBudget]
    {
        upstream.fail(Some(kind));
        let reply = embed(&["bb", "a", "bb"]).await.expect("there is an answer");
        assert_eq!(lengths(&reply), [2.0, 1.0, 2.0], "{kind}");
        assert!(status(&reply).starts_with("llm-cache; fwd=stale;"), "{}", status(&reply));
        assert!(matches!(reply.receipt.origin(), Origin::Cache { .. }));
    }
    assert_eq!((cache.stats().stale, cache.stats().hits), (5, 5));
    assert_eq!(
        embed(&["a", "ccc"]).await.expect_err("no answer will do").kind(),
        ErrorKind::OverBudget,
        "there is no old one of all"
    );
    upstream.fail(Some(ErrorKind::InvalidRequest));
    assert_eq!(
        embed(&["a", "bb"]).await.expect_err("no answer will do").kind(),
        ErrorKind::InvalidRequest,
        "an error of the question"
    );
    upstream.fail(None);
    assert_eq!(status(&embed(&["a", "bb"]).await.expect("there is an answer")), "llm-cache; fwd=stale");
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_serves_items_at_deadline() {
    let clock = ManualClock::default();
    let cache = Cache::builder("t").ttl(HOUR).stale_if_error(HOUR).clock(clock.clone()).build().unwrap();
    let (_, provider) = over(&cache);
    provider.embed(texts(&["a", "bb"])).await.unwrap();
    clock.advance(HOUR / 2);
    let mut young = texts(&["a", "bb"]);
    young.extensions.insert(Directive::new().max_age(HOUR / 4));
    assert_eq!(status(&provider.embed(young).await.unwrap()), "llm-cache; fwd=request; detail=too-old");
    clock.advance(HOUR * 3 / 2);
    let hasty = texts(&["a", "bb"]).with_deadline((Instant::now() + HEAD / 2).into_std());
    let reply = provider.embed(hasty).await.unwrap();
    assert!(status(&reply).starts_with("llm-cache; fwd=stale;"), "{}", status(&reply));
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_skips_items_invalidated_meanwhile() {
    let clock = ManualClock::default();
    let cache = Cache::builder("t").ttl(HOUR).stale_if_error(HOUR).clock(clock.clone()).build().unwrap();
    let (upstream, provider) = over(&cache);
    provider.embed(texts(&["a", "bb"])).await.unwrap();
    clock.advance(HOUR * 3 / 2);
    upstream.fail(Some(ErrorKind::Server));
    let dropped = async {
        sleep(HEAD / 2).await;
        cache.invalidate(Tag::tenant("acme")).await.unwrap();
    };
    let (failed, ()) = tokio::join!(provider.embed(texts(&["a", "bb"])), dropped);
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Server);
}

#[tokio::test(start_paused = true)]
async fn items_status_marks_stale_item_beside_new() {
    let clock = ManualClock::default();
    let builder = Cache::builder("t").ttl(HOUR).background(Background::new(1).revalidate(HOUR));
    let cache = builder.clock(clock.clone()).build().unwrap();
    let (_, provider) = over(&cache);
    provider.embed(texts(&["a"])).await.unwrap();
    clock.advance(HOUR);
    let reply = provider.embed(texts(&["a", "bb"])).await.unwrap();
    assert_eq!(status(&reply), "llm-cache; fwd=partial; detail=\"1 items, stale: revalidating\"");
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.hits, stats.stale), (2, 0, 0), "it was a miss");
    cache.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cache_status_summarizes_items() {
    let clock = ManualClock::default();
    let cache = Cache::builder("t").ttl(HOUR).clock(clock.clone()).build().unwrap();
    let (upstream, provider) = over(&cache);
    let wish = async |of: &[&str], directive| {
        let mut call = texts(of);
        call.extensions.insert(directive);
        status(&provider.embed(call).await.unwrap())
    };
    let ask = async |of: &[&str]| wish(of, Directive::new()).await;
    assert_eq!(ask(&["a", "b"]).await, "llm-cache; fwd=uri-miss", "nothing of it was known");
    assert!(ask(&["a", "b"]).await.starts_with("llm-cache; hit; detail="));
    assert_eq!(ask(&["a", "c", "d", "b"]).await, "llm-cache; fwd=partial; detail=\"2 items\"");
    assert_eq!(wish(&["a", "b"], Directive::new().no_cache()).await, "llm-cache; fwd=request; detail=no-cache");
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.hits, stats.bypassed), (2, 1, 1));
    let (_, awaits) = tokio::join!(ask(&["e", "f"]), ask(&["e", "f", "g", "h", "a"]));
    assert_eq!(awaits, "llm-cache; fwd=partial; detail=\"2 items\"", "what was awaited was not asked for");
    clock.advance(HOUR / 2);
    let young = Directive::new().max_age(HOUR / 4);
    assert_eq!(wish(&["a", "b"], young).await, "llm-cache; fwd=request; detail=too-old");
    assert_eq!(upstream.asked().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_starts_no_revalidation() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let builder = Cache::builder("t").ttl(HOUR).background(Background::new(1).revalidate(HOUR));
    let cache = builder.clock(clock.clone()).build().unwrap();
    let provider = provider(&upstream, &cache);
    let mut only = texts(&["a", "b"]);
    only.extensions.insert(Directive::new().only_if_cached());
    assert_eq!(provider.embed(only.clone()).await.unwrap_err().kind(), ErrorKind::NotFound);
    provider.embed(texts(&["a", "b"])).await.unwrap();
    clock.advance(HOUR);
    provider.embed(only).await.unwrap();
    cache.close().await.unwrap();
    assert_eq!((upstream.calls(), cache.stats().revalidated), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn items_leader_gets_extensions_of_lower_layers() {
    let (_, _, provider) = plain();
    let (led, joined) = tokio::join!(provider.embed(texts(&["a", "b"])), provider.embed(texts(&["b", "a"])));
    let from_lower_layers = |reply: &Reply<Embeddings>| (reply.extensions.get().cloned(), reply.limits.is_some());
    assert_eq!(from_lower_layers(&led.unwrap()), (Some(Mark("from below")), true));
    assert_eq!(from_lower_layers(&joined.unwrap()), (None, true), "as of a response that is not divided");
    let hit = provider.embed(texts(&["a", "b"])).await.unwrap();
    assert_eq!(from_lower_layers(&hit), (None, false));
}

#[tokio::test(start_paused = true)]
async fn items_from_cache_below_cost_nothing() {
    let ledger = Ledger::new(prices());
    let back = CacheLayer::new(Cache::builder("back").build().unwrap());
    let upstream = into_service(Arc::new(Lengths::default()));
    let bottom = ServiceBuilder::new().layer(back).layer(ledger.attempts()).service(upstream);
    let front = Cache::builder("front").build().unwrap();
    let stack = |front: &Cache| {
        let front = CacheLayer::new(front.clone());
        into_provider(ServiceBuilder::new().layer(ledger.requests()).layer(front).service(bottom.clone()))
    };
    for text in ["a long text", "b"] {
        stack(&Cache::builder("another").build().unwrap()).embed(texts(&[text])).await.unwrap();
    }
    let second = stack(&front).embed(texts(&["a long text", "b"])).await.unwrap();
    assert!(matches!(second.receipt.origin(), Origin::Cache { .. }), "{:?}", second.receipt);
    assert_eq!(Some(second.receipt.saved()), second.receipt.cost());
    assert_ne!(second.receipt.saved(), Usd::ZERO);
    assert_eq!(front.stats().saved, Usd::ZERO, "that was the other cache's");
    assert!(ledger.snapshot().balance().is_balanced(), "{}", ledger.snapshot());
}

#[tokio::test(start_paused = true)]
async fn items_split_usage_by_estimate() {
    let (_, _, provider) = plain();
    let of = [4, 400, 4_000].map(|length| "x".repeat(length));
    let whole = provider.embed(texts(&of.each_ref().map(String::as_str))).await.unwrap();
    assert_eq!(whole.receipt.usage(), Some(Usage::new(4_404, 0)));
    let mut parts = Vec::new();
    for text in &of {
        parts.push(provider.embed(texts(&[text])).await.unwrap().receipt.usage().unwrap().input);
    }
    let estimates = of.map(|text| {
        use llm_core::Operation;
        EmbedRequest::new("text-embedding-3-small", [text.as_str()]).estimate().input
    });
    let all: u64 = estimates.iter().sum();
    let (first, second) = (4_404 * estimates[0] / all, 4_404 * estimates[1] / all);
    assert_eq!(parts, [first, second, 4_404 - first - second]);
    assert!(first < 10 && second > 300, "{parts:?}");
}

#[tokio::test(start_paused = true)]
async fn revalidate_shared_items_once_for_all_tenants() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let builder = Cache::builder("t").ttl(HOUR).background(Background::new(4).revalidate(HOUR));
    let cache = builder
        .directive_policy(llm_cache::DirectivePolicy::none().allow_sharing())
        .clock(clock.clone())
        .build()
        .unwrap();
    let provider = provider(&upstream, &cache);
    let shared = |tenant| {
        let mut call = Call::new(tenant, EmbedRequest::new("e", ["a", "b"]));
        call.extensions.insert(Directive::new().shared("s"));
        provider.embed(call)
    };
    shared("acme").await.unwrap();
    clock.advance(HOUR);
    let started = Instant::now();
    for tenant in ["umbrella", "acme"] {
        let stale = CacheStatus::Hit { tier: "memory", age: HOUR, stale: Some(Stale::Revalidating) };
        assert_eq!(CacheStatus::of(&shared(tenant).await.unwrap()), stale);
    }
    assert_eq!((started.elapsed(), cache.stats().stale), (Duration::ZERO, 2));
    cache.close().await.unwrap();
    assert_eq!((upstream.calls(), cache.stats().revalidated), (2, 1));
}
