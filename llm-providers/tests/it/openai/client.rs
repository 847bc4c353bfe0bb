//! Tests of the client with the simulated vendor, in process and in paused time.

use std::{num::NonZeroUsize, time::Duration};

use futures_util::StreamExt;
use http::StatusCode;
use llm_providers::{
    OpenAi,
    llm_core::{
        Call, Charge, ChatRequest, EmbedRequest, Error, ErrorKind, ManualClock, Provider, Tool, Usage,
        chat::{ResponseFormat, ToolChoice},
        into_provider,
        layer::{LimitScope, LimitWindow},
    },
};
use llm_testkit::{Fault, Latency, RetryForm, Rule, Transport, Vendor};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::streaming::{block_on, question, read};

fn client(vendor: &Vendor) -> OpenAi<Transport> {
    OpenAi::with_transport("sk-test", vendor.transport()).unwrap()
}

fn failing(fault: Fault) -> Vendor {
    let vendor = Vendor::new();
    vendor.script(Rule::new(fault));
    vendor
}

/// Returns the errors of a unary and of a streamed call, before or within the stream.
async fn both(vendor: &Vendor) -> (Option<Error>, Option<Error>) {
    let client = client(vendor);
    let unary = client.chat(question()).await.err();
    let streamed = match client.chat_stream(question()).await {
        Ok(reply) => read(reply.output, reply.receipt).await.error,
        Err(error) => Some(error),
    };
    (unary, streamed)
}

async fn each(fault: Fault) -> [Error; 2] {
    let (unary, streamed) = both(&failing(fault)).await;
    [unary.unwrap(), streamed.unwrap()]
}

fn sent(vendor: &Vendor) -> Value {
    serde_json::from_slice(vendor.requests()[0].body()).unwrap()
}

#[test]
fn openai_response_receipt_and_ledger_agree() {
    block_on(async {
        let vendor = Vendor::builder().cached_percent(50).reasoning_tokens(3).build();
        let client = client(&vendor);
        let whole = client.chat(question()).await.unwrap();
        assert_eq!(Some(whole.output.text().into_owned()), vendor.response_text(&sent(&vendor)));
        let stream = client.chat_stream(question()).await.unwrap();
        assert_eq!(stream.receipt.usage(), None, "not known at the head");
        let streamed = read(stream.output, stream.receipt).await;
        let response = streamed.response.unwrap();
        assert_eq!(
            (response.text(), &response.model, response.finish()),
            (whole.output.text(), &whole.output.model, whole.output.finish())
        );
        assert_eq!(
            (&response.extra, &response.choices[0].extra),
            (&whole.output.extra, &whole.output.choices[0].extra)
        );
        for receipt in [&whole.receipt, &streamed.receipt] {
            let accounting = receipt.accounting();
            let bill = vendor.bill(accounting.request_id.as_deref().unwrap()).unwrap();
            let usage = Usage {
                cache_read: bill.cached_tokens,
                reasoning: 3,
                ..Usage::new(bill.input_tokens, bill.output_tokens)
            };
            assert_eq!((accounting.usage, bill.cancelled), (Some(usage), false));
            assert_eq!(
                (accounting.provider.as_deref(), accounting.service_tier.as_deref()),
                (Some("openai"), Some("default"))
            );
        }
        let limits = whole.limits.unwrap();
        assert_eq!((limits.requests.unwrap().limit, limits.model.as_deref()), (Some(10_000), Some("asked")));
    });
}

#[test]
fn openai_key_header_is_sensitive() {
    block_on(async {
        let vendor = Vendor::builder().keys(["sk-test"]).build();
        let client = client(&vendor).organization("org-1").unwrap().project("proj-1").unwrap();
        let client = client.header("x-tag", "blue").unwrap().name("mine").base_url("http://h.test/v1/").unwrap();
        let reply = client.chat(question()).await.unwrap();
        assert_eq!(reply.receipt.accounting().provider.as_deref(), Some("mine"));
        let request = vendor.requests().remove(0);
        assert_eq!(request.uri(), "http://h.test/v1/chat/completions");
        for (name, value) in [
            ("authorization", "Bearer sk-test"),
            ("openai-organization", "org-1"),
            ("openai-project", "proj-1"),
            ("x-tag", "blue"),
        ] {
            assert_eq!(request.headers()[name], value);
            assert!(request.headers()[name].is_sensitive(), "{name}");
        }
        assert!(!format!("{client:?}").contains("sk-test"));
    });
}

