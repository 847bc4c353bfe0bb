use std::sync::Arc;

use llm_core::{
    ChatRequest, EmbedRequest, Extra, Message, Operation, Part, Role, Tool,
    chat::{FunctionTool, ResponseFormat},
    layer::Streamed,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::of;
use crate::arbitrary;

#[test]
fn fingerprint_ignores_transport_fields() {
    let base = ChatRequest::new("m").user("hello").extra("store", false);
    for field in [
        "cache_control",
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
    ] {
        assert_eq!(of(&base.clone().extra(field, json!({"any": [1]}))), of(&base), "{field}");
    }
}

#[test]
fn fingerprint_ignores_cache_marks_of_parts() {
    let text = |field: &str| Part::text("hello").with_extra(field, "x");
    let marked = |part| ChatRequest::new("m").message(Message::new(Role::User, vec![part]));
    let base = ChatRequest::new("m").user("hello");
    for field in ["cache_control", "prompt_cache_breakpoint"] {
        assert_eq!(of(&marked(text(field))), of(&base), "{field}");
        let image = Part::image("image/png", &b"1"[..]);
        assert_eq!(of(&marked(image.clone().with_extra(field, "x"))), of(&marked(image)), "{field}");
        let mut message = Message::user("hello");
        message.extra.insert(field, "x");
        assert_eq!(of(&ChatRequest::new("m").message(message)), of(&base), "{field}");
        let tool = |extra| Tool::Function(FunctionTool { extra, ..FunctionTool::default() });
        let mut extra = Extra::default();
        extra.insert(field, "x");
        assert_eq!(of(&base.clone().tool(tool(extra))), of(&base.clone().tool(tool(Extra::default()))), "{field}");
    }
    assert_ne!(of(&marked(text("citations"))), of(&base));
}

#[test]
fn fingerprint_ignores_embed_transport_fields() {
    let base = EmbedRequest::new("m", ["hello"]);
    for field in ["encoding_format", "user"] {
        let mut request = base.clone();
        request.extra.insert(field, "base64");
        assert_eq!(of(&request), of(&base), "{field}");
    }
}

#[test]
fn fingerprint_of_chat_counts_embed_fields() {
    let base = ChatRequest::new("m").user("hello");
    assert_ne!(of(&base.clone().extra("encoding_format", "base64")), of(&base));
}

#[test]
fn fingerprint_ignores_key_order_of_request() {
    let request = |flip: bool| {
        let value = |text: &str| -> Value {
            let value = serde_json::from_str(text).unwrap();
            if flip { reversed(&value) } else { value }
        };
        let schema = r#"{"type": "object", "properties": {"b": {"type": "string", "enum": ["y", "x"]}, "a": {}}}"#;
        let tool = FunctionTool { name: "f".into(), parameters: Some(value(schema).into()), ..FunctionTool::default() };
        let Value::Object(extra) = value(r#"{"z": {"k": 1, "j": 2}, "a": [1, {"y": 1, "x": 2}]}"#) else {
            panic!("an object")
        };
        ChatRequest {
            tools: Arc::new(vec![Tool::Function(tool), Tool::Other(value(r#"{"type": "t", "a": 1}"#).into())]),
            response_format: Some(ResponseFormat::json_schema("s", value(schema))),
            extra: Extra::from(extra),
            ..ChatRequest::new("m").message(llm_core::Message::new(
                llm_core::Role::User,
                vec![Part::Other { value: value(r#"{"type": "audio", "data": "x"}"#).into() }],
            ))
        }
    };
    assert_eq!(of(&request(true)), of(&request(false)));
}

proptest! {
    #[test]
    fn fingerprint_is_canonical_despite_object_order(value in arbitrary::json()) {
        let field = |value: Value| of(&ChatRequest::new("m").extra("field", value));
        prop_assert_eq!(field(reversed(&value)), field(value));
    }

    #[test]
    fn fingerprint_of_streamed_request_is_equal(request in arbitrary::request()) {
        prop_assert_eq!(of(&Streamed(request.clone())), of(&request));
        prop_assert_eq!(Streamed::<ChatRequest>::NAME, ChatRequest::NAME);
        prop_assert_eq!(Streamed(request.clone()).affinity(), request.affinity());
        prop_assert_eq!(Streamed(request.clone()).estimate(), request.estimate());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// There are few different texts, so that pairs are common in which only the boundary between two fields differs.
    #[test]
    fn fingerprint_equal_bytes_are_equal_requests((a, b) in like_requests()) {
        prop_assert_eq!(of(&a) == of(&b), without_transport(&a) == without_transport(&b), "{:?}\n{:?}", a, b);
    }
}

/// Generates two requests that share most of their fields.
fn like_requests() -> impl Strategy<Value = (ChatRequest, ChatRequest)> {
    (arbitrary::request(), arbitrary::request(), 0u32..11).prop_map(|(a, other, field)| {
        let mut b = a.clone();
        match field {
            0 => b.model = other.model,
            1 => b.messages = other.messages,
            2 => b.tools = other.tools,
            3 => b.tool_choice = other.tool_choice,
            4 => b.parallel_tool_calls = other.parallel_tool_calls,
            5 => b.response_format = other.response_format,
            6 => b.reasoning_effort = other.reasoning_effort,
            7 => b.sampling = other.sampling,
            8 => b.extra = other.extra,
            9 => (b.model, b.reasoning_effort) = (b.reasoning_effort.unwrap_or_default(), Some(b.model)),
            _ => b = other,
        }
        (a, b)
    })
}

fn without_transport(request: &ChatRequest) -> ChatRequest {
    let kept = request.extra.iter().filter(|(name, _)| !ChatRequest::TRANSPORT_FIELDS.contains(name));
    let kept: Map<String, Value> = kept.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    ChatRequest { extra: Extra::from(kept), ..request.clone() }
}

/// Returns the same value with the keys of every object in reverse order of insertion.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(reversed).collect(),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().collect();
            Value::Object(fields.into_iter().rev().map(|(name, value)| (name.clone(), reversed(value))).collect())
        }
        leaf => leaf.clone(),
    }
}
