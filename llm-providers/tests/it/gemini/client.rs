//! Tests of the client with the simulated vendor, in process and in paused time.

use std::time::Duration;

use llm_providers::{
    Gemini,
    llm_core::{
        Call, Charge, ChatRequest, EmbedRequest, Error, ErrorKind, ManualClock, Message, Part, Provider, Role, Tool,
        Usage,
        chat::{ResponseFormat, ToolChoice},
        layer::{LimitScope, LimitWindow},
    },
};
use llm_testkit::{Fault, RefusalKind, RetryForm, Rule, Transport, Vendor};
use serde_json::json;

use crate::streaming::{Read, block_on, question, read};

const KEY: &str = "key-0123456789";

fn client(vendor: &Vendor) -> Gemini<Transport> {
    Gemini::with_transport(KEY, vendor.transport()).unwrap()
}

fn failing(fault: Fault) -> Vendor {
    let vendor = Vendor::builder().keys([KEY]).build();
    vendor.script(Rule::new(fault));
    vendor
}

async fn streamed(client: &Gemini<Transport>, request: ChatRequest) -> Result<Read, Error> {
    let reply = client.chat_stream(Call::new("t", request)).await?;
    Ok(read(reply.output, reply.receipt).await)
}

/// Returns the errors of a unary and of a streamed call under a fault, before or within the stream.
async fn each(fault: Fault) -> [Error; 2] {
    let client = client(&failing(fault));
    let unary = client.chat(question()).await.unwrap_err();
    let streamed = match streamed(&client, question().body).await {
        Ok(read) => read.error.unwrap(),
        Err(error) => error,
    };
    [unary, streamed]
}

#[test]
fn gemini_response_receipt_and_ledger_agree() {
    block_on(async {
        let vendor = Vendor::builder().keys([KEY]).cached_percent(50).reasoning_tokens(3).build();
        let client = client(&vendor).include_thoughts(true);
        let whole = client.chat(question()).await.unwrap();
        let stream = client.chat_stream(question()).await.unwrap();
        assert_eq!(stream.receipt.usage(), None, "not known at the head");
        let streamed = read(stream.output, stream.receipt).await;
        let response = streamed.response.unwrap();
        assert_eq!(response.choices, whole.output.choices);
        assert!(!response.choices[0].reasoning().is_empty());
        assert_eq!(whole.output.text(), vendor.responses_to(&vendor.requests()[0])[0]);
        for (receipt, id) in [(&whole.receipt, &whole.output.id), (&streamed.receipt, &response.id)] {
            let (accounting, bill) = (receipt.accounting(), vendor.bill(id).unwrap());
            let usage = Usage {
                cache_read: bill.cached_tokens,
                reasoning: 3,
                ..Usage::new(bill.input_tokens, bill.output_tokens)
            };
            assert_eq!((accounting.usage, bill.cancelled), (Some(usage), false));
            assert_eq!(
                (accounting.provider.as_deref(), accounting.service_tier.as_deref()),
                (Some("gemini"), Some("standard"))
            );
        }
        assert!(whole.limits.is_none());
    });
}