#[test]
fn openai_key_with_invalid_characters_is_refused() {
    for (key, why) in [("sk-secret\nx", "characters"), ("sk-\u{0}secret", "characters"), (" ", "empty"), ("", "empty")]
    {
        let error = OpenAi::with_transport(key, Vendor::new().transport()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(why) && !format!("{error:?}").contains("secret"), "{error:?}");
    }
    let client = OpenAi::with_transport("k", Vendor::new().transport()).unwrap();
    assert!(client.clone().header("bad name", "x").is_err());
    let error = client.header("x-key", "secret\r\n").unwrap_err();
    assert!(error.message().contains("x-key") && !format!("{error:?}").contains("secret"));
}

#[test]
fn openai_wrong_key_and_model_are_named() {
    block_on(async {
        let vendor = Vendor::builder().keys(["sk-other"]).build();
        let (unary, streamed) = both(&vendor).await;
        for error in [unary.unwrap(), streamed.unwrap()] {
            assert_eq!(
                (error.kind(), error.status(), error.charge()),
                (ErrorKind::Authentication, Some(401), Charge::None)
            );
            assert_eq!(error.code(), Some("invalid_api_key"));
            assert!(error.request_id().is_some());
        }
        let vendor = Vendor::builder().models(["known"]).build();
        assert_eq!(client(&vendor).chat(question()).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn openai_rate_limit_states_wait() {
    block_on(async {
        let clock = ManualClock::at_unix(784_111_776);
        for (form, stated) in [
            (RetryForm::Seconds, Some(2_000)),
            (RetryForm::HttpDate, Some(2_000)),
            (RetryForm::Millis, Some(1_500)),
            (RetryForm::Both, Some(1_500)),
            // This is the reset of the limit that is used up.
            (RetryForm::Silent, Some(1_500)),
        ] {
            let wall = std::time::UNIX_EPOCH + Duration::from_secs(784_111_776);
            let vendor = Vendor::builder().wall_clock(move || wall).build();
            vendor.script(Rule::new(Fault::rate_limited(Duration::from_millis(1_500), form)));
            let client = client(&vendor).clock(clock.clone());
            let error = client.chat(question()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::RateLimited);
            assert_eq!(error.retry_after(), stated.map(Duration::from_millis), "{form:?}");
            assert_eq!(error.scope(), Some(LimitScope::Model(LimitWindow::Minute)));
            assert_eq!(error.limits().unwrap().requests.unwrap().remaining, Some(0));
            assert!(vendor.bills().is_empty());
        }
        for error in each(Fault::insufficient_quota()).await {
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::QuotaExhausted, false));
            assert_eq!(error.scope(), Some(LimitScope::Group(LimitWindow::Money)));
        }
    });
}

#[test]
fn openai_failures_have_error_kinds() {
    block_on(async {
        let unknown = Charge::Unknown;
        let server = |status: u16| Fault::status(StatusCode::from_u16(status).unwrap(), "<html>oops</html>");
        for (fault, kinds, charge) in [
            (Fault::Html, [ErrorKind::Malformed; 2], Some(unknown)),
            (Fault::Reset, [ErrorKind::Transport; 2], Some(unknown)),
            (Fault::CutAfter(3), [ErrorKind::Incomplete; 2], Some(unknown)),
            (Fault::TruncatedJson, [ErrorKind::Malformed; 2], None),
            (Fault::InvalidUtf8, [ErrorKind::Malformed; 2], None),
            (Fault::ErrorEvent { after: 0 }, [ErrorKind::Server; 2], Some(unknown)),
            (Fault::ErrorEvent { after: 3 }, [ErrorKind::Server; 2], Some(unknown)),
            (server(502), [ErrorKind::Server; 2], Some(unknown)),
            (server(503), [ErrorKind::Overloaded; 2], Some(Charge::None)),
            (server(429), [ErrorKind::RateLimited; 2], Some(Charge::None)),
        ] {
            let said = format!("{fault:?}");
            for (error, kind) in each(fault).await.into_iter().zip(kinds) {
                assert_eq!(error.kind(), kind, "{said}: {error}");
                assert!(charge.is_none_or(|charge| charge == error.charge()), "{said}: {error:?}");
            }
        }
    });
}

#[test]
fn max_body_bytes_and_event_bytes_apply() {
    block_on(async {
        let vendor = failing(Fault::HugeEvent(10_000_000));
        let (unary, streamed) = both(&vendor).await;
        assert!(unary.is_none(), "ten million bytes of white space are within a body's bound");
        let error = streamed.unwrap();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.message().contains("max_event_bytes"), "{error}");
        let error = client(&vendor).max_body_bytes(1_000_000).chat(question()).await.unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::Unknown));
        assert!(error.message().contains("max_body_bytes"), "{error}");
    });
}

