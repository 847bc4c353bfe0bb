//! Tests that count allocations instead of time.

use std::{
    future::{Future, Ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use benches::{
    hit::{Warm, at_once, call_of, of_2_kb},
    keypool::{Keys, three},
    ratelimit::Gate,
    redis::Remote,
    vendor::AtOnce,
};
use llm_cache::{Cache, CacheLayer, Cached, fuzzing::response};
use llm_core::{Call, ChatRequest, ChatResponse, EmbedRequest, Error, Operation, Reply, layer::LlmService};
use llm_providers::{Ledger, prices};
use llm_ratelimit::Demand;
use tower::{Layer, Service};

#[test]
fn memory_hit_takes_at_most_four_allocations() {
    let mut warm = Warm::new();
    drop(warm.send(warm.call.clone()));
    let call = warm.call.clone();
    let mut reply = None;
    let counted = allocation_counter::measure(|| reply = Some(warm.send(call)));
    assert_eq!(reply.expect("it was sent").output, warm.response);
    println!("{} allocations, {} bytes", counted.count_total, counted.bytes_total);
    assert!(counted.count_total <= 4, "{} allocations", counted.count_total);
}

/// Counts the allocations of misses, beyond those of the service below. Each miss has a unique prompt of 2 KB and
/// evicts another response of 2 KB.
#[test]
fn miss_of_full_cache_allocates_within_bound() {
    const MISSES: u64 = 200;
    /// Largest number of allocations beyond those of the service below. 17 were measured; one more is allowed for hash
    /// tables that grow at random times.
    const MOST: u64 = 18;
    let text = of_2_kb("a login form ");
    let calls = |name: &str| -> Vec<_> {
        let prompt = |n| ChatRequest::new("gpt-4o-mini").user(format!("{name} {n} {text}"));
        (0..MISSES).map(|n| Call::new("acme", prompt(n))).collect()
    };
    let vendor = AtOnce::saying(&of_2_kb("given a user when "));
    let cache = Cache::builder("bench").max_bytes(500_000).build().expect("the settings are right");
    let (mut layer, mut bare) = (Cached::new(vendor.clone(), cache.clone()), vendor.clone());
    calls("fill").into_iter().for_each(|call| drop(at_once(&mut layer, call)));
    let evicted = cache.stats().evictions;
    let (misses, calls) = (calls("miss"), calls("bare"));
    let layer = allocation_counter::measure(|| misses.into_iter().for_each(|call| drop(at_once(&mut layer, call))));
    let bare = allocation_counter::measure(|| calls.into_iter().for_each(|call| drop(at_once(&mut bare, call))));
    let added = (layer.count_total - bare.count_total).div_ceil(MISSES);
    println!("{added} allocations a miss beside those of the service below");
    assert_eq!((cache.stats().evictions - evicted, vendor.calls()), (MISSES, 3 * MISSES));
    assert!(added <= MOST, "{added} allocations");
}

/// The vector into which a Redis client reads the value is not counted.
#[test]
fn stored_value_decodes_with_few_allocations() {
    const MOST: u64 = 15;
    let remote = Remote::new();
    let value = remote.value();
    let decode = || response::<ChatResponse>(&value).expect("it is a response");
    assert_eq!(decode(), remote.response);
    let counted = allocation_counter::measure(|| drop(decode()));
    println!("{} allocations, {} bytes for a value of {} bytes", counted.count_total, counted.bytes_total, value.len());
    assert!(counted.count_total <= MOST, "{} allocations", counted.count_total);
}

/// Client whose future is larger than that of any layer.
#[derive(Clone)]
struct Large(AtOnce);

struct LargeFuture {
    reply: Ready<Result<Reply<ChatResponse>, Error>>,
    _space: [u8; LARGE],
}

const LARGE: usize = 16 << 10;

impl Service<Call<ChatRequest>> for Large {
    type Response = Reply<ChatResponse>;
    type Error = Error;
    type Future = LargeFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<ChatRequest>) -> LargeFuture {
        LargeFuture { reply: self.0.call(call), _space: [0; LARGE] }
    }
}

impl Future for LargeFuture {
    type Output = Result<Reply<ChatResponse>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply).poll(cx)
    }
}

/// Returns `true` if the layer keeps the client's future in a box, so that its own future is small.
fn is_boxed(mut service: impl LlmService<ChatRequest>) -> bool {
    size_of_val(&service.call(call_of("acme"))) < LARGE
}

/// The layers are listed from the top of a stack to its bottom. Besides their boxes, a cold call needs one for the
/// leader of the cache's single flight, one in the client, and one in the provider that an application holds: five in
/// total.
#[test]
fn cold_call_makes_five_boxes() {
    let client = Large(AtOnce::saying("x"));
    let ledger = Ledger::new(prices::openai());
    let cache = CacheLayer::new(Cache::builder("bench").build().expect("the defaults are right"));
    let layers = [
        is_boxed(ledger.requests().layer(client.clone())),
        is_boxed(cache.layer(client.clone())),
        is_boxed(Gate::single().layer(client.clone())),
        is_boxed(ledger.attempts().layer(client)),
    ];
    assert_eq!(layers, [false, true, true, false]);
}

