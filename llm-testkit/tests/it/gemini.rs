//! Tests of Gemini's format.

use crate::client::{Received, ask, ask_http, chat, prompt, with};
use crate::formats::{events, gemini};
use bytes::Bytes;
use http::Request;
use llm_testkit::{CallKind, Fault, Format, RefusalKind, RetryForm, Rule, Vendor, openai, tokens};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn gemini_text_equals_openai_text() {
    let vendor = Vendor::new();
    let body = with(contents(), json!({"generationConfig": {"maxOutputTokens": 12, "temperature": 0.5}}));
    let theirs = ask(&vendor, gemini("m:generateContent", &body)).await.json();
    let ours = with(prompt("one"), json!({"max_tokens": 12, "temperature": 0.5}));
    assert_eq!(text(&theirs), vendor.response_text(&ours).expect("a response"));
    let bill = vendor.bill(theirs["responseId"].as_str().expect("an id")).expect("a bill");
    assert_eq!(
        (bill.format, bill.kind, bill.response_hash),
        (Format::Gemini, CallKind::Chat, openai::response_hash(&ours))
    );
    assert_eq!(theirs["usageMetadata"]["promptTokenCount"], bill.input_tokens);
}

#[tokio::test]
async fn gemini_streams_equal_unary_response() {
    let vendor = Vendor::builder().reasoning_tokens(5).cached_percent(50).build();
    let thinking = json!({"generationConfig": {"thinkingConfig": {"includeThoughts": true}}});
    for body in [contents(), with(contents(), thinking), with(contents(), function())] {
        let whole = ask(&vendor, gemini("m:generateContent", &body)).await.json();
        let events = events(&ask(&vendor, gemini("m:streamGenerateContent?alt=sse", &body)).await);
        let items = ask(&vendor, gemini("m:streamGenerateContent", &body)).await.json();
        for pieces in [events, items.as_array().expect("an array").clone()] {
            assert_eq!(pieces.iter().map(text).collect::<String>(), text(&whole));
            let last = pieces.last().expect("pieces");
            assert_eq!(last["usageMetadata"], whole["usageMetadata"]);
            assert_eq!(last["candidates"][0]["finishReason"], whole["candidates"][0]["finishReason"]);
            assert!(pieces.iter().all(|piece| piece["usageMetadata"]["promptTokenCount"].is_u64()));
            let call = &whole["candidates"][0]["content"]["parts"][0]["functionCall"];
            assert_eq!(last["candidates"][0]["content"]["parts"][0]["functionCall"], *call);
        }
    }
    let outputs: Vec<_> = vendor.bills().iter().map(|bill| bill.output_tokens).collect();
    assert!(outputs.chunks(3).all(|three| three[0] == three[1] && three[1] == three[2]), "{outputs:?}");
}

#[tokio::test]
async fn gemini_events_end_with_crlf() {
    let vendor = Vendor::builder().response_tokens(5..=5).build();
    let response = ask(&vendor, gemini("m:streamGenerateContent?alt=sse", &contents())).await;
    let bytes = String::from_utf8(response.bytes().to_vec()).expect("UTF-8");
    assert_eq!(response.headers["content-type"], "text/event-stream");
    assert_eq!((bytes.matches("\r\n\r\n").count(), response.frames.len()), (6, 6));
    assert!(bytes.ends_with("}\r\n\r\n") && !bytes.contains("[DONE]"));
    let whole = ask(&vendor, gemini("m:streamGenerateContent", &contents())).await;
    assert_eq!(whole.headers["content-type"], "application/json; charset=UTF-8");
}

#[tokio::test]
async fn gemini_thoughts_are_separate_output_tokens() {
    let vendor = Vendor::builder().reasoning_tokens(7).response_tokens(10..=10).build();
    let config = |thinking| with(contents(), json!({"generationConfig": {"thinkingConfig": thinking}}));
    for (body, thought, shown) in [
        (contents(), 7, false),
        (config(json!({"includeThoughts": true})), 7, true),
        (config(json!({"thinkingBudget": 0})), 0, false),
    ] {
        let response = ask(&vendor, gemini("m:generateContent", &body)).await.json();
        let usage = &response["usageMetadata"];
        assert_eq!(usage["candidatesTokenCount"], 10);
        assert_eq!(usage["thoughtsTokenCount"].as_u64().unwrap_or_default(), thought);
        assert_eq!(
            usage["totalTokenCount"].as_u64(),
            usage["promptTokenCount"].as_u64().map(|input| input + 10 + thought)
        );
        assert_eq!(response["candidates"][0]["content"]["parts"][0]["thought"] == true, shown);
        assert_eq!(vendor.bills().last().expect("a bill").output_tokens, 10 + thought);
    }
}

