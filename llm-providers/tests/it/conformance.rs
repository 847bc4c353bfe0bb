//! Tests of the contract that every provider must fulfil, over real HTTP on loopback. No test waits for a clock or
//! asserts a time.
//!
//! A provider is added to the suite by one line in `conforms!`.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use http::StatusCode;
use llm_providers::{
    Anthropic, Gemini, OpenAi,
    llm_core::{
        Call, Charge, ChatRequest, EmbedRequest, Error, ErrorKind, Message, Part, Provider, Role, Tool,
        chat::{ResponseFormat, ToolChoice},
    },
    transport::Reqwest,
};
use llm_testkit::{Fault, Flavor, RefusalKind, RetryForm, Rule, Server, Vendor};
use serde_json::{Value, json};

use crate::streaming::{Read, read};

use crate::codec::openai::Dialect;

type Held = Arc<dyn Provider>;

/// Provider under test.
pub(crate) struct Subject {
    /// Flavor of the simulated vendor.
    pub(crate) flavor: Flavor,
    /// Function that creates a client of the vendor at this address.
    pub(crate) client: fn(&Server, Reqwest) -> Held,
    /// What it cannot do: `choice`, say that a tool must be called; `cache`, tell what it found in its cache; `credit`,
    /// tell that money has run out, because a server of your own is not paid.
    pub(crate) lacks: &'static [&'static str],
}

macro_rules! conforms {
    ($($name:ident: $subject:expr;)*) => { $(
        mod $name {
            use super::*;
            conforms!(@checks $subject; unary_and_streamed_responses_agree, tool_calls_round_trip, images_are_sent,
                structured_output_follows_schema, embeddings_are_returned_or_refused, errors_have_kinds,
                wrong_key_and_model_are_named, damaged_response_has_error_kind, dropped_call_closes_connection,
                read_timeout_ends_silent_response);
        }
    )* };
    (@checks $subject:expr; $($check:ident),*) => { $(
        #[tokio::test]
        async fn $check() {
            super::$check(&$subject).await;
        }
    )* };
}

const KEY: &str = "sk-test-0123456789";

/// Defines a server that speaks OpenAI's format at OpenAI's paths.
macro_rules! compatible {
    ($flavor:expr, $dialect:ident) => {
        Subject {
            flavor: $flavor,
            client: |server, transport| {
                let client = OpenAi::with_dialect(Dialect::$dialect, Some(KEY.into()), transport).unwrap();
                Arc::new(client.base_url(&server.base_url()).unwrap())
            },
            lacks: &[],
        }
    };
}

conforms! {
    openai: Subject {
        flavor: Flavor::OpenAi,
        client: |server, transport| {
            Arc::new(OpenAi::with_transport(KEY, transport).unwrap().base_url(&server.base_url()).unwrap())
        },
        lacks: &[],
    };
    azure: Subject {
        flavor: Flavor::Azure,
        client: |server, transport| {
            let client = OpenAi::with_dialect(Dialect::AZURE, Some(KEY.into()), transport).unwrap();
            let base = format!("{}/openai", server.origin());
            Arc::new(client.deployments("2024-10-21").unwrap().base_url(&base).unwrap())
        },
        lacks: &[],
    };
    mistral: compatible!(Flavor::Mistral, MISTRAL);
    deepseek: Subject { lacks: &["embeddings", "images", "schema"], ..compatible!(Flavor::DeepSeek, DEEPSEEK) };
    groq: Subject { lacks: &["embeddings"], ..compatible!(Flavor::Groq, GROQ) };
    openrouter: compatible!(Flavor::OpenRouter, OPENROUTER);
    ollama: Subject { lacks: &["choice", "cache"], ..compatible!(Flavor::Ollama, OLLAMA) };
    vllm: Subject { lacks: &["cache", "credit"], ..compatible!(Flavor::Vllm, VLLM) };
    anthropic: Subject {
        flavor: Flavor::OpenAi,
        client: |server, transport| {
            Arc::new(Anthropic::with_transport(KEY, transport).unwrap().base_url(&server.base_url()).unwrap())
        },
        lacks: &["embeddings"],
    };
    gemini: Subject {
        flavor: Flavor::OpenAi,
        client: |server, transport| {
            let base = format!("{}/v1beta", server.origin());
            Arc::new(Gemini::with_transport(KEY, transport).unwrap().base_url(&base).unwrap())
        },
        lacks: &[],
    };
}

