//! Tests of response texts that a function of the test writes.

use crate::client::{ask, ask_http, chat, prompt, with};
use crate::formats::{anthropic, gemini};
use llm_testkit::{Vendor, tokens};
use serde_json::{Value, json};

const TEXT: &str = "one, two, three, four, five";

/// Returns [`TEXT`] for prompts that begin with a verb, and `None` for others.
fn count(body: &Value) -> Option<String> {
    let last = body["messages"].as_array()?.last()?;
    last["content"].to_string().contains("count").then(|| TEXT.to_owned())
}

fn vendor() -> Vendor {
    Vendor::builder().respond_with(count).price("", 1_000_000, 1_000_000, 1_000_000).build()
}

#[tokio::test]
async fn responder_text_reaches_every_format() {
    let vendor = vendor();
    let server = vendor.serve().await;
    let messages = json!([{"role": "user", "content": "count"}]);
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "count"}]}]});
    for (request, path) in [
        (chat(&prompt("count")), "/choices/0/message/content"),
        (anthropic("messages", &json!({"model": "m", "max_tokens": 50, "messages": messages})), "/content/0/text"),
        (gemini("m:generateContent", &contents), "/candidates/0/content/parts/0/text"),
    ] {
        let in_process = ask(&vendor, request.clone()).await.json();
        let over_http = ask_http(&server, request).await.json();
        assert_eq!(in_process.pointer(path), Some(&json!(TEXT)), "{path}");
        assert_eq!(over_http.pointer(path), Some(&json!(TEXT)), "{path}");
    }
    let output: Vec<u64> = vendor.bills().iter().map(|bill| bill.output_tokens).collect();
    assert_eq!(output, [tokens::count(TEXT); 6], "the bill counts the text's tokens");
}

#[tokio::test]
async fn responder_text_streams_and_ends_like_others() {
    let vendor = vendor();
    for (fields, text, finish) in [
        (json!({}), TEXT, "stop"),
        (json!({"max_tokens": 2}), "one, two", "length"),
        (json!({"stop": [" three"]}), "one, two,", "stop"),
    ] {
        let body = with(prompt("count"), fields);
        let unary = ask(&vendor, chat(&body)).await.json();
        assert_eq!(unary["choices"][0]["message"]["content"], text);
        assert_eq!(unary["choices"][0]["finish_reason"], finish);
        let stream = ask(&vendor, chat(&with(body, json!({"stream": true})))).await;
        assert_eq!(stream.streamed_text(0), text);
    }
}

#[tokio::test]
async fn responder_without_text_leaves_generated_one() {
    let body = prompt("say something");
    let response = ask(&vendor(), chat(&body)).await.json();
    assert_eq!(response["choices"][0]["message"]["content"].as_str(), Vendor::new().response_text(&body).as_deref());
}
