//! Paid responses with words and fields that `async-openai` does not know.

use async_openai::types::chat::{
    ChatCompletionMessageToolCalls, CreateChatCompletionRequest, CreateChatCompletionResponse, FinishReason as Known,
};
use futures_util::StreamExt;
use llm_core::{ChatResponse, Choice, Extra, FinishReason, Part, ToolCall, Usage, into_provider};
use llm_providers::scripted::{Rule, Scripted};
use serde_json::{Value, json};

/// Returns what the client reads from a response, whole and streamed: the text, arguments and reason of each choice.
async fn read(response: ChatResponse) -> (CreateChatCompletionResponse, Vec<(String, String, Option<Known>)>) {
    let scripted = Scripted::new().rule(Rule::respond(response).usage(Usage::new(3, 2)));
    let client = super::client(into_provider(scripted), "http://localhost/v1");
    let request: CreateChatCompletionRequest =
        serde_json::from_value(json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})).unwrap();
    let whole = client.chat().create(request.clone()).await.unwrap();
    let mut stream = client.chat().create_stream(request).await.unwrap();
    let mut streamed = vec![(String::new(), String::new(), None); whole.choices.len()];
    while let Some(chunk) = stream.next().await {
        for choice in chunk.unwrap().choices {
            let (text, arguments, reason) = &mut streamed[choice.index as usize];
            text.push_str(choice.delta.content.as_deref().unwrap_or_default());
            let calls = choice.delta.tool_calls.iter().flatten();
            arguments.extend(calls.filter_map(|call| call.function.as_ref()?.arguments.clone()));
            *reason = choice.finish_reason.or(*reason);
        }
    }
    (whole, streamed)
}

fn extra(fields: Value) -> Extra {
    match fields {
        Value::Object(fields) => Extra::from(fields),
        _ => Extra::default(),
    }
}

#[tokio::test]
async fn async_openai_reads_unknown_words() {
    for (reason, known) in [
        (FinishReason::Stop, Some(Known::Stop)),
        (FinishReason::Length, Some(Known::Length)),
        (FinishReason::ToolCalls, Some(Known::ToolCalls)),
        (FinishReason::ContentFilter, Some(Known::ContentFilter)),
        (FinishReason::Failed("abort".into()), None),
        (FinishReason::Other("pause_turn".into()), None),
        (FinishReason::Unknown, None),
    ] {
        for tier in [json!("on_demand"), json!("default"), json!(7), json!(null)] {
            let mut response = ChatResponse::new("1", "m", vec![Choice::new(0, vec![Part::text("x")], reason.clone())]);
            response.extra = extra(json!({"service_tier": tier}));
            let (whole, streamed) = read(response).await;
            assert_eq!(whole.choices[0].finish_reason, known, "{reason:?}");
            assert_eq!(whole.service_tier.is_some(), tier == "default", "{tier}");
            assert_eq!(streamed, [("x".to_owned(), String::new(), known)], "{reason:?}");
        }
    }
}

#[tokio::test]
async fn odd_fields_do_not_fail_the_client() {
    let mut call = ToolCall { id: "c".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() };
    call.extra = extra(json!({"function": {"strict": true}, "type": "odd", "index": "first", "seal": [1]}));
    let mut choice = Choice::new(0, vec![Part::text("x"), Part::ToolCall(call)], FinishReason::ToolCalls);
    choice.extra = extra(json!({"logprobs": 3, "message": 1, "delta": 2, "index": "x", "stop_reason": null}));
    choice.message_extra = extra(json!({"audio": "odd", "annotations": [{"type": "odd"}], "role": "model",
        "tool_calls": [{"index": 0, "signature": "s"}], "content": 3, "mood": "calm"}));
    let mut response = ChatResponse::new("1", "m", vec![choice]);
    response.extra = extra(json!({"created": 1.5, "system_fingerprint": 3, "object": 3, "choices": "odd",
        "usage": {"prompt_tokens": "many", "cost": 0.5}, "metadata": 3, "provider": "p"}));
    let (whole, streamed) = read(response).await;
    let message = &whole.choices[0].message;
    let Some([ChatCompletionMessageToolCalls::Function(call)]) = message.tool_calls.as_deref() else {
        panic!("{message:?}")
    };
    assert_eq!((message.content.as_deref(), &*call.function.name, &*call.function.arguments), (Some("x"), "f", "{}"));
    assert_eq!(whole.usage.as_ref().map(|usage| (usage.prompt_tokens, usage.completion_tokens)), Some((3, 2)));
    assert_eq!(streamed, [("x".to_owned(), "{}".to_owned(), Some(Known::ToolCalls))]);
}
