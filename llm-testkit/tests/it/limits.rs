//! Tests of enforced limits.

use crate::client::{Received, ask, ask_http, chat, post, prompt, with};
use crate::formats::{anthropic, gemini};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use llm_testkit::{Fault, Flavor, Latency, Limit, RefusalKind, RetryForm, Rule, Vendor, tokens};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, advance};
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn limit_window_slides_and_states_delay() {
    let vendor = Vendor::builder().limit_each_key([Limit::requests(3, MINUTE)]).build();
    for _ in 0..3 {
        assert_eq!(status(&vendor, "sk-a").await, 200);
        advance(20 * SECOND).await;
    }
    assert_eq!(status(&vendor, "sk-a").await, 200, "the first one left after exactly a minute");
    advance(Duration::from_micros(12_500_200)).await;
    let refused = ask(&vendor, as_key("sk-a", chat(&prompt("one")))).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers["retry-after"], "8");
    assert_eq!(refused.headers["retry-after-ms"], "7500");
    assert_eq!(refused.headers["x-ratelimit-remaining-requests"], "0");
    advance(Duration::from_millis(7_499)).await;
    assert_eq!(status(&vendor, "sk-a").await, 429, "too early");
    advance(Duration::from_millis(1)).await;
    assert_eq!(status(&vendor, "sk-a").await, 200, "as the refusal said");
    let limited = vendor.limited();
    assert_eq!((limited.len(), vendor.bills().len()), (2, 5));
    assert_eq!(limited[0].retry_after, Some(Duration::from_millis(7_500)));
    assert_eq!((limited[0].key.as_str(), limited[0].limit), ("sk-a", Limit::requests(3, MINUTE)));
}

#[tokio::test(start_paused = true)]
async fn limit_holds_in_every_window() {
    for seed in 0..5 {
        let vendor = Vendor::builder().limit_each_key([Limit::requests(20, MINUTE)]).build();
        let (start, mut passed) = (Instant::now(), Vec::new());
        for call in 0..400_u64 {
            advance(Duration::from_millis((call * 7_919 + seed * 104_729) % 2_500)).await;
            if status(&vendor, "sk-a").await == 200 {
                passed.push(start.elapsed());
            }
        }
        let within = |from: &Duration| passed.iter().filter(|at| *from <= **at && **at < *from + MINUTE).count();
        assert_eq!(passed.iter().map(within).max(), Some(20), "seed {seed}");
        assert_eq!(passed.len() + vendor.limited().len(), 400);
    }
}

#[tokio::test(start_paused = true)]
async fn limit_slices_are_enforced_each_second() {
    let limit = Limit::requests(60, MINUTE).in_slices_of(SECOND);
    let vendor = Vendor::builder().limit_each_key([limit]).build();
    assert_eq!(status(&vendor, "sk-a").await, 200);
    let refused = ask(&vendor, chat(&prompt("one"))).await;
    assert_eq!((refused.status.as_u16(), &refused.headers["retry-after-ms"]), (429, &HeaderValue::from_static("1000")));
    assert_eq!(refused.headers["x-ratelimit-limit-requests"], "60", "the limit is stated by the minute");
    assert_eq!(refused.headers["x-ratelimit-remaining-requests"], "59");
    for _ in 0..120 {
        advance(SECOND).await;
        assert_eq!(status(&vendor, "sk-a").await, 200);
    }
}

#[tokio::test]
async fn limit_organisation_shares_one_limit() {
    let vendor = Vendor::builder()
        .limit_each_key([Limit::requests(2, MINUTE)])
        .limit_key("sk-d", [Limit::requests(1, MINUTE)])
        .limit_organisation("acme", ["sk-a", "sk-b"], [Limit::requests(3, MINUTE)])
        .build();
    let mut statuses = Vec::new();
    for key in ["sk-a", "sk-a", "sk-a", "sk-b", "sk-b", "sk-c", "sk-c", "sk-c", "sk-d", "sk-d"] {
        statuses.push(status(&vendor, key).await.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 200, 429, 200, 200, 429, 200, 429]);
    let who: Vec<_> = vendor.limited().into_iter().map(|limited| (limited.key, limited.organisation)).collect();
    let row = |key: &str, organisation: Option<&str>| (key.to_owned(), organisation.map(str::to_owned));
    assert_eq!(who, [row("sk-a", None), row("sk-b", Some("acme")), row("sk-c", None), row("sk-d", None)]);
}

