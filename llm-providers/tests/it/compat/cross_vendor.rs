//! Tests of cross-vendor conversations: fields of another vendor are refused by name, or left out by option.

use llm_providers::llm_core::{ChatRequest, Error, ErrorKind, Message, Part, Role, ToolCall, chat::Reasoning};
use serde_json::{Value, json};

use crate::codec::openai::{Dialect, encode_chat};

fn said(part: Part) -> ChatRequest {
    ChatRequest::new("m").user("hi").message(Message::new(Role::Assistant, vec![part])).user("go on")
}

fn refused(request: &ChatRequest, dialect: Dialect) -> Error {
    encode_chat(request, dialect, false).unwrap_err()
}

/// Returns the assistant's message as it is sent.
fn sent(request: &ChatRequest, dialect: Dialect) -> Value {
    let body = encode_chat(request, dialect, false).unwrap();
    serde_json::from_slice::<Value>(&body).unwrap()["messages"][1].take()
}

fn near(dialect: Dialect) -> Dialect {
    let mut dialect = dialect;
    dialect.approximate = true;
    dialect
}

fn call() -> Part {
    Part::ToolCall(ToolCall { id: "c".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() })
}

fn thought(signature: Option<&str>) -> Part {
    let text = "hm".into();
    Part::Reasoning(Reasoning { text, signature: signature.map(Into::into), ..Reasoning::default() })
}

