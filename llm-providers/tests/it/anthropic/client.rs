//! Tests of Anthropic's client with the simulated vendor, in process and in paused time.

use std::{num::NonZeroUsize, time::Duration};

use http::StatusCode;
use llm_providers::{
    Anthropic,
    llm_core::{
        Call, Charge, EmbedRequest, Error, ErrorKind, ManualClock, Message, Part, Provider, Tool, Usage,
        chat::{ResponseFormat, ToolChoice},
        layer::{LimitScope, LimitWindow},
    },
};
use llm_testkit::{Fault, RefusalKind, RetryForm, Rule, Transport, Vendor};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::streaming::{block_on, question, read};

fn client(vendor: &Vendor) -> Anthropic<Transport> {
    Anthropic::with_transport("sk-ant-test", vendor.transport()).unwrap()
}

fn failing(fault: Fault) -> Vendor {
    let vendor = Vendor::new();
    vendor.script(Rule::new(fault));
    vendor
}

/// Returns the errors of a unary and of a streamed call under a fault.
async fn each(fault: Fault) -> [Error; 2] {
    let vendor = failing(fault);
    let client = client(&vendor);
    let unary = client.chat(question()).await.unwrap_err();
    let streamed = match client.chat_stream(question()).await {
        Ok(reply) => read(reply.output, reply.receipt).await.error.unwrap(),
        Err(error) => error,
    };
    [unary, streamed]
}

fn tool() -> Tool {
    Tool::function("f", "does f", json!({"type": "object", "properties": {"a": {"type": "string"}}}))
}

#[test]
fn anthropic_response_receipt_and_ledger_agree() {
    block_on(async {
        let vendor = Vendor::builder().cached_percent(50).cache_write_percent(20).reasoning_tokens(3).build();
        let client = client(&vendor);
        let thinking = question().map(|request| request.extra("thinking", json!({"type": "adaptive"})));
        let whole = client.chat(thinking.clone()).await.unwrap();
        let stream = client.chat_stream(thinking).await.unwrap();
        assert_eq!(stream.receipt.usage(), None, "not known at the head");
        let streamed = read(stream.output, stream.receipt).await;
        assert_eq!(streamed.response.unwrap().choices, whole.output.choices);
        assert!(matches!(&whole.output.choices[0].parts[0], Part::Reasoning(thought) if thought.signature.is_some()));
        for receipt in [&whole.receipt, &streamed.receipt] {
            let accounting = receipt.accounting();
            let bill = vendor.bill(accounting.request_id.as_deref().unwrap()).unwrap();
            let usage = Usage {
                cache_read: bill.cached_tokens,
                cache_write: bill.cache_write_5m_tokens,
                cache_write_long: bill.cache_write_1h_tokens,
                reasoning: 3,
                ..Usage::new(bill.input_tokens, bill.output_tokens)
            };
            assert_eq!((accounting.usage, bill.cancelled), (Some(usage), false));
            assert_eq!(
                (accounting.provider.as_deref(), accounting.service_tier.as_deref()),
                (Some("anthropic"), Some("standard"))
            );
        }
        let limits = whole.limits.unwrap();
        assert!(limits.requests.unwrap().limit.is_some() && limits.input_tokens.unwrap().reset.is_some());
        assert_eq!((limits.model.as_deref(), vendor.keys_in_urls()), (Some("asked"), 0));
    });
}

#[test]
fn anthropic_key_header_is_sensitive() {
    block_on(async {
        let vendor = Vendor::builder().keys(["sk-ant-test"]).build();
        let client = client(&vendor).beta("one-2026-01-01").unwrap().beta("two-2026-01-01").unwrap();
        let client = client.base_url("http://h.test/v1").unwrap().default_max_tokens(33);
        client.chat(question()).await.unwrap();
        let request = vendor.requests().remove(0);
        assert_eq!(request.uri(), "http://h.test/v1/messages");
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((header("x-api-key"), header("anthropic-version")), ("sk-ant-test".into(), "2023-06-01".into()));
        assert_eq!(header("anthropic-beta"), "one-2026-01-01,two-2026-01-01");
        assert!(request.headers()["x-api-key"].is_sensitive() && !request.headers().contains_key("authorization"));
        assert!(!format!("{client:?}").contains("sk-ant"));
        assert_eq!(serde_json::from_slice::<Value>(request.body()).unwrap()["max_tokens"], 33);
        let error = Anthropic::with_transport("sk-secret\n", vendor.transport()).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"));
        assert!(client.beta("a\n").is_err());
    });
}

#[test]
fn anthropic_tool_conversation_round_trips() {
    block_on(async {
        let vendor = Vendor::builder().reasoning_tokens(3).build();
        let client = client(&vendor);
        let asked = question().map(|request| {
            request.tool(tool()).tool_choice(ToolChoice::Required).extra("thinking", json!({"type": "adaptive"}))
        });
        let whole = client.chat(asked.clone()).await.unwrap().output;
        let streamed = client.chat_stream(asked.clone()).await.unwrap().output.complete().await.unwrap();
        let call = whole.tool_calls().next().unwrap();
        let theirs = streamed.tool_calls().next().unwrap();
        assert_eq!(call.parse::<Value>().unwrap(), theirs.parse::<Value>().unwrap());
        let on = asked.map(|mut request| {
            request.tool_choice = None;
            request.message(Message::from(streamed.choices[0].clone())).message(Message::tool(theirs.id.clone(), "42"))
        });
        assert!(!client.chat(on).await.unwrap().output.choices.is_empty());
        let sent = vendor.requests().into_iter().map(|request| serde_json::from_slice(request.body()).unwrap());
        let sent: Value = sent.max_by_key(|body: &Value| body["messages"].as_array().unwrap().len()).unwrap();
        let content = sent["messages"][1]["content"].as_array().unwrap();
        let thought = content.iter().find(|block| block["type"] == "thinking").unwrap();
        let Part::Reasoning(reasoning) = &streamed.choices[0].parts[0] else { panic!("it thinks first") };
        assert_eq!(thought["signature"].as_str(), reasoning.signature.as_deref());
        assert_eq!(thought["thinking"].as_str(), Some(&*reasoning.text));
        assert_eq!(sent["messages"][2]["content"][0]["tool_use_id"], *theirs.id);
    });
}

