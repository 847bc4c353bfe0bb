//! Tests of the `genai` crate's client as a provider, over loopback to the simulated vendor.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use genai::{
    Client, ModelIden, ServiceTarget,
    adapter::AdapterKind,
    resolver::{AuthData, Endpoint, ServiceTargetResolver},
};
use llm_providers::{
    genai::Genai,
    llm_core::{
        Call, Charge, ChatEvent, ChatRequest, EmbedInput, EmbedRequest, ErrorKind, Extra, FinishReason, Message, Part,
        Provider, Role, Tool, Usage,
        chat::{Reasoning, ResponseFormat, Sampling, ToolChoice},
    },
};
use llm_testkit::{Fault, RetryForm, Rule, Server, Vendor};
use serde_json::{Value, json};

/// Returns a client that sends calls for all models to the simulated vendor.
fn at(server: &Server, kind: AdapterKind) -> Genai {
    let version = if kind == AdapterKind::Gemini { "v1beta" } else { "v1" };
    let address: Arc<str> = format!("{}/{version}/", server.origin()).into();
    let resolve = move |target: ServiceTarget| {
        let model = ModelIden::new(kind, target.model.model_name);
        let endpoint = Endpoint::from_owned(Arc::clone(&address));
        Ok(ServiceTarget { endpoint, auth: AuthData::from_single("sk-secret"), model })
    };
    let resolver = ServiceTargetResolver::from_resolver_fn(resolve);
    Genai::new(Client::builder().with_service_target_resolver(resolver).build().unwrap())
}

fn question() -> ChatRequest {
    ChatRequest::new("gpt-4o-mini").system("Be short.").user("Name a test case for a login form.").temperature(0.0)
}

fn weather() -> ChatRequest {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tool = Tool::function("weather", "The weather in a city.", schema);
    ChatRequest::new("gpt-4o-mini").user("Is it raining in Paris?").tool(tool).tool_choice(ToolChoice::Required)
}

fn call(request: ChatRequest) -> Call<ChatRequest> {
    Call::new("acme", request)
}

fn last_sent(vendor: &Vendor) -> Value {
    serde_json::from_slice(vendor.requests().first().unwrap().body()).unwrap()
}

/// Returns the usage that the vendor billed for each call.
fn billed(vendor: &Vendor) -> Vec<Usage> {
    let usage = |bill: &llm_testkit::Bill| Usage {
        cache_read: bill.cached_tokens,
        ..Usage::new(bill.input_tokens, bill.output_tokens)
    };
    vendor.bills().iter().map(usage).collect()
}

#[tokio::test]
async fn genai_returns_response_and_usage_of_vendor() {
    let vendor = Vendor::builder().cached_percent(50).build();
    let server = vendor.serve().await;
    let provider = at(&server, AdapterKind::OpenAI);
    let whole = provider.chat(call(question())).await.unwrap();
    let text = vendor.response_text(&last_sent(&vendor));
    assert_eq!(Some(whole.output.text().into_owned()), text);
    assert_eq!(whole.output.finish(), &FinishReason::Stop);
    let accounting = whole.receipt.accounting();
    assert_eq!((accounting.provider.as_deref(), accounting.model.as_deref()), (Some("openai"), Some("gpt-4o-mini")));

    let streamed = provider.chat_stream(call(question())).await.unwrap();
    let receipt = streamed.receipt.clone();
    let response = streamed.output.complete().await.unwrap();
    assert_eq!(Some(response.text().into_owned()), text);
    assert_eq!(response.finish(), &FinishReason::Stop);
    let stated = [whole.receipt.usage(), receipt.usage()].map(Option::unwrap);
    assert!(stated[0].cache_read > 0);
    assert_eq!(billed(&vendor), stated);
}