#[test]
fn openai_harmless_faults_keep_response() {
    block_on(async {
        for fault in [Fault::Shred(NonZeroUsize::MIN), Fault::NoDone, Fault::NoUsage] {
            let silent = matches!(fault, Fault::NoUsage);
            let vendor = failing(fault);
            let client = client(&vendor);
            let whole = client.chat(question()).await.unwrap();
            let streamed = client.chat_stream(question()).await.unwrap();
            let streamed = read(streamed.output, streamed.receipt).await;
            assert_eq!(streamed.response.unwrap().text(), whole.output.text());
            assert_eq!((whole.receipt.usage().is_none(), streamed.receipt.usage().is_none()), (silent, silent));
        }
    });
}

#[test]
fn openai_tool_arguments_are_unchanged() {
    block_on(async {
        let vendor = failing(Fault::InvalidToolJson);
        let tool = Tool::function("f", "does f", json!({"type": "object", "properties": {"a": {"type": "string"}}}));
        let call = question().map(|request| request.tool(tool).tool_choice(ToolChoice::Required));
        let whole = client(&vendor).chat(call.clone()).await.unwrap();
        let streamed = client(&vendor).chat_stream(call).await.unwrap().output.complete().await.unwrap();
        let arguments = whole.output.tool_calls().next().unwrap().arguments.clone();
        assert!(serde_json::from_str::<Value>(&arguments).is_err());
        assert_eq!(streamed.tool_calls().next().unwrap().arguments, arguments);
    });
}

#[test]
fn openai_serves_schemas_and_several_choices() {
    block_on(async {
        let schema = json!({"type": "object", "properties": {"stars": {"type": "integer"}}});
        let call = question().map(|request| request.response_format(ResponseFormat::json_schema("score", schema)));
        let score = client(&Vendor::new()).chat(call).await.unwrap();
        assert!(serde_json::from_str::<Value>(&score.output.text()).unwrap()["stars"].is_i64());
        let call = question().map(|mut request| {
            request.sampling.n = Some(3);
            request
        });
        let vendor = Vendor::new();
        let whole = client(&vendor).chat(call.clone()).await.unwrap().output;
        let streamed = client(&vendor).chat_stream(call).await.unwrap().output.complete().await.unwrap();
        assert_eq!(whole.choices.len(), 3);
        assert!(whole.choices.iter().zip(&streamed.choices).all(|(a, b)| (a.text(), a.index) == (b.text(), b.index)));
    });
}

#[test]
fn embed_encoding_format_reads_both() {
    block_on(async {
        let vendor = Vendor::new();
        let call = || Call::new("t", EmbedRequest::new("e", ["first", "second"]));
        let plain = client(&vendor).embed(call()).await.unwrap();
        let short = client(&vendor).base64_embeddings(true).embed(call()).await.unwrap();
        assert_eq!(sent(&vendor)["encoding_format"], "base64");
        assert_eq!(plain.output, short.output);
        assert_eq!(plain.output.vectors.len(), 2);
        let bill = vendor.bill(plain.receipt.accounting().request_id.as_deref().unwrap()).unwrap();
        assert_eq!(plain.receipt.usage(), Some(Usage::new(bill.input_tokens, 0)));
        let failed = client(&failing(Fault::Html)).embed(call()).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Malformed);
    });
}