#[test]
fn anthropic_serves_schemas_and_counts_not_embeddings() {
    block_on(async {
        let vendor = Vendor::new();
        let client = client(&vendor);
        let schema = json!({"type": "object", "properties": {"stars": {"type": "integer"}}});
        let call = question().map(|request| request.response_format(ResponseFormat::json_schema("score", schema)));
        let score = client.chat(call).await.unwrap();
        assert!(serde_json::from_str::<Value>(&score.output.text()).unwrap()["stars"].is_i64());
        assert!(client.count_tokens(&question().body, None).await.unwrap() > 0);
        let calls = vendor.calls();
        let mut embed = Call::new("t", EmbedRequest::new("e", ["x"]));
        let dispatch = embed.track();
        let error = client.embed(embed).await.unwrap_err();
        assert_eq!((error.kind(), error.charge(), vendor.calls()), (ErrorKind::Unsupported, Charge::None, calls));
        assert!(!dispatch.is_sent());
    });
}

#[test]
fn anthropic_rate_limit_states_wait() {
    block_on(async {
        let clock = ManualClock::at_unix(784_111_776);
        let vendor = failing(Fault::rate_limited(Duration::from_secs(2), RetryForm::Seconds));
        let error = client(&vendor).clock(clock).chat(question()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(2))));
        assert_eq!(error.scope(), Some(LimitScope::Model(LimitWindow::Minute)));
        assert!(error.limits().unwrap().requests.is_some() && vendor.bills().is_empty());
        for error in each(Fault::insufficient_quota()).await {
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::QuotaExhausted, false), "{error:?}");
            assert_eq!(error.scope(), Some(LimitScope::Group(LimitWindow::Money)));
        }
    });
}

#[test]
fn anthropic_failures_have_error_kinds() {
    block_on(async {
        let unknown = Charge::Unknown;
        let server = |status: u16| Fault::status(StatusCode::from_u16(status).unwrap(), "<html>oops</html>");
        for (fault, kind, charge) in [
            (Fault::Html, ErrorKind::Malformed, Some(unknown)),
            (Fault::Reset, ErrorKind::Transport, Some(unknown)),
            (Fault::CutAfter(3), ErrorKind::Incomplete, Some(unknown)),
            (Fault::TruncatedJson, ErrorKind::Malformed, None),
            (Fault::InvalidUtf8, ErrorKind::Malformed, None),
            (Fault::ErrorEvent { after: 3 }, ErrorKind::Server, Some(unknown)),
            (Fault::Refused(RefusalKind::Overloaded), ErrorKind::Overloaded, Some(Charge::None)),
            (server(502), ErrorKind::Server, Some(unknown)),
        ] {
            let said = format!("{fault:?}");
            for error in each(fault).await {
                assert_eq!(error.kind(), kind, "{said}: {error}");
                assert!(charge.is_none_or(|charge| charge == error.charge()), "{said}: {error:?}");
            }
        }
        let wrong = Vendor::builder().keys(["sk-other"]).build();
        let error = client(&wrong).chat(question()).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Authentication, Some(401)));
        assert!(error.request_id().is_some());
    });
}

#[test]
fn anthropic_broken_stream_states_known_usage() {
    block_on(async {
        let vendor = failing(Fault::CutAfter(4));
        let reply = client(&vendor).chat_stream(question()).await.unwrap();
        let broken = read(reply.output, reply.receipt).await;
        assert_eq!(broken.error.unwrap().kind(), ErrorKind::Incomplete);
        let accounting = broken.receipt.accounting();
        let bill = &vendor.bills()[0];
        assert_eq!(
            (accounting.usage, accounting.usage_so_far.map(|usage| usage.input)),
            (None, Some(bill.input_tokens))
        );
    });
}

#[test]
fn anthropic_harmless_faults_keep_response() {
    block_on(async {
        for fault in [Fault::Shred(NonZeroUsize::MIN), Fault::NoDone] {
            let vendor = failing(fault);
            let client = client(&vendor);
            let whole = client.chat(question()).await.unwrap();
            let streamed = client.chat_stream(question()).await.unwrap().output.complete().await.unwrap();
            assert_eq!(streamed.text(), whole.output.text());
        }
    });
}

#[test]
fn deadline_of_anthropic_bounds_every_piece() {
    let second = Duration::from_secs(1);
    block_on(async {
        for fault in [Fault::NoResponse, Fault::StallAfter(2)] {
            let vendor = failing(fault);
            let start = Instant::now();
            let call = question().with_deadline((start + second).into_std());
            let error = match client(&vendor).chat_stream(call).await {
                Ok(reply) => read(reply.output, reply.receipt).await.error.unwrap(),
                Err(error) => error,
            };
            assert_eq!((error.kind(), error.charge()), (ErrorKind::DeadlineExceeded, Charge::Unknown));
            assert_eq!(vendor.in_flight(), 0, "the connection is closed");
        }
    });
}