#[tokio::test]
async fn genai_adapters_stream_and_call_tools() {
    for kind in [AdapterKind::Anthropic, AdapterKind::Gemini] {
        let vendor = Vendor::new();
        let server = vendor.serve().await;
        let provider = at(&server, kind);
        let whole = provider.chat(call(question())).await.unwrap();
        let said = vendor.responses_to(&vendor.requests()[0]).pop();
        assert_eq!(
            (whole.output.finish(), Some(whole.output.text().into_owned())),
            (&FinishReason::Stop, said),
            "{kind}"
        );
        let streamed = provider.chat_stream(call(question())).await.unwrap();
        let receipt = streamed.receipt.clone();
        assert_eq!(streamed.output.complete().await.unwrap().text(), whole.output.text(), "{kind}");
        assert_eq!(billed(&vendor), [whole.receipt.usage(), receipt.usage()].map(Option::unwrap), "{kind}");

        let response = provider.chat(call(weather())).await.unwrap().output;
        let wanted = response.tool_calls().next().expect("a call").clone();
        assert_eq!((&*wanted.name, wanted.parse::<Value>().is_ok()), ("weather", true), "{kind}");
        let stated = Message::tool(wanted.id.clone(), "sunny");
        let answered =
            weather().message(response.choices[0].clone().into()).message(stated).tool_choice(ToolChoice::Auto);
        assert!(!provider.chat(call(answered)).await.unwrap().output.text().is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn genai_signed_reasoning_returns_to_own_adapter() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let thought = |adapter: Option<&str>| {
        let reasoning = Reasoning { text: "hm".into(), signature: Some("S".into()), ..Reasoning::default() };
        let part = Part::Reasoning(reasoning);
        let part = adapter.into_iter().fold(part, |part, adapter| part.with_extra("thought_signatures", adapter));
        question().message(Message::new(Role::Assistant, vec![part, Part::text("4")])).user("go on")
    };
    for (kind, adapter, goes) in [
        (AdapterKind::Anthropic, Some("anthropic"), true),
        (AdapterKind::Anthropic, Some("gemini"), false),
        (AdapterKind::Anthropic, None, false),
        (AdapterKind::OpenAI, Some("openai"), false),
    ] {
        let provider = at(&server, kind);
        let asked = provider.chat(call(thought(adapter))).await;
        if goes {
            asked.unwrap();
            assert!(last_sent(&vendor).to_string().contains("hm"));
        } else {
            let error = asked.unwrap_err();
            let named = error.message().contains("messages[2].parts[0], reasoning");
            assert!(error.kind() == ErrorKind::Unsupported && named, "{error}");
            provider.approximate(true).chat(call(thought(adapter))).await.unwrap();
            assert!(!last_sent(&vendor).to_string().contains("hm"), "it is left out");
        }
    }
}

#[tokio::test]
async fn genai_stream_arrives_in_pieces() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let reply = at(&server, AdapterKind::OpenAI).chat_stream(call(question())).await.unwrap();
    let events: Vec<_> = reply.output.map(Result::unwrap).collect().await;
    let texts = events.iter().filter(|event| matches!(event, ChatEvent::Text { .. })).count();
    assert!(texts > 1);
    assert!(matches!(events.first(), Some(ChatEvent::Start { .. })));
    assert!(matches!(events.last(), Some(ChatEvent::Usage(_))));
}

#[tokio::test]
async fn genai_tool_calls_round_trip() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let provider = at(&server, AdapterKind::OpenAI);
    let whole = provider.chat(call(weather())).await.unwrap().output;
    let streamed = provider.chat_stream(call(weather())).await.unwrap().output.complete().await.unwrap();
    assert_eq!(whole.finish(), &FinishReason::ToolCalls);
    assert_eq!(whole.tool_calls().collect::<Vec<_>>(), streamed.tool_calls().collect::<Vec<_>>());
    let wanted = whole.tool_calls().next().unwrap().clone();
    assert_eq!(&*wanted.name, "weather");
    wanted.parse::<Value>().unwrap();

    let answered = weather()
        .message(whole.choices[0].clone().into())
        .message(Message::tool(wanted.id.clone(), "sunny"))
        .tool_choice(ToolChoice::None);
    provider.chat(call(answered)).await.unwrap();
    let sent = last_sent(&vendor);
    assert_eq!(sent["messages"][1]["tool_calls"][0]["id"], json!(&*wanted.id));
    assert_eq!(sent["messages"][2]["tool_call_id"], json!(&*wanted.id));
    assert_eq!((&sent["messages"][2]["content"], &sent["tool_choice"]), (&json!("sunny"), &json!("none")));
}

#[tokio::test]
async fn genai_sends_every_supported_option() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let image = Message::new(Role::User, vec![Part::text("And this?"), Part::image("image/png", &b"png"[..])]);
    let sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.25),
        seed: Some(7),
        stop: vec!["END".into()],
        max_output_tokens: Some(90),
        ..Sampling::default()
    };
    let mut request = question()
        .message(image)
        .sampling(sampling)
        .response_format(ResponseFormat::JsonObject)
        .extra("service_tier", "flex");
    request.reasoning_effort = Some("low".into());
    at(&server, AdapterKind::OpenAI).chat(call(request)).await.unwrap();
    let sent = last_sent(&vendor);
    let expected = json!({"temperature": 0.5, "top_p": 0.25, "seed": 7, "stop": ["END"], "max_tokens": 90,
        "response_format": {"type": "json_object"}, "service_tier": "flex", "reasoning_effort": "low"});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&sent[name], value, "{name}");
    }
    assert_eq!(sent["messages"][2]["content"][1]["image_url"]["url"], "data:image/png;base64,cG5n");
}