#[test]
fn deadline_bounds_head_body_and_pieces() {
    let second = Duration::from_secs(1);
    block_on(async {
        for fault in [Fault::NoResponse, Fault::StallAfter(0), Fault::StallAfter(2), Fault::Slow(60 * second)] {
            for streamed in [false, true] {
                let vendor = failing(fault.clone());
                let start = Instant::now();
                let mut call = question().with_deadline((start + second).into_std());
                let dispatch = call.track();
                let error = if streamed {
                    match client(&vendor).chat_stream(call).await {
                        Ok(reply) => read(reply.output, reply.receipt).await.error.unwrap(),
                        Err(error) => error,
                    }
                } else {
                    client(&vendor).chat(call).await.unwrap_err()
                };
                assert_eq!((error.kind(), error.charge()), (ErrorKind::DeadlineExceeded, Charge::Unknown), "{fault:?}");
                assert!(dispatch.is_sent() && start.elapsed() < 2 * second);
                assert_eq!(vendor.in_flight(), 0, "the connection is closed");
            }
        }
        let vendor = Vendor::new();
        let mut late = question().with_deadline(Instant::now().into_std());
        let dispatch = late.track();
        let error = client(&vendor).chat(late).await.unwrap_err();
        assert_eq!((error.kind(), error.charge(), vendor.calls()), (ErrorKind::DeadlineExceeded, Charge::None, 0));
        assert!(!dispatch.is_sent());
    });
}

#[test]
fn openai_invalid_request_is_not_sent() {
    block_on(async {
        let vendor = Vendor::new();
        let mut call = Call::new("t", ChatRequest::new("m"));
        let dispatch = call.track();
        let error = client(&vendor).chat(call).await.unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::InvalidRequest, Charge::None));
        assert!(!dispatch.is_sent() && vendor.calls() == 0);
    });
}

#[test]
fn openai_dropped_call_closes_connection() {
    block_on(async {
        let vendor = Vendor::builder().latency(Latency::fixed(Duration::from_secs(5), Duration::from_secs(1))).build();
        let client = client(&vendor);
        let asked = tokio::time::timeout(Duration::from_secs(1), client.chat(question())).await;
        assert!(asked.is_err() && vendor.in_flight() == 0);
        let mut reply = client.chat_stream(question()).await.unwrap();
        for _ in 0..4 {
            reply.output.next().await.unwrap().unwrap();
        }
        let receipt = reply.receipt.clone();
        assert_eq!(vendor.in_flight(), 1);
        drop(reply);
        assert_eq!((vendor.in_flight(), receipt.usage()), (0, None));
        assert!(vendor.bills().iter().all(|bill| bill.cancelled));
    });
}

#[test]
fn receipt_is_final_before_outer_hooks() {
    block_on(async {
        let (sender, receiver) = std::sync::mpsc::channel();
        let reply = client(&Vendor::new()).chat_stream(question()).await.unwrap();
        let reply = reply.on_end(move |_, receipt| sender.send(receipt.usage()).unwrap());
        reply.output.complete().await.unwrap();
        assert!(receiver.try_recv().unwrap().is_some());
    });
}

#[test]
fn openai_serves_a_whole_stack() {
    block_on(async {
        let vendor = Vendor::new();
        let stack = tower::ServiceBuilder::new().timeout(Duration::from_secs(9)).load_shed().service(client(&vendor));
        let provider = into_provider(stack);
        assert!(!provider.chat(question()).await.unwrap().output.text().is_empty());
        assert!(!provider.chat_stream(question()).await.unwrap().output.complete().await.unwrap().text().is_empty());
        let vectors = provider.embed(Call::new("t", EmbedRequest::new("e", ["x"]))).await.unwrap().output.vectors;
        assert_eq!(vectors.len(), 1);
    });
}