#[test]
fn gemini_url_never_holds_key() {
    block_on(async {
        let vendor = Vendor::builder().keys([KEY]).build();
        for base in
            ["https://generativelanguage.googleapis.com/v1beta", "https://generativelanguage.googleapis.com/v1/"]
        {
            let client = client(&vendor).base_url(base).unwrap();
            client.chat(question()).await.unwrap();
            streamed(&client, question().body).await.unwrap();
            client.embed(Call::new("t", EmbedRequest::new("e", ["a"]))).await.unwrap();
            assert!(client.count_tokens(&question().body, None).await.unwrap() > 0);
            assert!(!client.models(None).await.unwrap().is_empty());
            assert!(!format!("{client:?}").contains(KEY));
        }
        let mut requests = vendor.requests();
        requests.reverse();
        assert_eq!((requests.len(), vendor.keys_in_urls()), (10, 0));
        for request in &requests {
            let address = request.uri().to_string();
            assert!(!address.contains("key"), "{address}");
            assert_eq!(request.headers()["x-goog-api-key"], KEY);
            assert!(request.headers()["x-goog-api-key"].is_sensitive());
        }
        let addresses: Vec<_> =
            requests[..5].iter().map(|request| request.uri().path_and_query().unwrap().as_str()).collect();
        assert_eq!(
            addresses,
            [
                "/v1beta/models/asked:generateContent",
                "/v1beta/models/asked:streamGenerateContent?alt=sse",
                "/v1beta/models/e:batchEmbedContents",
                "/v1beta/models/asked:countTokens",
                "/v1beta/models?pageSize=1000",
            ]
        );
        assert!(requests[5..].iter().all(|request| request.uri().path().starts_with("/v1/models")));
    });
}

#[test]
fn gemini_invalid_key_is_refused_unshown() {
    for (key, why) in [("secret\nx", "characters"), ("secret\u{0}", "characters"), (" ", "empty")] {
        let error = Gemini::with_transport(key, Vendor::new().transport()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(why) && !format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn gemini_errors_name_their_cause() {
    block_on(async {
        let vendor = Vendor::builder().keys(["another"]).build();
        let error = client(&vendor).chat(question()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.status(), error.code()),
            (ErrorKind::Authentication, Some(400), Some("API_KEY_INVALID"))
        );
        let vendor = Vendor::builder().models(["known"]).build();
        assert_eq!(client(&vendor).chat(question()).await.unwrap_err().kind(), ErrorKind::NotFound);
        for (fault, kind, charge) in [
            (Fault::Refused(RefusalKind::Overloaded), ErrorKind::Overloaded, Charge::None),
            (Fault::Refused(RefusalKind::ServerError), ErrorKind::Server, Charge::Unknown),
            (Fault::Refused(RefusalKind::ContextTooLong), ErrorKind::ContextTooLong, Charge::None),
            (Fault::Refused(RefusalKind::Forbidden), ErrorKind::PermissionDenied, Charge::None),
        ] {
            for error in each(fault).await {
                assert_eq!((error.kind(), error.charge()), (kind, charge), "{error:?}");
            }
        }
    });
}

#[test]
fn gemini_rate_limit_states_window_and_wait() {
    block_on(async {
        let wait = Duration::from_millis(34_400);
        for error in each(Fault::rate_limited(wait, RetryForm::Seconds)).await {
            assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(wait)));
            assert_eq!(error.scope(), Some(LimitScope::Model(LimitWindow::Minute)));
        }
        let vendor = failing(Fault::day_limited(Duration::from_secs(30)));
        // 2026-07-15, 12:00 UTC.
        let noon = ManualClock::at_unix(1_784_116_800);
        let error = client(&vendor).clock(noon).chat(question()).await.unwrap_err();
        assert_eq!(
            (error.scope(), error.retry_after()),
            (Some(LimitScope::Model(LimitWindow::Day)), Some(Duration::from_secs(19 * 3_600)))
        );
    });
}

#[test]
fn gemini_blocked_prompt_is_billed_as_booked() {
    block_on(async {
        let vendor = failing(Fault::Filtered);
        let client = client(&vendor);
        let unary = client.chat(question()).await.unwrap_err();
        let stream = streamed(&client, question().body).await.unwrap_err();
        for (error, bill) in [unary, stream].iter().zip(vendor.bills()) {
            assert_eq!((error.kind(), error.code()), (ErrorKind::ContentFiltered, Some("PROHIBITED_CONTENT")));
            assert_eq!(error.charge(), Charge::Known(Usage::new(bill.input_tokens, bill.output_tokens)));
        }
    });
}