/// The responses contain every kind of part with additional fields, and are read from JSON as a store reads them.
#[test]
fn memory_size_covers_allocated_bytes_of_responses() {
    let long = "x".repeat(3_000);
    let fields = r#""a": {"b": [1, 2.5, "three", null, true], "c": {}}, "d": "e""#;
    let parts = [
        format!(r#"{{"type": "text", "text": "{long}", "extra": {{{fields}}}}}"#),
        r#"{"type": "text", "text": ""}"#.to_owned(),
        r#"{"type": "tool_call", "id": "1", "name": "f", "arguments": "{}"}"#.to_owned(),
        r#"{"type": "reasoning", "text": "because", "signature": "abc"}"#.to_owned(),
        r#"{"type": "refusal", "text": "no"}"#.to_owned(),
        r#"{"type": "image", "source": {"url": {"url": "https://example.com"}}, "detail": "low"}"#.to_owned(),
        r#"{"type": "tool_result", "call_id": "1", "content": [{"type": "text", "text": "ok"}]}"#.to_owned(),
        format!(r#"{{"type": "other", "value": {{{fields}}}}}"#),
    ];
    for parts in parts.iter().map(String::as_str).chain([parts.join(",").as_str()]) {
        let choice =
            format!(r#"{{"index": 0, "parts": [{parts}], "finish": {{"other": "pause"}}, "extra": {{{fields}}}}}"#);
        let text = format!(r#"{{"id": "1", "model": "m", "choices": [{choice}]}}"#);
        let mut response = None;
        let counted = allocation_counter::measure(|| {
            response = Some(Arc::new(serde_json::from_str::<ChatResponse>(&text).expect("it is a response")));
        });
        let size = ChatRequest::memory_size(&response.expect("it was read")).expect("chat knows its size");
        let allocated = u64::try_from(counted.bytes_current).expect("it holds something");
        assert!((allocated..=4 * allocated).contains(&size), "{size} bytes, {allocated} allocated: {text}");
    }
}

/// Four times as many texts take four times the bytes, not sixteen times: no list is copied for each text.
#[test]
fn embedding_texts_allocates_linearly() {
    let bytes_for = |texts: usize| {
        let cache = Cache::builder("bench").build().expect("the defaults are right");
        let mut service = Cached::new(AtOnce::saying("x"), cache);
        let inputs: Vec<String> = (0..texts).map(|n| format!("text number {n}")).collect();
        let mut measured = |call: Call<EmbedRequest>| {
            let counted = allocation_counter::measure(|| drop(at_once(&mut service, call)));
            counted.bytes_total / texts as u64
        };
        let call = Call::new("acme", EmbedRequest::new("m", inputs));
        [measured(call.clone()), measured(call)]
    };
    let (few, many) = (bytes_for(1_000), bytes_for(4_000));
    println!("bytes a text, at first and then from memory: {few:?} of 1,000, {many:?} of 4,000");
    for (few, many) in few.into_iter().zip(many) {
        assert!(many * 2 <= few * 3, "{many} bytes a text of 4,000, {few} of 1,000");
    }
}

/// With the `metrics` feature, each decision allocates one label for the recorder.
#[test]
fn decision_and_settlement_allocate_nothing() {
    let gate = Gate::single();
    gate.pass(&gate.demand);
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| gate.pass(&gate.demand)));
    let reported = if cfg!(feature = "metrics") { 100 } else { 0 };
    assert_eq!(counted.count_total, reported);
}

/// With the `metrics` feature, each refusal allocates labels for the recorder.
#[test]
fn refusal_allocates_nothing() {
    for gate in [Gate::single_full(), Gate::four_full()] {
        assert!(!gate.is_open(&gate.demand));
        let counted = allocation_counter::measure(|| (0..100).for_each(|_| assert!(!gate.is_open(&gate.demand))));
        let reported = if cfg!(feature = "metrics") { 300 } else { 0 };
        assert!(counted.count_total <= reported, "{} allocations", counted.count_total);
    }
}

#[test]
fn limiter_layer_adds_at_most_six_allocations() {
    let mut vendor = AtOnce::saying("x");
    let mut layer = Gate::single().layer(vendor.clone());
    drop(at_once(&mut layer, call_of("acme")));
    let (bare, limited) = (call_of("acme"), call_of("acme"));
    let below = allocation_counter::measure(|| drop(at_once(&mut vendor, bare))).count_total;
    let all = allocation_counter::measure(|| drop(at_once(&mut layer, limited))).count_total;
    let reported = if cfg!(feature = "metrics") { 1 } else { 0 };
    println!("{} allocations above the {below} of the service", all - below);
    assert!(all - below <= 6 + reported, "{all} allocations, {below} of them below");
}

/// Measures the memory of a tenant at 100,000 tenants with names of 36 bytes.
#[test]
fn tenant_takes_documented_memory() {
    let gate = Gate::single();
    let demands: Vec<Demand> = (0..100_000).map(|n| gate.of(&format!("{n:036}"))).collect();
    let counted = allocation_counter::measure(|| demands.iter().for_each(|demand| gate.pass(demand)));
    let each = counted.bytes_current / 100_000;
    println!("{each} bytes a tenant");
    assert!((100..=300).contains(&each), "{each} bytes a tenant");
}

#[test]
fn choice_of_key_allocates_nothing() {
    for keys in [Keys::open(3), Keys::limited(1_000, 500)] {
        // Calls beforehand let the pool's sliding windows reach their full size.
        (0..10_000).for_each(|_| keys.serve());
        let counted = allocation_counter::measure(|| (0..100).for_each(|_| keys.serve()));
        assert_eq!(counted.count_total, 0);
    }
}

#[test]
fn pool_adds_at_most_six_allocations() {
    let mut client = AtOnce::saying("x");
    let mut pool = three(&client);
    (0..100).for_each(|_| drop(at_once(&mut pool, call_of("acme"))));
    let (bare, pooled) = (call_of("acme"), call_of("acme"));
    let below = allocation_counter::measure(|| drop(at_once(&mut client, bare))).count_total;
    let all = allocation_counter::measure(|| drop(at_once(&mut pool, pooled))).count_total;
    println!("{} allocations above the {below} of the client", all - below);
    assert!(all - below <= 6, "{all} allocations, {below} of them below");
}
