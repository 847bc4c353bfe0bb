//! Tests that every field of a request separates responses, or is documented as having no effect on the response.

use std::sync::Arc;

use llm_cache::{Cache, CacheLayer, Key};
use llm_core::{
    Call, ChatRequest, EmbedInput, EmbedRequest, Extra, Message, Operation, Origin, Part, Tool,
    chat::{JsonSchema, ResponseFormat, Sampling, ToolChoice},
    into_provider,
    layer::Streamed,
};
use llm_providers::scripted::Scripted;
use serde_json::json;
use tower::ServiceBuilder;

type Change<T> = (&'static str, fn(&mut T));

/// Returns the names of all fields. The pattern has no `..`, so that the build fails if a new field is missing in this
/// table.
fn chat_fields(request: &ChatRequest) -> [&'static str; 19] {
    let ChatRequest {
        model: _,
        messages: _,
        tools: _,
        tool_choice: _,
        parallel_tool_calls: _,
        response_format: _,
        reasoning_effort: _,
        sampling:
            Sampling {
                temperature: _,
                top_p: _,
                top_k: _,
                frequency_penalty: _,
                presence_penalty: _,
                seed: _,
                stop: _,
                n: _,
                max_output_tokens: _,
                logprobs: _,
                top_logprobs: _,
            },
        extra: _,
    } = request;
    [
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "temperature",
        "top_p",
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "n",
        "max_output_tokens",
        "logprobs",
        "top_logprobs",
        "extra",
    ]
}

fn embed_fields(request: &EmbedRequest) -> [&'static str; 4] {
    let EmbedRequest { model: _, inputs: _, dimensions: _, extra: _ } = request;
    ["model", "inputs", "dimensions", "extra"]
}

/// Two other values for each field.
const CHAT: &[Change<ChatRequest>] = &[
    ("model", |r| r.model = "m2".into()),
    ("model", |r| r.model = "M".into()),
    ("messages", |r| Arc::make_mut(&mut r.messages).push(Message::user("more"))),
    ("messages", |r| Arc::make_mut(&mut r.messages)[0].parts[0] = Part::text("q ")),
    ("tools", |r| Arc::make_mut(&mut r.tools).push(Tool::function("f", "does", json!({"type": "object"})))),
    ("tools", |r| Arc::make_mut(&mut r.tools).push(Tool::function("g", "does", json!({"type": "object"})))),
    ("tool_choice", |r| r.tool_choice = Some(ToolChoice::Auto)),
    ("tool_choice", |r| r.tool_choice = Some(ToolChoice::None)),
    ("parallel_tool_calls", |r| r.parallel_tool_calls = Some(true)),
    ("parallel_tool_calls", |r| r.parallel_tool_calls = Some(false)),
    ("response_format", |r| r.response_format = Some(ResponseFormat::JsonObject)),
    ("response_format", |r| r.response_format = Some(schema())),
    ("reasoning_effort", |r| r.reasoning_effort = Some("low".into())),
    ("reasoning_effort", |r| r.reasoning_effort = Some("high".into())),
    ("temperature", |r| r.sampling.temperature = Some(0.0)),
    ("temperature", |r| r.sampling.temperature = Some(0.5)),
    ("top_p", |r| r.sampling.top_p = Some(0.0)),
    ("top_p", |r| r.sampling.top_p = Some(0.5)),
    ("top_k", |r| r.sampling.top_k = Some(1)),
    ("top_k", |r| r.sampling.top_k = Some(2)),
    ("frequency_penalty", |r| r.sampling.frequency_penalty = Some(0.0)),
    ("frequency_penalty", |r| r.sampling.frequency_penalty = Some(0.5)),
    ("presence_penalty", |r| r.sampling.presence_penalty = Some(0.0)),
    ("presence_penalty", |r| r.sampling.presence_penalty = Some(0.5)),
    ("seed", |r| r.sampling.seed = Some(1 << 53)),
    ("seed", |r| r.sampling.seed = Some((1 << 53) + 1)),
    ("stop", |r| r.sampling.stop = vec!["a".into()]),
    ("stop", |r| r.sampling.stop = vec!["a".into(), "b".into()]),
    ("n", |r| r.sampling.n = Some(1)),
    ("n", |r| r.sampling.n = Some(2)),
    ("max_output_tokens", |r| r.sampling.max_output_tokens = Some(1)),
    ("max_output_tokens", |r| r.sampling.max_output_tokens = Some(2)),
    ("logprobs", |r| r.sampling.logprobs = Some(true)),
    ("logprobs", |r| r.sampling.logprobs = Some(false)),
    ("top_logprobs", |r| r.sampling.top_logprobs = Some(1)),
    ("top_logprobs", |r| r.sampling.top_logprobs = Some(2)),
    ("extra", |r| r.extra.insert("max_completion_tokens", 5)),
    ("extra", |r| r.extra.insert("a_field_of_next_year", 5)),
];

const EMBED: &[Change<EmbedRequest>] = &[
    ("model", |r| r.model = "m2".into()),
    ("model", |r| r.model = "M".into()),
    ("inputs", |r| r.inputs = Arc::new(vec![EmbedInput::Text("q ".into())])),
    ("inputs", |r| r.inputs = Arc::new(vec![EmbedInput::Tokens([113].into())])),
    ("dimensions", |r| r.dimensions = Some(1)),
    ("dimensions", |r| r.dimensions = Some(2)),
    ("extra", |r| r.extra.insert("input_type", "query")),
    ("extra", |r| r.extra.insert("input_type", "document")),
];

fn schema() -> ResponseFormat {
    let schema = json!({"type": "object"}).into();
    ResponseFormat::JsonSchema(JsonSchema { name: "s".into(), description: None, schema, strict: None })
}

fn key<T: Operation>(request: &T) -> Key {
    Key::of_operation("ns", "acme", request)
}

/// Checks that each change leads to a different key, except for the fields of `transport`.
fn check<T: Operation + PartialEq>(
    base: &T,
    fields: &[&str],
    changes: &[Change<T>],
    transport: &[&'static str],
    extra: fn(&mut T) -> &mut Extra,
) {
    let mut seen = vec![("nothing", key(base))];
    for (field, change) in changes {
        let mut request = base.clone();
        change(&mut request);
        let own = key(&request);
        for (other, known) in &seen {
            assert!(own != *known, "{field} is mistaken for {other}");
        }
        seen.push((field, own));
    }
    for field in fields {
        assert_eq!(changes.iter().filter(|(name, _)| name == field).count(), 2, "{field} is not in the table");
    }
    assert!(changes.iter().all(|(name, _)| fields.contains(name)));
    for name in transport {
        let mut request = base.clone();
        extra(&mut request).insert(*name, "x");
        assert!(request != *base && key(&request) == key(base), "{name} is documented to say nothing of the answer");
    }
}

#[test]
fn key_separates_by_every_chat_field() {
    let base = ChatRequest::new("m").user("q");
    check(&base, &chat_fields(&base), CHAT, &ChatRequest::TRANSPORT_FIELDS, |request| &mut request.extra);
    assert_eq!(key(&Streamed(base.clone())), key(&base), "asked as a stream, it is the same question");
}

#[test]
fn key_separates_by_every_embedding_field() {
    let base = EmbedRequest::new("m", ["q"]);
    check(&base, &embed_fields(&base), EMBED, &EmbedRequest::TRANSPORT_FIELDS, |request| &mut request.extra);
    assert_ne!(key(&base), key(&ChatRequest::new("m").user("q")), "operations are apart");
}

#[tokio::test(start_paused = true)]
async fn key_difference_separates_entries() {
    let upstream = Scripted::new();
    let cache = Cache::builder("ns").build().unwrap();
    let provider = into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache)).service(upstream.clone()));
    let origin = async |request| provider.chat(Call::new("acme", request)).await.unwrap().receipt.origin();
    for (field, change) in CHAT {
        let mut request = ChatRequest::new("m").user("q");
        change(&mut request);
        assert_eq!(origin(request.clone()).await, Origin::Vendor, "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_and_namespaces_share_no_entry() {
    let upstream = Scripted::new();
    let stack = |namespace: &str| {
        let cache = Cache::builder(namespace).build().expect("the settings are right");
        into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache)).service(upstream.clone()))
    };
    let (a, b) = (stack("a"), stack("b"));
    for provider in [&a, &b] {
        for tenant in ["acme", "umbrella"] {
            let call = || Call::new(tenant, ChatRequest::new("m").user("q"));
            assert_eq!(provider.chat(call()).await.unwrap().receipt.origin(), Origin::Vendor);
            assert_ne!(provider.chat(call()).await.unwrap().receipt.origin(), Origin::Vendor);
        }
    }
    let question = ChatRequest::new("m").user("q");
    let keys = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", "")].map(|(n, t)| Key::of_operation(n, t, &question));
    for (at, key) in keys.iter().enumerate() {
        assert!(keys[..at].iter().all(|other| other != key));
    }
}
