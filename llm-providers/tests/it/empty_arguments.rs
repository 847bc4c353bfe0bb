//! Tests of tool calls without arguments that are sent back to a vendor.

use llm_providers::llm_core::{ChatRequest, Extra, Message, Part, Role, ToolCall};
use serde_json::{Value, json};

use crate::codec;
use crate::codec::openai::{Dialect, encode_chat};

fn request(call: ToolCall) -> ChatRequest {
    ChatRequest::new("m").user("hello").message(Message::new(Role::Assistant, vec![Part::ToolCall(call)]))
}

fn call(arguments: &str) -> ToolCall {
    ToolCall { id: "call_1".into(), name: "f".into(), arguments: arguments.into(), ..ToolCall::default() }
}

#[test]
fn empty_arguments_go_back_as_object() {
    for arguments in ["", " ", "\n", "{}"] {
        let request = request(call(arguments));
        let read = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
        for dialect in [Dialect::OPENAI, Dialect::GROQ, Dialect::MISTRAL, Dialect::VLLM, Dialect::DEEPSEEK] {
            let body = read(&encode_chat(&request, dialect, false).unwrap());
            assert_eq!(body.pointer("/messages/1/tool_calls/0/function/arguments"), Some(&json!("{}")), "{body}");
        }
        let body = read(&codec::anthropic::encode_chat(&request, codec::anthropic::Options::default(), false).unwrap());
        assert_eq!(body.pointer("/messages/1/content/0/input"), Some(&json!({})), "{body}");
        let body = read(&codec::gemini::encode_chat(&request, codec::gemini::Dialect::default()).unwrap());
        assert_eq!(body.pointer("/contents/1/parts/0/functionCall/args"), Some(&json!({})), "{body}");
    }
}

#[test]
fn empty_input_of_custom_tool_stays_empty() {
    let extra: Extra = [("type".to_owned(), json!("custom"))].into_iter().collect::<serde_json::Map<_, _>>().into();
    let body = encode_chat(&request(ToolCall { extra, ..call("") }), Dialect::OPENAI, false).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body.pointer("/messages/1/tool_calls/0/custom/input"), Some(&json!("")), "{body}");
}
