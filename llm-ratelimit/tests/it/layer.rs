//! Tests of the layer around hand-written providers, a simulated vendor and a cache.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, Charge, ChatEvent, ChatRequest, Error, ErrorKind, FinishReason, Message, Origin, Part, Provider, Role, Tool,
    Usage, into_provider, into_service,
    price::{Price, Rate},
};
use llm_providers::{
    OpenAi, prices,
    scripted::{Rule, Scripted},
};
use llm_ratelimit::{
    Estimator, LimitStatuses, Limiter, OverrunPolicy, RateLimitLayer, Reason, Refusal, ShadowRefusal, Unit,
    UnknownPrice, UpperBound,
};
use llm_testkit::{Vendor, probe::Probe};
use serde_json::json;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{AtOnce, limits, noon};

fn question(text: &str) -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("gpt-4o-mini").user(text).max_output_tokens(100))
}

fn limiter<'a>(quotas: impl IntoIterator<Item = &'a str>) -> Limiter {
    limits(quotas).clock(noon()).prices(prices::openai()).build().expect("the limits are right")
}

fn spent(limiter: &Limiter) -> Vec<u64> {
    limiter.usage("acme").at_once().iter().map(|status| status.used + status.reserved).collect()
}

#[tokio::test(start_paused = true)]
async fn layer_calls_only_ready_services() {
    let (probe, handle) = Probe::new(into_service(Arc::new(Scripted::new())));
    let limiter = limiter(["2/day", "1 concurrent"]);
    let service = RateLimitLayer::new(limiter.clone()).layer(probe);
    for _ in 0..2 {
        service.clone().oneshot(question("a")).await.unwrap();
    }
    assert!(service.clone().oneshot(question("a")).await.is_err());
    handle.assert_ready_contract();
    handle.assert_quiescent();
    assert_eq!((handle.snapshot().calls, limiter.close().await), (2, Ok(0)));
}

#[tokio::test(start_paused = true)]
async fn layer_settles_the_vendors_bill_exactly() {
    let vendor = Vendor::builder().price("", 150_000_000, 75_000_000, 600_000_000).build();
    let client = OpenAi::with_transport("no-real-key", vendor.transport()).unwrap();
    let limiter = limiter(["$1/day", "100k tokens/day", "10/day"]);
    let provider = into_provider(RateLimitLayer::new(limiter.clone()).estimator(UpperBound::new(1_000)).layer(client));
    let reply = provider.chat(question("one")).await.unwrap();
    let statuses = LimitStatuses::of(&reply).unwrap();
    assert_eq!(statuses.tightest(&Unit::Requests).unwrap().remaining, 9);
    assert!(statuses.headers().contains(&("x-ratelimit-remaining-requests".to_owned(), "9".to_owned())));
    provider.chat_stream(question("two")).await.unwrap().output.complete().await.unwrap();
    let billed: u64 = vendor.bills().iter().map(|bill| bill.nano_usd).sum();
    let used: u64 = vendor.bills().iter().map(|bill| bill.input_tokens + bill.output_tokens).sum();
    assert_eq!(spent(&limiter), [billed, used, 2]);
    let dropped = provider.chat_stream(question("three")).await.unwrap();
    let reserved = limiter.usage("acme").at_once().iter().next().unwrap().reserved;
    drop(dropped);
    assert_eq!(spent(&limiter)[0], billed + reserved, "given up and never told: the whole reservation");
    let all: u64 = vendor.bills().iter().map(|bill| bill.nano_usd).sum();
    assert!(spent(&limiter)[0] >= all && all > billed);
}

#[tokio::test(start_paused = true)]
async fn layer_failed_call_counts_its_charge() {
    let fail =
        |text: &str, charge| Rule::fail(Error::new(ErrorKind::Server, "as asked").with_charge(charge)).containing(text);
    let scripted = Scripted::new()
        .rule(fail("free", Charge::None))
        .rule(fail("lost", Charge::Unknown))
        .rule(fail("known", Charge::Known(Usage::new(7, 3))))
        .rule(Rule::hang().containing("hang"));
    let limiter = limiter(["1000 tokens/day", "100/day", "3 concurrent"]);
    let provider = into_provider(RateLimitLayer::new(limiter.clone()).layer(scripted));
    provider.chat(question("known")).await.unwrap_err();
    assert_eq!(spent(&limiter), [10, 1, 0]);
    let before = spent(&limiter);
    provider.chat(question("free")).await.unwrap_err();
    assert!(spent(&limiter)[0] == before[0]);
    let hanging = tokio::time::timeout(Duration::from_secs(1), provider.chat(question("hang"))).await;
    assert!(hanging.is_err());
    assert_eq!(
        limiter.usage("acme").at_once().iter().map(|s| s.reserved).sum::<u64>(),
        0,
        "slots and the rest came back or are spent"
    );
}