impl Subject {
    fn can(&self, what: &str) -> bool {
        !self.lacks.contains(&what)
    }

    fn vendor(&self) -> Vendor {
        let cached = if self.can("cache") { 50 } else { 0 };
        Vendor::builder().flavor(self.flavor).keys([KEY]).models(["model-a", "other-b"]).cached_percent(cached).build()
    }

    async fn held(&self, vendor: &Vendor) -> (Server, Held) {
        let server = vendor.serve().await;
        let client = (self.client)(&server, Reqwest::new().unwrap());
        (server, client)
    }
}

fn question() -> ChatRequest {
    let mut request = ChatRequest::new("model-a").user("hello");
    request.sampling.max_output_tokens = Some(100);
    request
}

fn call(request: ChatRequest) -> Call<ChatRequest> {
    Call::new("t", request)
}

async fn streamed(client: &Held, request: ChatRequest) -> Result<Read, Error> {
    let reply = client.chat_stream(call(request)).await?;
    Ok(read(reply.output, reply.receipt).await)
}

/// Returns the errors of a unary and of a streamed call.
async fn errors(client: &Held) -> [Error; 2] {
    let unary = client.chat(call(question())).await.expect_err("a unary call fails");
    let streamed = match streamed(client, question()).await {
        Ok(read) => read.error.expect("a stream fails"),
        Err(error) => error,
    };
    for error in [&unary, &streamed] {
        let text = format!("{error:?}");
        assert!(!text.contains("127.0.0.1") && !text.contains(KEY), "no address and no key: {text}");
    }
    [unary, streamed]
}

async fn unary_and_streamed_responses_agree(subject: &Subject) {
    let vendor = subject.vendor();
    let (_server, client) = subject.held(&vendor).await;
    let whole = client.chat(call(question())).await.unwrap();
    let said = vendor.responses_to(&vendor.requests()[0]);
    assert_eq!((whole.output.text().into_owned(), whole.output.choices.len()), (said[0].clone(), 1));
    let read = streamed(&client, question()).await.unwrap();
    let response = read.response.unwrap_or_else(|| panic!("{:?}", read.error));
    assert_eq!((response.text(), response.finish()), (whole.output.text(), whole.output.finish()));
    vendor.wait_until(|vendor| vendor.bills().len() == 2).await;
    for (receipt, bill) in [&whole.receipt, &read.receipt].into_iter().zip(vendor.bills()) {
        let usage = receipt.usage().expect("it is stated");
        let stated = (usage.input, usage.cache_read, usage.output);
        assert_eq!(stated, (bill.input_tokens, bill.cached_tokens, bill.output_tokens));
        assert!(!bill.cancelled, "responses are read to their end");
    }
    assert_eq!(vendor.keys_in_urls(), 0);
}

