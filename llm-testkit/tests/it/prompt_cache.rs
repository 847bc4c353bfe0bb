//! Tests of the prompt caches of organisations.

use crate::client::{ask, with};
use crate::formats::{anthropic, gemini};
use bytes::Bytes;
use http::Request;
use llm_testkit::{Vendor, tokens};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::advance;

const TTL: Duration = Duration::from_secs(300);

/// Returns a conversation with `turns` turns of the user, each of more than a thousand tokens.
fn conversation(name: &str, turns: usize) -> Value {
    let turn = |number: usize| [("user", number), ("assistant", number)];
    let messages = (0..turns).flat_map(turn).take(2 * turns - 1);
    let message = |(role, number)| json!({"role": role, "content": format!("{name} {number} ").repeat(1_000)});
    json!({"model": "m", "max_tokens": 5, "messages": messages.map(message).collect::<Vec<_>>()})
}

fn as_key(key: &str, body: &Value) -> Request<Bytes> {
    let request = Request::post("/v1/chat/completions").header("authorization", format!("Bearer {key}"));
    request.body(body.to_string().into()).expect("a request")
}

fn vendor() -> Vendor {
    let builder = Vendor::builder().response_tokens(1..=5).prompt_cache(1_024, TTL);
    let builder = builder.limit_organisation("acme", ["sk-a", "sk-b"], []);
    builder.limit_organisation("globex", ["sk-c"], []).build()
}

/// Sends a request, and returns the cached tokens of its bill and its prompt's tokens.
async fn cached(vendor: &Vendor, request: Request<Bytes>) -> (u64, u64) {
    let response = ask(vendor, request).await;
    assert_eq!(response.status, 200);
    let bill = vendor.bills().last().cloned().expect("a bill");
    (bill.cached_tokens, bill.input_tokens)
}

#[tokio::test(start_paused = true)]
async fn prompt_cache_serves_beginning_to_own_organisation() {
    let vendor = vendor();
    let (one, two) = (conversation("one", 1), conversation("one", 2));
    let whole = tokens::chat_input(&one);
    assert_eq!(cached(&vendor, as_key("sk-a", &one)).await, (0, whole));
    assert_eq!(cached(&vendor, as_key("sk-a", &two)).await.0, whole, "the first turn");
    assert_eq!(cached(&vendor, as_key("sk-b", &two)).await.0, tokens::chat_input(&two), "another key of it");
    assert_eq!(cached(&vendor, as_key("sk-c", &two)).await.0, 0, "another organisation");
    assert_eq!(cached(&vendor, as_key("sk-d", &two)).await.0, 0, "a key without one");
    assert_eq!(cached(&vendor, as_key("sk-a", &conversation("two", 2))).await.0, 0, "another beginning");
    let other = with(two.clone(), json!({"model": "n"}));
    assert_eq!(cached(&vendor, as_key("sk-a", &other)).await.0, 0, "another model");
    let body = ask(&vendor, as_key("sk-a", &two)).await.json();
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], tokens::chat_input(&two));
}

#[tokio::test(start_paused = true)]
async fn prompt_cache_expires_unless_used() {
    let vendor = vendor();
    let body = conversation("one", 1);
    for (wait, is_cached) in [(0, false), (299, true), (299, true), (300, false), (1, true)] {
        advance(Duration::from_secs(wait)).await;
        assert_eq!(cached(&vendor, as_key("sk-a", &body)).await.0 > 0, is_cached, "after {wait} s");
    }
}

#[tokio::test(start_paused = true)]
async fn prompt_cache_skips_short_and_refused_prompts() {
    let vendor = vendor();
    let short = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    for _ in 0..2 {
        assert_eq!(cached(&vendor, as_key("sk-a", &short)).await.0, 0);
    }
    let body = conversation("one", 1);
    vendor.script(llm_testkit::Rule::new(llm_testkit::Fault::Throttled).once());
    assert_eq!(ask(&vendor, as_key("sk-a", &body)).await.status, 429);
    assert_eq!(cached(&vendor, as_key("sk-a", &body)).await.0, 0, "the refused one was not read");
}

#[tokio::test(start_paused = true)]
async fn prompt_cache_follows_each_format() {
    let text = "a long text ".repeat(500);
    let marked = |mark: bool| {
        let block = json!({"type": "text", "text": text});
        let block = if mark { with(block, json!({"cache_control": {"type": "ephemeral"}})) } else { block };
        json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [block]}]})
    };
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": text}]}]});
    for (request, is_cached) in [
        (anthropic("messages", &marked(false)), false),
        (anthropic("messages", &marked(true)), true),
        (gemini("m:generateContent", &contents), true),
    ] {
        let vendor = vendor();
        assert_eq!(cached(&vendor, request.clone()).await.0, 0);
        assert_eq!(cached(&vendor, request.clone()).await.0 > 0, is_cached, "{}", request.uri());
    }
}