#[tokio::test(start_paused = true)]
async fn layer_panic_returns_slot_and_keeps_spend() {
    let limiter = limiter(["1000 tokens/day", "3 concurrent"]);
    let panics = Scripted::new().rule(Rule::respond_with(|_| panic!("as asked")));
    let provider = into_provider(RateLimitLayer::new(limiter.clone()).estimator(Ten).layer(panics));
    tokio::spawn(async move { provider.chat(question("a")).await }).await.unwrap_err();
    assert_eq!(spent(&limiter), [10, 0]);
    assert_eq!(limiter.close().await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn refusal_holds_statuses_and_sends_nothing() {
    let scripted = Scripted::new();
    let limiter = limiter(["1/day", "5 proposals/month"]);
    let provider = into_provider(RateLimitLayer::new(limiter).layer(scripted.clone()));
    provider.chat(question("a")).await.unwrap();
    let error = provider.chat(question("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::OverBudget, Some(Duration::from_secs(12 * 3_600))));
    assert_eq!((error.charge(), error.is_retryable()), (Charge::None, false));
    let refusal = Refusal::of(&error).unwrap();
    assert_eq!(refusal.limit_statuses().iter().map(|s| s.remaining).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(scripted.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn charge_cache_hits_counts_stored_answers() {
    let cache = || CacheLayer::new(Cache::builder("tests").build().unwrap());
    let (above, below) =
        (limiter(["10/day", "3 proposals/day", "$1/day"]), limiter(["10/day", "3 proposals/day", "$1/day"]));
    let stack = ServiceBuilder::new()
        .layer(RateLimitLayer::new(above.clone()))
        .layer(cache())
        .layer(RateLimitLayer::new(below.clone()))
        .service(Scripted::new());
    let provider = into_provider(stack);
    provider.chat(question("a")).await.unwrap();
    let hit = provider.chat(question("a")).await.unwrap();
    assert!(matches!(hit.receipt.origin(), Origin::Cache { .. }));
    let (above, below) = (spent(&above), spent(&below));
    assert_eq!((&above[..2], &below[..2]), (&[2, 2][..], &[1, 1][..]));
    assert_eq!(above[2], below[2], "a hit costs no money");
    provider.chat(question("a")).await.unwrap();
    let refused = provider.chat(question("a")).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).unwrap().reason(), Reason::UsedUp, "three proposals were sold, cached or not");
}

#[tokio::test(start_paused = true)]
async fn shadow_counts_and_admits() {
    let limiter = limits(["1/day"]).clock(noon()).shadow().build().unwrap();
    let provider = into_provider(RateLimitLayer::new(limiter.clone()).layer(Scripted::new()));
    assert!(provider.chat(question("a")).await.unwrap().extensions.get::<ShadowRefusal>().is_none());
    let passed = provider.chat(question("b")).await.unwrap();
    assert_eq!(passed.extensions.get::<ShadowRefusal>().unwrap().0.reason(), Reason::UsedUp);
    assert_eq!((limiter.stats().granted, limiter.stats().refused, spent(&limiter)), (1, 1, vec![2]));
}

async fn read(provider: &dyn Provider) -> (usize, Option<Error>) {
    let mut stream = provider.chat_stream(question("go on")).await.expect("a stream").output;
    let mut words = 0;
    while let Some(event) = stream.next().await {
        match event {
            Ok(ChatEvent::Text { .. }) => words += 1,
            Ok(_) => {}
            Err(error) => return (words, Some(error)),
        }
    }
    (words, None)
}

/// Estimator of ten output tokens.
struct Ten;

impl Estimator for Ten {
    fn estimate(&self, _: &llm_ratelimit::EstimateInput<'_>) -> (u64, u64) {
        (0, 10)
    }
}

#[tokio::test(start_paused = true)]
async fn overrun_finishes_truncates_or_aborts_stream() {
    for (cut_off, kind) in [
        (OverrunPolicy::Finish, None),
        (OverrunPolicy::Truncate, None),
        (OverrunPolicy::Abort, Some(ErrorKind::OverBudget)),
    ] {
        let limiter = limiter(["30 output tokens/day", "1 concurrent"]);
        let word = || Ok(ChatEvent::Text { choice: 0, text: "word ".into() });
        let end = [
            Ok(ChatEvent::Finish { choice: 0, reason: FinishReason::Stop }),
            Ok(ChatEvent::Usage(Usage::new(10, 100))),
        ];
        let long = Rule::stream(std::iter::repeat_with(word).take(100).chain(end)).usage(Usage::new(10, 100));
        let layer = RateLimitLayer::new(limiter.clone()).estimator(Ten).overrun(cut_off);
        let provider = into_provider(layer.layer(Scripted::new().rule(long)));
        let (words, error) = read(&*provider).await;
        assert_eq!(error.map(|error| error.kind()), kind);
        let status = limiter.usage("acme").at_once().iter().next().unwrap().clone();
        assert_eq!(status.reserved, 0);
        match cut_off {
            OverrunPolicy::Finish => assert_eq!((words, status.used, status.debt), (100, 100, 70)),
            _ => assert!(words < 40 && status.used == 30, "{words} words, {} tokens", status.used),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn overrun_truncated_stream_is_never_stored() {
    let word = || Ok(ChatEvent::Text { choice: 0, text: "word ".into() });
    let stop = || Ok(ChatEvent::Finish { choice: 0, reason: FinishReason::Stop });
    let client = || Scripted::new().rule(Rule::stream(std::iter::repeat_with(word).take(100).chain([stop()])));
    for observes in [false, true] {
        let limiter = limits(["30 output tokens/day"]).clock(noon());
        let limiter = if observes { limiter.shadow() } else { limiter }.build().unwrap();
        let cache = Cache::builder("tests").build().unwrap();
        let limit = RateLimitLayer::new(limiter).estimator(Ten).overrun(OverrunPolicy::Truncate);
        let stack = ServiceBuilder::new().layer(CacheLayer::new(cache.clone())).layer(limit).service(client());
        let (words, error) = read(&*into_provider(stack)).await;
        assert!(error.is_none() && (words == 100) == observes, "{words} words, {error:?}");
        assert_eq!(cache.stats().stored, u64::from(observes));
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_price_is_refused_or_assumed() {
    let strange = || Call::new("acme", ChatRequest::new("strange-model").user("a").max_output_tokens(100));
    let price = Price { input: Rate::from_nanos(1_000_000), output: Rate::from_nanos(2_000_000), ..Price::default() };
    for policy in [UnknownPrice::Refuse, UnknownPrice::Assume(Price::default()), UnknownPrice::Assume(price)] {
        let limiter = limits(["$1/day"]).clock(noon()).prices(prices::openai()).unknown_price(policy).build().unwrap();
        let answer = Rule::say("x").usage(Usage::new(1_000, 500));
        let provider = into_provider(RateLimitLayer::new(limiter.clone()).layer(Scripted::new().rule(answer)));
        match provider.chat(strange()).await {
            Ok(_) => assert_eq!((policy, spent(&limiter)), (UnknownPrice::Assume(price), vec![1_000 + 1_000])),
            Err(error) => {
                assert_ne!(policy, UnknownPrice::Assume(price));
                assert_eq!(error.code(), Some("unpriced"));
            }
        }
    }
}

/// Returns requests whose input has no bound: an image, audio, a file, a vendor's own tool, or a conversation that the
/// vendor keeps.
fn opaque() -> Vec<ChatRequest> {
    let with = |part| ChatRequest::new("gpt-4o-mini").message(Message::new(Role::User, vec![part]));
    let other = |value: serde_json::Value| with(Part::Other { value: value.into() });
    let requests = [
        with(Part::image_url("https://a.example/")),
        with(Part::image("image/png", &b"x"[..])),
        other(json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}})),
        other(json!({"type": "file", "file": {"file_id": "f"}})),
        ChatRequest::new("gpt-4o-mini").user("a").tool(Tool::Other(json!({"type": "web_search"}).into())),
        ChatRequest::new("gpt-4o-mini").user("a").extra("web_search_options", json!({})),
    ];
    requests.map(|request| request.max_output_tokens(100)).into()
}

#[tokio::test(start_paused = true)]
async fn upper_bound_refuses_unbounded_input() {
    for (quota, reserved) in [("1m tokens/day", 128_100), ("$1/day", 128_000 * 150 + 100 * 600)] {
        for request in opaque() {
            let limiter = limiter([quota]);
            let layer = |bound| RateLimitLayer::new(limiter.clone()).estimator(bound).layer(Scripted::new());
            let call = || Call::new("acme", request.clone());
            let refused = into_provider(layer(UpperBound::new(100))).chat(call()).await.unwrap_err();
            assert_eq!((refused.kind(), refused.code()), (ErrorKind::OverBudget, Some("unbounded")), "{request:?}");
            assert!(refused.message().contains("state a bound") && spent(&limiter) == [0], "{refused}");
            let mut service = layer(UpperBound::new(100).unbounded_input(128_000));
            let running = service.call(call().map(llm_core::layer::Streamed)).await.unwrap();
            assert_eq!(spent(&limiter), [reserved], "{quota}: {request:?}");
            drop(running);
        }
    }
    let calls = limiter(["5/day"]);
    let provider = into_provider(RateLimitLayer::new(calls).estimator(UpperBound::new(100)).layer(Scripted::new()));
    for request in opaque().into_iter().take(5) {
        provider.chat(Call::new("acme", request)).await.expect("calls are bounded");
    }
}

/// If audio costs more than text, content of unknown kind must be reserved as audio.
#[tokio::test(start_paused = true)]
async fn upper_bound_reserves_for_audio() {
    let heard = Usage { audio_input: 10_000, ..Usage::new(10_000, 100) };
    let audio = json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}});
    let request = ChatRequest::new("gemini-2.5-flash").max_output_tokens(100);
    let request = request.message(Message::new(Role::User, vec![Part::Other { value: audio.into() }]));
    let limiter = limits(["$1/day"]).clock(noon()).prices(prices::gemini()).build().unwrap();
    let layer = RateLimitLayer::new(limiter.clone()).estimator(UpperBound::new(100).unbounded_input(10_000));
    let mut service = layer.layer(Scripted::new().rule(Rule::say("x").usage(heard)));
    let running = service.call(Call::new("acme", llm_core::layer::Streamed(request))).await.unwrap();
    let reserved = spent(&limiter)[0];
    running.output.complete().await.unwrap();
    assert_eq!(spent(&limiter)[0], 10_000 * 1_000 + 100 * 2_500);
    assert!(reserved >= spent(&limiter)[0], "{reserved} was reserved");
}

#[tokio::test(start_paused = true)]
async fn attempts_reserves_several_and_settles_one() {
    let limiter = limiter(["1000 output tokens/day", "10/day"]);
    let layer = RateLimitLayer::new(limiter.clone()).attempts(3.try_into().unwrap());
    let mut service = layer.layer(Scripted::new().rule(Rule::say("x").usage(Usage::new(1, 5))));
    let running = service.call(question("a").map(llm_core::layer::Streamed)).await.unwrap();
    assert_eq!(limiter.usage("acme").at_once().iter().map(|s| s.reserved).collect::<Vec<_>>(), [300, 1]);
    running.output.complete().await.unwrap();
    assert_eq!(spent(&limiter), [5, 1]);
}

#[tokio::test(start_paused = true)]
async fn shadow_refused_call_counts_in_windows() {
    let limiter = limits(["250 output tokens/day", "2/minute", "1 concurrent"]).clock(noon()).shadow().build().unwrap();
    let client = Scripted::new().rule(Rule::say("x").usage(Usage::new(3, 70)));
    let provider = into_provider(RateLimitLayer::new(limiter.clone()).layer(client));
    for call in 1..=4u64 {
        let reply = provider.chat(question("a")).await.unwrap();
        assert_eq!(reply.extensions.get::<ShadowRefusal>().is_some(), call > 2, "call {call}");
        let used: Vec<u64> = limiter.usage("acme").at_once().iter().map(|status| status.used).collect();
        assert_eq!(used, [70 * call, call.min(2), 0], "what is refused fills no bucket");
    }
    assert_eq!((limiter.stats().granted, limiter.stats().refused), (2, 2));
}