async fn tool_calls_round_trip(subject: &Subject) {
    let vendor = subject.vendor();
    let (_server, client) = subject.held(&vendor).await;
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let request = question().tool(Tool::function("weather", "The weather in a city.", schema));
    let asked = request.clone().tool_choice(ToolChoice::Required);
    if !subject.can("choice") {
        let error = client.chat(call(asked)).await.unwrap_err();
        assert_eq!((error.kind(), vendor.calls()), (ErrorKind::Unsupported, 0));
        return;
    }
    let whole = client.chat(call(asked.clone())).await.unwrap().output;
    let read = streamed(&client, asked).await.unwrap();
    let streamed = read.response.unwrap_or_else(|| panic!("{:?}", read.error));
    let of = |call: &llm_providers::llm_core::ToolCall| (call.name.to_string(), call.parse::<Value>().unwrap());
    let calls: Vec<_> = whole.tool_calls().map(of).collect();
    assert_eq!((calls.len(), &*calls[0].0, calls[0].1["city"].is_string()), (1, "weather", true));
    assert_eq!(streamed.tool_calls().map(of).collect::<Vec<_>>(), calls);
    assert_eq!(streamed.finish(), whole.finish());
    let id = whole.tool_calls().next().unwrap().id.clone();
    let answered = request.message(Message::from(whole.choices[0].clone())).message(Message::tool(id, "sunny"));
    let response = client.chat(call(answered)).await.unwrap().output;
    assert_eq!(*response.text(), *vendor.responses_to(&vendor.requests()[0])[0]);
}

async fn images_are_sent(subject: &Subject) {
    let vendor = subject.vendor();
    let (_server, client) = subject.held(&vendor).await;
    let parts = vec![Part::text("what is this?"), Part::image("image/png", &b"\x89PNG"[..])];
    let mut request = question();
    request = request.message(Message::new(Role::User, parts));
    let response = client.chat(call(request)).await;
    if subject.can("images") {
        assert!(!response.unwrap().output.text().is_empty());
        let body = String::from_utf8(vendor.requests()[0].body().to_vec()).unwrap();
        assert!(body.contains("iVBORw=="), "the image's bytes are sent");
    } else {
        assert_eq!((response.unwrap_err().kind(), vendor.calls()), (ErrorKind::Unsupported, 0));
    }
}

async fn structured_output_follows_schema(subject: &Subject) {
    let vendor = subject.vendor();
    let (_server, client) = subject.held(&vendor).await;
    let schema = json!({"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"],
        "additionalProperties": false});
    let request = question().response_format(ResponseFormat::json_schema("score", schema));
    let response = client.chat(call(request)).await;
    if subject.can("schema") {
        let response: Value = serde_json::from_str(&response.unwrap().output.text()).unwrap();
        assert!(response["stars"].is_i64(), "{response}");
    } else {
        assert_eq!((response.unwrap_err().kind(), vendor.calls()), (ErrorKind::Unsupported, 0));
    }
}

async fn embeddings_are_returned_or_refused(subject: &Subject) {
    let vendor = subject.vendor();
    let (_server, client) = subject.held(&vendor).await;
    let response = client.embed(Call::new("t", EmbedRequest::new("model-a", ["a", "b"]))).await;
    if subject.can("embeddings") {
        let vectors = response.unwrap().output.vectors;
        assert!(vectors.len() == 2 && vectors[0] != vectors[1] && vectors[0].len() == vectors[1].len());
    } else {
        assert_eq!((response.unwrap_err().kind(), vendor.calls()), (ErrorKind::Unsupported, 0));
    }
}

async fn errors_have_kinds(subject: &Subject) {
    let limited = Fault::rate_limited(Duration::from_secs(7), RetryForm::Both);
    for (fault, kind) in [
        (limited, ErrorKind::RateLimited),
        (Fault::Refused(RefusalKind::Overloaded), ErrorKind::Overloaded),
        (Fault::Refused(RefusalKind::ServerError), ErrorKind::Server),
        (Fault::Refused(RefusalKind::ContextTooLong), ErrorKind::ContextTooLong),
        (Fault::Refused(RefusalKind::Forbidden), ErrorKind::PermissionDenied),
        (Fault::Refused(RefusalKind::NoCredit), ErrorKind::QuotaExhausted),
    ] {
        if kind == ErrorKind::QuotaExhausted && !subject.can("credit") {
            continue;
        }
        let vendor = subject.vendor();
        vendor.script(Rule::new(fault));
        let (_server, client) = subject.held(&vendor).await;
        for error in errors(&client).await {
            assert_eq!(error.kind(), kind, "{error:?}");
            let charge = if kind == ErrorKind::Server { Charge::Unknown } else { Charge::None };
            assert_eq!(error.charge(), charge, "{error:?}");
            if kind == ErrorKind::RateLimited {
                assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{error:?}");
            }
        }
        assert_eq!((vendor.calls(), vendor.bills().len()), (2, 0), "nothing is retried, nothing billed");
    }
}