#[test]
fn gemini_damaged_response_has_error_kind() {
    block_on(async {
        for (fault, unary, streamed) in [
            (Fault::Html, ErrorKind::Malformed, ErrorKind::Malformed),
            (Fault::InvalidUtf8, ErrorKind::Malformed, ErrorKind::Malformed),
            (Fault::TruncatedJson, ErrorKind::Malformed, ErrorKind::Malformed),
            (Fault::CutAfter(1), ErrorKind::Incomplete, ErrorKind::Incomplete),
        ] {
            let errors = each(fault.clone()).await;
            assert_eq!(errors.each_ref().map(Error::kind), [unary, streamed], "{fault:?} {errors:?}");
            assert!(errors.iter().all(|error| error.charge() == Charge::Unknown), "{errors:?}");
        }
        let without_end = client(&failing(Fault::NoDone));
        let read = streamed(&without_end, question().body).await.unwrap();
        assert_eq!(read.error.unwrap().kind(), ErrorKind::Incomplete);
        assert!(read.receipt.usage().is_none() && read.receipt.accounting().usage_so_far.is_some());
        let shredded = client(&failing(Fault::Shred(std::num::NonZeroUsize::MIN)));
        let whole = client(&Vendor::new()).chat(question()).await.unwrap();
        assert_eq!(streamed(&shredded, question().body).await.unwrap().response.unwrap().text(), whole.output.text());
        let silent = client(&failing(Fault::NoUsage)).chat(question()).await.unwrap();
        assert_eq!(silent.receipt.usage(), None);
    });
}

#[test]
fn gemini_tool_calls_keep_signatures() {
    block_on(async {
        let vendor = Vendor::builder().keys([KEY]).reasoning_tokens(5).build();
        let client = client(&vendor);
        let asked = question()
            .body
            .tool(Tool::function(
                "weather",
                "tells it",
                json!({"type": "object",
            "properties": {"city": {"type": "string"}}, "required": ["city"]}),
            ))
            .tool_choice(ToolChoice::Required);
        let whole = client.chat(Call::new("t", asked.clone())).await.unwrap().output;
        let pieces = streamed(&client, asked.clone()).await.unwrap().response.unwrap();
        assert_eq!(whole.choices, pieces.choices);
        let call = whole.tool_calls().next().unwrap().clone();
        assert!(call.extra.get("thoughtSignature").is_some());
        let next = asked.message(whole.choices[0].clone().into()).message(Message::tool(call.id.clone(), "sunny"));
        client.chat(Call::new("t", next)).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(vendor.requests()[0].body()).unwrap();
        let part = &body["contents"][1]["parts"][0];
        assert_eq!(
            (&part["thoughtSignature"], &part["functionCall"]["id"]),
            (call.extra.get("thoughtSignature").unwrap(), &json!(&*call.id))
        );
        let response = json!({"id": &*call.id, "name": "weather", "response": {"result": "sunny"}});
        assert_eq!(body["contents"][2]["parts"][0]["functionResponse"], response);
    });
}

#[test]
fn gemini_schemas_images_and_embeddings_round_trip() {
    block_on(async {
        let vendor = Vendor::builder().keys([KEY]).build();
        let client = client(&vendor);
        let schema = json!({"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"]});
        let photo = Message::new(Role::User, vec![Part::text("score"), Part::image("image/png", &b"\x89PNG"[..])]);
        let request =
            ChatRequest::new("m").message(photo).response_format(ResponseFormat::json_schema("score", schema));
        let response = client.chat(Call::new("t", request)).await.unwrap().output;
        assert!(serde_json::from_str::<serde_json::Value>(&response.text()).unwrap()["stars"].is_i64());
        let mut embed = EmbedRequest::new("e", ["a", "b"]);
        embed.dimensions = Some(4);
        let reply = client.embed(Call::new("t", embed)).await.unwrap();
        assert_eq!(reply.output.vectors.iter().map(|vector| vector.len()).collect::<Vec<_>>(), [4, 4]);
        assert!(reply.receipt.usage().is_some());
    });
}