#[tokio::test]
async fn gemini_function_call_is_whole() {
    let vendor = Vendor::builder().reasoning_tokens(3).build();
    let response = ask(&vendor, gemini("m:generateContent", &with(contents(), function()))).await.json();
    let part = &response["candidates"][0]["content"]["parts"][0];
    assert_eq!(part["functionCall"]["name"], "f");
    assert!(part["functionCall"]["args"]["city"].is_string() && part["thoughtSignature"].is_string());
    assert_eq!(response["candidates"][0]["finishReason"], "STOP");
    vendor.script(Rule::new(Fault::InvalidToolJson));
    let response = ask(&vendor, gemini("m:generateContent", &with(contents(), function()))).await.json();
    assert_eq!(response["candidates"][0]["finishReason"], "MALFORMED_FUNCTION_CALL");
}

#[tokio::test]
async fn gemini_json_fits_schema_in_capitals() {
    let vendor = Vendor::new();
    let schema = json!({"type": "OBJECT", "properties": {"score": {"type": "INTEGER"}}});
    let config = json!({"responseMimeType": "application/json", "responseSchema": schema});
    let response =
        ask(&vendor, gemini("m:generateContent", &with(contents(), json!({"generationConfig": config})))).await;
    let value: Value = serde_json::from_str(&text(&response.json())).expect("JSON");
    assert!(value["score"].is_u64());
}