#[tokio::test(start_paused = true)]
async fn limit_counts_failed_but_not_refused_calls() {
    let vendor = Vendor::builder()
        .limit_each_key([Limit::requests(2, MINUTE)])
        .limit_organisation("acme", ["sk-a", "sk-b"], [Limit::requests(2, SECOND)])
        .build();
    vendor.script(Rule::new(Fault::Refused(RefusalKind::ServerError)).once());
    assert_eq!(status(&vendor, "sk-a").await, 500);
    assert_eq!(status(&vendor, "sk-b").await, 200);
    assert_eq!(status(&vendor, "sk-b").await, 429, "the organisation is full");
    advance(SECOND).await;
    assert_eq!(status(&vendor, "sk-b").await, 200, "its refusal took none of the key's two");
    assert_eq!(status(&vendor, "sk-a").await, 200);
    assert_eq!(status(&vendor, "sk-a").await, 429, "and the failure took one");
}

#[tokio::test(start_paused = true)]
async fn limit_counts_tokens_reserved_or_used() {
    let body = with(prompt("one two three"), json!({"max_tokens": 100, "n": 2}));
    let input = tokens::chat_input(&body);
    let build = |limit| {
        let vendor = Vendor::builder().response_tokens(10..=10).cached_percent(50);
        vendor.latency(Latency::fixed(SECOND, Duration::ZERO)).limit_each_key([limit]).build()
    };
    let cases = [
        (Limit::tokens(1_000, MINUTE), input + 200, 0),
        (Limit::used_tokens(1_000, MINUTE), input, 20),
        (Limit::input_tokens(1_000, MINUTE), input - input / 2, 0),
        (Limit::output_tokens(1_000, MINUTE), 0, 20),
    ];
    for (limit, admitted, ended) in cases {
        let vendor = build(limit);
        let left = |response: &Received| {
            let text = response.headers["x-ratelimit-remaining-tokens"].to_str().expect("ASCII");
            text.parse::<u64>().expect("a number")
        };
        let first = ask(&vendor, chat(&body)).await;
        assert_eq!(left(&first), 1_000 - admitted, "{limit:?}");
        let second = ask(&vendor, chat(&body)).await;
        assert_eq!(left(&second), 1_000 - 2 * admitted - ended, "{limit:?}");
    }
}