#[test]
fn cross_vendor_field_is_refused_or_approximated() {
    let called = json!({"role": "assistant", "content": null,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let text = json!({"role": "assistant", "content": "4"});
    for (part, named, vendor, rest) in [
        (Part::text("4").with_extra("thoughtSignature", "S"), "extra.thoughtSignature", "gemini", &text),
        (Part::text("4").with_extra("citations", json!([{"url": "u"}])), "extra.citations", "anthropic", &text),
        (call().with_extra("thoughtSignature", "S"), "extra.thoughtSignature", "gemini", &called),
        (call().with_extra("functionCall", json!({"x": 1})), "extra.functionCall", "gemini", &called),
        (call().with_extra("caller", json!({"type": "direct"})), "extra.caller", "anthropic", &called),
        (call().with_extra("thought_signatures", json!(["S"])), "extra.thought_signatures", "genai", &called),
        (call().with_extra("extra_content", json!({"google": {}})), "extra.extra_content", "gemini", &called),
    ] {
        let request = said(part);
        for dialect in [Dialect::OPENAI, Dialect::MISTRAL, Dialect::DEEPSEEK, Dialect::OPENROUTER] {
            let error = refused(&request, dialect);
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            let (field, of) = (format!("messages[1].parts[0].{named}"), format!("response of {vendor}"));
            assert!(error.message().contains(&field) && error.message().contains(&of), "{error}");
        }
        assert_eq!(&sent(&request, near(Dialect::OPENAI)), rest);
    }
    let own = call().with_extra("extra_content", json!({"google": {"thought_signature": "S"}}));
    let back = sent(&said(own), Dialect::GEMINI);
    assert_eq!(back["tool_calls"][0]["extra_content"]["google"]["thought_signature"], "S");
}

#[test]
fn cross_vendor_signed_reasoning_is_refused() {
    let claudes = thought(Some("S"));
    let geminis = thought(Some("S")).with_extra("thought", true);
    let routed = thought(None).with_extra("reasoning_details", json!([{"type": "reasoning.text", "signature": "S"}]));
    for (part, signature, knows) in [
        (claudes, "(signature)", None),
        (geminis, "(thought)", None),
        (routed, "(reasoning_details)", Some("openrouter")),
    ] {
        let request = said(part);
        for dialect in
            [Dialect::OPENAI, Dialect::MISTRAL, Dialect::DEEPSEEK, Dialect::OPENROUTER, Dialect::VLLM, Dialect::GEMINI]
        {
            if Some(dialect.name) == knows {
                assert!(encode_chat(&request, dialect, false).is_ok());
                continue;
            }
            let error = refused(&request, dialect);
            assert!(
                error.kind() == ErrorKind::Unsupported && error.message().contains(signature),
                "{}: {error}",
                dialect.name
            );
            let sent = sent(&request, near(dialect)).to_string();
            assert!(!sent.contains("hm") && !sent.contains('S'), "{}: {sent}", dialect.name);
        }
    }
}

#[test]
fn cross_vendor_unsigned_reasoning_sent_if_supported() {
    let request = said(thought(None));
    for dialect in [Dialect::OPENAI, Dialect::AZURE, Dialect::OLLAMA, Dialect::VLLM, Dialect::GEMINI] {
        let error = refused(&request, dialect);
        let named = "messages[1].parts[0], reasoning, has no place";
        assert!(error.kind() == ErrorKind::Unsupported && error.message().contains(named), "{error}");
        assert_eq!(sent(&request, near(dialect)), json!({"role": "assistant", "content": ""}));
    }
    for dialect in [Dialect::OPENROUTER, Dialect::GROQ] {
        let back = json!({"role": "assistant", "content": "", "reasoning": "hm"});
        assert_eq!(sent(&request, dialect), back, "{}", dialect.name);
    }
    assert_eq!(sent(&request, Dialect::MISTRAL)["content"][0]["thinking"][0]["text"], "hm");
    let odd = said(thought(None).with_extra("mine", 1));
    assert!(refused(&odd, Dialect::MISTRAL).message().contains("messages[1].parts[0].extra.mine"));
}

#[test]
fn cross_vendor_part_is_always_refused() {
    for part in [
        json!({"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}}),
        json!({"type": "web_search_tool_result", "tool_use_id": "1", "content": []}),
        json!({"executableCode": {"language": "PYTHON", "code": "1"}}),
    ] {
        let request = said(Part::Other { value: part.into() });
        for dialect in [Dialect::OPENAI, near(Dialect::OPENAI)] {
            let error = refused(&request, dialect);
            let named = error.message().starts_with("messages[1].parts[0], which a response of");
            assert!(error.kind() == ErrorKind::Unsupported && named, "{error}");
        }
    }
    let own = json!({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}});
    assert_eq!(sent(&said(Part::Other { value: own.clone().into() }), Dialect::OPENAI)["content"], json!([own]));
}

#[test]
fn cross_vendor_approximation_drops_steering_settings() {
    let mut request = ChatRequest::new("m").message(Message::user("hi")).user("x");
    std::sync::Arc::make_mut(&mut request.messages)[0].name = Some("ann".into());
    request.sampling.seed = Some(7);
    request.sampling.top_k = Some(3);
    request.sampling.logprobs = Some(true);
    request.sampling.top_logprobs = Some(2);
    for dialect in [Dialect::GROQ, Dialect::DEEPSEEK, Dialect::MISTRAL, Dialect::GEMINI] {
        assert!(encode_chat(&request, dialect, false).is_err());
        let body: Value = serde_json::from_slice(&encode_chat(&request, near(dialect), false).unwrap()).unwrap();
        assert_eq!(body.get("top_k"), None);
        let seed = !matches!(dialect.name, "deepseek" | "gemini");
        assert_eq!(body.get("seed").or(body.get("random_seed")).is_some(), seed, "{}", dialect.name);
        let (stated, named) = (dialect.name == "deepseek", matches!(dialect.name, "deepseek" | "gemini"));
        assert_eq!((body.get("logprobs").is_some(), body.get("top_logprobs").is_some()), (stated, stated));
        assert_eq!(body["messages"][0].get("name").is_some(), named, "{}", dialect.name);
    }
    request.sampling.n = Some(2);
    let error = refused(&request, near(Dialect::GROQ));
    assert!(error.message().contains("sampling.n"), "it decides how many responses there are: {error}");
}