#[tokio::test]
async fn gemini_embeddings_equal_openai_embeddings() {
    let vendor = Vendor::new();
    let one =
        |text: &str| json!({"model": "models/m", "content": {"parts": [{"text": text}]}, "outputDimensionality": 4});
    let batch = ask(&vendor, gemini("m:batchEmbedContents", &json!({"requests": [one("a"), one("b")]}))).await.json();
    let single = ask(&vendor, gemini("m:embedContent", &one("b"))).await.json();
    assert_eq!(batch["embeddings"][1], single["embedding"]);
    let values = single["embedding"]["values"].as_array().expect("values").iter();
    let values: Vec<_> = values.map(|value| value.as_f64().expect("a number") as f32).collect();
    assert_eq!(values, openai::embedding("m", &json!("b"), 4));
    assert_eq!(batch["usageMetadata"]["promptTokenCount"], 2);
    assert_eq!(vendor.bills().iter().map(|bill| bill.input_tokens).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn gemini_token_counts_are_free() {
    let vendor = Vendor::new();
    let expected = tokens::chat_input(&prompt("one"));
    for body in [contents(), json!({"generateContentRequest": with(contents(), json!({"model": "models/m"}))})] {
        assert_eq!(ask(&vendor, gemini("m:countTokens", &body)).await.json()["totalTokens"], expected);
    }
    assert!(vendor.bills().is_empty());
}

#[tokio::test]
async fn gemini_key_in_url_is_counted() {
    let vendor = Vendor::builder().keys(["sk-a"]).build();
    assert_eq!(ask(&vendor, gemini("m:generateContent", &contents())).await.status, 200);
    assert_eq!(vendor.keys_in_urls(), 0);
    let leaky = Request::post("/v1/models/m:generateContent?key=sk-a").body(contents().to_string().into());
    assert_eq!(ask(&vendor, leaky.expect("a request")).await.status, 200);
    assert_eq!((vendor.keys_in_urls(), vendor.bills()[1].key.as_str()), (1, "sk-a"));
}

#[tokio::test]
async fn gemini_bad_key_is_invalid_argument() {
    let vendor = Vendor::builder().keys(["sk-b"]).build();
    let response = ask(&vendor, gemini("m:generateContent", &contents())).await;
    let error = &response.json()["error"];
    assert_eq!((response.status.as_u16(), &error["status"]), (400, &json!("INVALID_ARGUMENT")));
    assert_eq!(error["details"][0]["reason"], "API_KEY_INVALID");
    let without_key =
        Request::post("/v1/models/m:generateContent").body(contents().to_string().into()).expect("a request");
    assert_eq!(ask(&vendor, without_key).await.status, 403);
}

#[tokio::test]
async fn gemini_refusals_have_canonical_names() {
    let vendor = Vendor::builder().models(["m"]).build();
    for (trouble, code, status) in [
        (RefusalKind::Overloaded, 503, "UNAVAILABLE"),
        (RefusalKind::ServerError, 500, "INTERNAL"),
        (RefusalKind::Forbidden, 403, "PERMISSION_DENIED"),
        (RefusalKind::ContextTooLong, 400, "INVALID_ARGUMENT"),
        (RefusalKind::NoCredit, 429, "RESOURCE_EXHAUSTED"),
    ] {
        vendor.script(Rule::new(Fault::Refused(trouble)).model("m").prompt_contains("one").once());
        let response = ask(&vendor, gemini("m:generateContent", &contents())).await;
        assert_eq!((response.status.as_u16(), &response.json()["error"]["status"]), (code, &json!(status)));
        assert_eq!(response.json()["error"]["code"], code);
    }
    let unknown = ask(&vendor, gemini("n:generateContent", &contents())).await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
}

#[tokio::test]
async fn gemini_limits_state_quota_and_delay() {
    let vendor = Vendor::new();
    let wait = Duration::from_millis(1_500);
    for (fault, quota, delay) in [
        (Fault::rate_limited(wait, RetryForm::Seconds), "PerMinute", json!("1.5s")),
        (Fault::day_limited(wait), "PerDay", json!("1.5s")),
        (Fault::insufficient_quota(), "PerDay", Value::Null),
    ] {
        vendor.script(Rule::new(fault).once());
        let response = ask(&vendor, gemini("m:generateContent", &contents())).await;
        let details = &response.json()["error"]["details"];
        assert_eq!(response.status, 429);
        assert!(details[0]["violations"][0]["quotaId"].as_str().is_some_and(|id| id.contains(quota)));
        assert_eq!(details[1]["retryDelay"], delay);
        assert!(!response.headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn gemini_blocked_prompt_has_feedback_only() {
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::Filtered));
    let whole = ask(&vendor, gemini("m:generateContent", &contents())).await.json();
    let stream = events(&ask(&vendor, gemini("m:streamGenerateContent?alt=sse", &contents())).await);
    for body in [&whole, &stream[0]] {
        assert!(body["promptFeedback"]["blockReason"].is_string() && body.get("candidates").is_none());
    }
    assert!(vendor.bills().iter().all(|bill| bill.output_tokens == 0 && bill.input_tokens > 0));
}

#[tokio::test]
async fn gemini_stream_errors_have_both_forms() {
    for path in ["m:streamGenerateContent?alt=sse", "m:streamGenerateContent"] {
        let vendor = Vendor::new();
        vendor.script(Rule::new(Fault::ErrorEvent { after: 2 }));
        let response = ask(&vendor, gemini(path, &contents())).await;
        let pieces = pieces(&response);
        assert_eq!((response.status.as_u16(), pieces.len()), (200, 3));
        assert_eq!(pieces[2]["error"]["status"], "INTERNAL");
        assert_eq!(vendor.bills()[0].output_tokens, 2);
    }
}

#[tokio::test]
async fn gemini_transports_return_equal_responses() {
    let (near, far) = (Vendor::new(), Vendor::new());
    let request = || gemini("m:streamGenerateContent?alt=sse", &contents());
    let server = far.serve().await;
    assert_eq!(server.base_url(), format!("{}/v1", server.origin()));
    assert_eq!(ask(&near, request()).await.bytes(), ask_http(&server, request()).await.bytes());
}

#[tokio::test]
async fn gemini_models_follow_header_format() {
    let vendor = Vendor::builder().models(["a"]).build();
    let list = Request::get("/v1beta/models?pageSize=5").header("x-goog-api-key", "k").body(Bytes::new());
    assert_eq!(ask(&vendor, list.expect("a request")).await.json()["models"][0]["name"], "models/a");
    assert_eq!(ask(&vendor, chat(&with(prompt("one"), json!({"model": "a"})))).await.status, 200);
}

fn contents() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "one"}]}]})
}

fn function() -> Value {
    let schema = json!({"type": "OBJECT", "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER"}}});
    json!({"tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}})
}

/// Returns the texts of the first candidate without reasoning.
fn text(body: &Value) -> String {
    let parts = body["candidates"][0]["content"]["parts"].as_array().expect("parts");
    parts.iter().filter(|part| part["thought"] != true).filter_map(|part| part["text"].as_str()).collect()
}

fn pieces(response: &Received) -> Vec<Value> {
    if response.headers["content-type"] == "text/event-stream" {
        return events(response);
    }
    response.json().as_array().expect("an array").clone()
}