#[tokio::test]
async fn output_limit_admits_while_tokens_remain() {
    let vendor = Vendor::builder().response_tokens(10..=10).limit_each_key([Limit::output_tokens(15, MINUTE)]).build();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(status(&vendor, "sk-a").await.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn limit_exceeding_request_states_no_delay() {
    let vendor = Vendor::builder().limit_each_key([Limit::tokens(100, MINUTE)]).build();
    let refused = ask(&vendor, chat(&with(prompt("one"), json!({"max_tokens": 101})))).await;
    assert_eq!(refused.status, 429);
    assert!(!refused.headers.contains_key("retry-after"));
    assert_eq!(refused.json()["error"]["message"], "request too large for the rate limit");
    assert_eq!(vendor.limited()[0].retry_after, None);
    assert_eq!(status(&vendor, "sk-a").await, 200);
}

#[tokio::test(start_paused = true)]
async fn limit_refusal_follows_format() {
    let limits = [Limit::requests(60, MINUTE), Limit::tokens(500, MINUTE)];
    let vendor = Vendor::builder().limit_each_key(limits).wall_clock(|| std::time::SystemTime::UNIX_EPOCH).build();
    let big = json!({"model": "m", "max_tokens": 450, "messages": [{"role": "user", "content": "one"}]});
    assert_eq!(ask(&vendor, chat(&big)).await.status, 200);

    let openai = ask(&vendor, chat(&big)).await;
    assert_eq!((openai.status.as_u16(), &openai.headers["retry-after"]), (429, &HeaderValue::from_static("60")));
    assert_eq!(openai.json()["error"]["type"], "tokens");
    assert_eq!(openai.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(openai.headers["x-ratelimit-limit-tokens"], "500");
    assert_eq!(openai.headers["x-ratelimit-reset-tokens"], "54.96s");
    assert_eq!(openai.headers["x-ratelimit-remaining-requests"], "59");

    let claude = ask(&vendor, anthropic("messages", &big)).await;
    assert_eq!((claude.status.as_u16(), &claude.headers["retry-after"]), (429, &HeaderValue::from_static("60")));
    assert_eq!(claude.json()["error"]["type"], "rate_limit_error");
    assert_eq!(claude.headers["anthropic-ratelimit-tokens-limit"], "500");
    assert_eq!(claude.headers["anthropic-ratelimit-requests-remaining"], "59");
    assert_eq!(claude.headers["anthropic-ratelimit-tokens-reset"], "1970-01-01T00:00:55Z");

    let body = json!({"contents": [{"role": "user", "parts": [{"text": "one"}]}],
        "generationConfig": {"maxOutputTokens": 450}});
    let gemini = ask(&vendor, gemini("m:generateContent", &body)).await;
    assert_eq!(gemini.status, 429);
    let details = gemini.json()["error"]["details"].clone();
    assert_eq!(details[0]["violations"][0]["quotaId"], "GenerateContentPaidTierInputTokensPerModelPerMinute");
    assert_eq!(details[1]["retryDelay"], "60s");
}

#[tokio::test]
async fn limit_counts_chat_and_embeddings_only() {
    let vendor = Vendor::builder().limit_each_key([Limit::requests(1, MINUTE)]).build();
    let free = Request::get("/v1/models").header("authorization", "Bearer sk-a").body(Bytes::new());
    assert_eq!(ask(&vendor, free.expect("a request")).await.status, 200);
    let count = json!({"model": "m", "messages": [{"role": "user", "content": "one"}]});
    assert_eq!(ask(&vendor, anthropic("messages/count_tokens", &count)).await.status, 200);
    let embed = post("embeddings", &json!({"model": "m", "input": "a"}));
    assert_eq!(ask(&vendor, embed.clone()).await.status, 200);
    assert_eq!(ask(&vendor, embed).await.status, 429);
}

#[tokio::test]
async fn limit_over_http_precedes_rules() {
    let vendor = Vendor::builder().limit_each_key([Limit::requests(1, 60 * MINUTE)]).rate_limits(None).build();
    vendor.script(Rule::new(Fault::rate_limited(SECOND, RetryForm::Seconds)).skip(1));
    let server = vendor.serve().await;
    assert_eq!(ask_http(&server, chat(&prompt("one"))).await.status, 200);
    let refused = ask_http(&server, chat(&prompt("one"))).await;
    assert_eq!(refused.status, 429);
    let seconds = refused.headers["retry-after"].to_str().expect("ASCII").parse::<u64>().expect("seconds");
    assert!((3_000..=3_600).contains(&seconds), "it is the limit's refusal, not the script's: {seconds}");
    assert!(!refused.headers.contains_key("x-ratelimit-limit-requests"), "this vendor advertises nothing");
    assert_eq!(vendor.statuses().into_iter().collect::<Vec<_>>(), [(200, 1), (429, 1)]);
}

async fn status(vendor: &Vendor, key: &'static str) -> StatusCode {
    ask(vendor, as_key(key, chat(&prompt("one")))).await.status
}

fn as_key(key: &'static str, mut request: Request<Bytes>) -> Request<Bytes> {
    let bearer = HeaderValue::try_from(format!("Bearer {key}")).expect("letters");
    request.headers_mut().insert("authorization", bearer);
    request
}

#[tokio::test(start_paused = true)]
async fn limit_headers_state_each_token_kind() {
    let limits = [Limit::input_tokens(50_000, MINUTE), Limit::output_tokens(8_000, MINUTE)];
    let vendor = Vendor::builder().response_tokens(3_000..=3_000).limit_each_key(limits).build();
    let long =
        json!({"model": "m", "max_tokens": 4_000, "messages": [{"role": "user", "content": "abcd".repeat(900)}]});
    ask(&vendor, anthropic("messages", &long)).await;
    let second = ask(&vendor, anthropic("messages", &long)).await.headers;
    for (kind, limit, remaining) in
        [("input-tokens", "50000", "48000"), ("output-tokens", "8000", "5000"), ("tokens", "8000", "5000")]
    {
        assert_eq!(second[format!("anthropic-ratelimit-{kind}-limit")], limit, "{kind}");
        assert_eq!(second[format!("anthropic-ratelimit-{kind}-remaining")], remaining, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn limit_of_model_counts_that_model_alone() {
    let limits = [Limit::requests(1, MINUTE).of_model("one"), Limit::requests(2, MINUTE).of_model("other")];
    let builder = Vendor::builder().limit_organisation("acme", ["sk-a", "sk-b"], limits);
    let vendor = builder.state_organisation(true).build();
    let send = async |key: &'static str, model: &str| {
        let received = ask(&vendor, as_key(key, chat(&with(prompt("hello"), json!({"model": model}))))).await;
        assert_eq!(received.headers["openai-organization"], "acme");
        (received.status.as_u16(), received.headers["x-ratelimit-remaining-requests"].clone())
    };
    assert_eq!(send("sk-a", "one").await, (200, "0".parse().unwrap()));
    assert_eq!(send("sk-b", "one").await.0, 429);
    assert_eq!(send("sk-b", "other").await, (200, "1".parse().unwrap()));
    assert_eq!(send("sk-a", "other").await.0, 200);
    assert_eq!(send("sk-a", "other").await.0, 429);
}

#[tokio::test(start_paused = true)]
async fn address_limit_refuses_every_key_bare() {
    let vendor = Vendor::builder().keys(["sk-a", "sk-b"]).limit_each_address(3, MINUTE).build();
    for (key, status) in [("sk-a", 200), ("sk-b", 200), ("sk-unknown", 401), ("sk-b", 429), ("sk-a", 429)] {
        let response = ask(&vendor, as_key(key, chat(&prompt("one")))).await;
        assert_eq!(response.status, status, "{key}");
        if status == 429 {
            assert_eq!(response.bytes(), "too many requests\n");
            let stated = ["retry-after", "retry-after-ms", "x-ratelimit-remaining-requests", "x-should-retry"];
            assert!(stated.iter().all(|name| !response.headers.contains_key(*name)), "{:?}", response.headers);
        }
    }
    let server = vendor.serve().await;
    assert_eq!(ask_http(&server, chat(&prompt("one"))).await.status, 429, "the same address over HTTP");
    let elsewhere = vendor.transport().from_address([10, 0, 0, 7].into());
    assert_eq!(elsewhere.oneshot(chat(&prompt("one"))).await.expect("a head").status(), 200);
    let limited = vendor.limited();
    let of_address = |limited: &llm_testkit::Limited| limited.address.is_some() && limited.organisation.is_none();
    assert!(limited.len() == 3 && limited.iter().all(of_address), "{limited:?}");
    advance(MINUTE).await;
    assert_eq!(status(&vendor, "sk-a").await, 200);
}

#[tokio::test(start_paused = true)]
async fn limit_reset_has_sense_of_each_vendor() {
    let wall = || std::time::UNIX_EPOCH + Duration::from_secs(1_787_150_000);
    let headers = ["x-ratelimit-reset-requests", "anthropic-ratelimit-requests-reset"];
    let messages = json!([{"role": "user", "content": "one"}]);
    let body = json!({"model": "m", "max_tokens": 9, "messages": messages});
    // Three requests out of sixty a minute were made, ten seconds apart.
    for (flavor, is_anthropic, reset) in [
        (Flavor::OpenAi, false, Some("3s")),
        (Flavor::Groq, false, Some("3s")),
        (Flavor::Azure, false, Some("60")),
        (Flavor::Mistral, false, None),
        (Flavor::OpenAi, true, Some("2026-08-19T14:33:23Z")),
    ] {
        let builder = Vendor::builder().flavor(flavor).limit_each_key([Limit::requests(60, MINUTE)]);
        let vendor = builder.wall_clock(wall).build();
        let mut stated = None;
        for _ in 0..3 {
            advance(10 * SECOND).await;
            let request = match is_anthropic {
                true => anthropic("messages", &body),
                false => in_flavor(flavor, &prompt("one")),
            };
            let response = ask(&vendor, request).await;
            assert_eq!(response.status, 200, "{flavor:?}");
            stated = headers.iter().find_map(|name| response.headers.get(*name)).cloned();
        }
        assert_eq!(stated.as_ref().map(|text| text.to_str().expect("ASCII")), reset, "{flavor:?}");
    }
}

/// Returns a chat request at a flavor's path, with its form of a key.
fn in_flavor(flavor: Flavor, body: &serde_json::Value) -> Request<Bytes> {
    let path = format!("{}/chat/completions", flavor.path_prefix());
    let request = Request::post(path).header("authorization", "Bearer sk-a").header("api-key", "sk-a");
    request.body(body.to_string().into()).expect("a valid request")
}