#[tokio::test]
async fn genai_unsupported_field_is_refused_by_name() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let provider = at(&server, AdapterKind::OpenAI);
    let sampled = |change: fn(&mut Sampling)| {
        let mut request = question();
        change(&mut request.sampling);
        request
    };
    let parallel = ChatRequest { parallel_tool_calls: Some(false), ..question() };
    let named = Message { name: Some("Ann".into()), ..Message::user("hello") };
    let marked: Extra = serde_json::from_value(json!({"cache_control": {"type": "ephemeral"}})).unwrap();
    let marked = Message::new(Role::User, vec![Part::Text { text: "hello".into(), extra: marked }]);
    let loose = ResponseFormat::json_schema("response", json!({"type": "object"}));
    let ResponseFormat::JsonSchema(mut loose) = loose else { unreachable!("it was made so") };
    loose.strict = Some(false);
    let cases = [
        (sampled(|s| s.top_k = Some(3)), "sampling.top_k"),
        (sampled(|s| s.n = Some(2)), "sampling.n"),
        (sampled(|s| s.presence_penalty = Some(1.0)), "sampling.presence_penalty"),
        (sampled(|s| s.logprobs = Some(true)), "sampling.logprobs"),
        (sampled(|s| s.seed = Some(-1)), "sampling.seed"),
        (parallel, "parallel_tool_calls"),
        (question().message(named), "messages[2].name"),
        (question().message(marked), "messages[2].parts[0].cache_control"),
        (question().message(Message::new(Role::Developer, vec![Part::text("x")])), "messages[2].role"),
        (question().tool(Tool::Other(Arc::new(json!({"type": "web_search"})))), "tools[0]"),
        (question().response_format(ResponseFormat::JsonSchema(loose)), "response_format.strict"),
    ];
    for (request, field) in cases {
        let error = provider.chat(call(request)).await.unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Unsupported, Charge::None), "{error}");
        assert!(error.message().contains(field), "{error} names {field}");
    }
    let seeded = sampled(|s| s.seed = Some(1));
    let error = at(&server, AdapterKind::Anthropic).chat(call(seeded)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("sampling.seed"), "{error}");
    assert_eq!(vendor.calls(), 0);
}

#[tokio::test]
async fn genai_error_keeps_kind_status_retry_after() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let provider = at(&server, AdapterKind::OpenAI);
    let faults = [
        (Fault::rate_limited(Duration::from_secs(2), RetryForm::Seconds), ErrorKind::RateLimited, 429),
        (Fault::insufficient_quota(), ErrorKind::QuotaExhausted, 429),
        (Fault::Refused(llm_testkit::RefusalKind::ServerError), ErrorKind::Server, 500),
    ];
    for (fault, kind, status) in faults {
        vendor.clear_script();
        vendor.script(Rule::new(fault));
        let whole = provider.chat(call(question())).await.unwrap_err();
        let streamed = provider.chat_stream(call(question())).await.unwrap_err();
        for error in [whole, streamed] {
            assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{error:?}");
            let wait = (kind == ErrorKind::RateLimited).then_some(Duration::from_secs(2));
            assert_eq!(error.retry_after(), wait);
            assert!(!format!("{error:?}").contains("sk-secret") && std::error::Error::source(&error).is_none());
        }
    }
}

#[tokio::test]
async fn genai_broken_stream_ends_with_error() {
    for (fault, kind) in [
        (Fault::CutAfter(3), ErrorKind::Incomplete),
        (Fault::NoDone, ErrorKind::Incomplete),
        (Fault::ErrorEvent { after: 3 }, ErrorKind::Server),
        (Fault::TruncatedJson, ErrorKind::Malformed),
    ] {
        let vendor = Vendor::new();
        vendor.script(Rule::new(fault));
        let server = vendor.serve().await;
        let reply = at(&server, AdapterKind::OpenAI).chat_stream(call(question())).await.unwrap();
        let error = reply.output.complete().await.unwrap_err();
        assert_eq!((error.kind(), error.charge()), (kind, Charge::Unknown), "{error:?}");
    }
}

#[tokio::test]
async fn genai_embeddings_keep_order_and_usage() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let provider = at(&server, AdapterKind::OpenAI);
    let request = EmbedRequest::new("text-embedding-3-small", ["one", "two"]);
    let reply = provider.embed(Call::new("acme", request.clone())).await.unwrap();
    assert_eq!(reply.output.vectors.len(), 2);
    assert_ne!(reply.output.vectors[0], reply.output.vectors[1]);
    assert_eq!(reply.receipt.usage(), billed(&vendor).pop());
    let tokens = EmbedRequest { inputs: Arc::new(vec![EmbedInput::Tokens([1, 2].into())]), ..request };
    let error = provider.embed(Call::new("acme", tokens)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("inputs[0]"), "{error}");
    assert_eq!(vendor.calls(), 1);
}

#[tokio::test]
async fn genai_unreachable_vendor_costs_nothing() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let provider = at(&server, AdapterKind::OpenAI);
    server.close().await;
    let whole = provider.chat(call(question())).await.unwrap_err();
    let streamed = provider.chat_stream(call(question())).await.unwrap_err();
    for error in [whole, streamed] {
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Transport, Charge::None), "{error:?}");
    }
}