async fn wrong_key_and_model_are_named(subject: &Subject) {
    let other = Vendor::builder().flavor(subject.flavor).keys(["another"]).build();
    let (_server, client) = subject.held(&other).await;
    for error in errors(&client).await {
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Authentication, Charge::None), "{error:?}");
    }
    let vendor = Vendor::builder().flavor(subject.flavor).keys([KEY]).models(["none"]).build();
    let (_server, client) = subject.held(&vendor).await;
    for error in errors(&client).await {
        assert_eq!((error.kind(), error.charge()), (ErrorKind::NotFound, Charge::None), "{error:?}");
    }
    assert!(!other.statuses().contains_key(&StatusCode::OK.as_u16()));
}

async fn damaged_response_has_error_kind(subject: &Subject) {
    use ErrorKind::{Incomplete, Malformed, Transport};
    for (fault, unary, streamed) in [
        (Fault::Reset, Transport, Transport),
        (Fault::CutAfter(2), Incomplete, Incomplete),
        (Fault::Html, Malformed, Malformed),
        (Fault::InvalidUtf8, Malformed, Malformed),
        (Fault::TruncatedJson, Malformed, Malformed),
    ] {
        let vendor = subject.vendor();
        vendor.script(Rule::new(fault.clone()));
        let (_server, client) = subject.held(&vendor).await;
        let kinds = errors(&client).await.map(|error| {
            assert_ne!(error.charge(), Charge::None, "{error:?}");
            error.kind()
        });
        assert_eq!(kinds, [unary, streamed], "{fault:?}");
    }
    let vendor = subject.vendor();
    vendor.script(Rule::new(Fault::NoDone));
    let (_server, client) = subject.held(&vendor).await;
    let read = streamed(&client, question()).await.unwrap();
    // Some formats state the end twice: in the last piece, and after it.
    assert!(read.response.is_some() || read.error.unwrap().kind() == Incomplete);
    let vendor = subject.vendor();
    vendor.script(Rule::new(Fault::ErrorEvent { after: 2 }));
    let (_server, client) = subject.held(&vendor).await;
    for error in errors(&client).await {
        assert!(error.is_retryable(), "{error:?}");
    }
}

async fn dropped_call_closes_connection(subject: &Subject) {
    let vendor = subject.vendor();
    let (_server, client) = subject.held(&vendor).await;
    vendor.script(Rule::new(Fault::NoResponse).once());
    {
        let asked = client.chat(call(question()));
        let arrived = vendor.wait_until(|vendor| vendor.in_flight() == 1);
        tokio::select! {
            _ = asked => panic!("there is no response"),
            () = arrived => {}
        }
    }
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
    vendor.script(Rule::new(Fault::StallAfter(3)).once());
    let mut reply = client.chat_stream(call(question())).await.unwrap();
    reply.output.next().await.unwrap().unwrap();
    assert_eq!(vendor.in_flight(), 1);
    drop(reply);
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
    assert!(vendor.bills().iter().all(|bill| bill.cancelled));
}

async fn read_timeout_ends_silent_response(subject: &Subject) {
    for fault in [Fault::NoResponse, Fault::StallAfter(1)] {
        let vendor = subject.vendor();
        vendor.script(Rule::new(fault));
        let server = vendor.serve().await;
        let transport = Reqwest::new().unwrap().read_timeout(Duration::from_millis(20)).unwrap();
        for error in errors(&(subject.client)(&server, transport)).await {
            assert_eq!((error.kind(), error.charge()), (ErrorKind::Timeout, Charge::Unknown), "{error:?}");
        }
    }
}
