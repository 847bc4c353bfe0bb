//! Tests of requests to OpenAI.

use std::sync::Arc;

use llm_providers::llm_core::{
    ChatRequest, EmbedInput, EmbedRequest, Error, ErrorKind, Extra, Message, Part, Role, Tool, ToolCall, ToolResult,
    chat::{FunctionTool, Reasoning, ResponseFormat, Sampling, ToolChoice},
};
use serde_json::{Value, json};

use crate::codec::openai::{Dialect, encode_chat, encode_embed};

fn sent(request: &ChatRequest) -> Value {
    serde_json::from_slice(&encode_chat(request, Dialect::default(), false).unwrap()).unwrap()
}

fn message(message: Message) -> Value {
    sent(&ChatRequest::new("m").message(message))["messages"].take()
}

fn refused(request: &ChatRequest) -> Error {
    encode_chat(request, Dialect::default(), false).unwrap_err()
}

#[test]
fn openai_request_fields_have_fixed_places() {
    let mut function = FunctionTool { name: "f".into(), strict: Some(true), ..FunctionTool::default() };
    function.parameters = Some(Arc::new(json!({"type": "object"})));
    let mut request = ChatRequest::new("m")
        .system("be brief")
        .user("hi")
        .tool(Tool::Function(function))
        .tool(Tool::Other(Arc::new(json!({"type": "web_search"}))))
        .tool_choice(ToolChoice::Function("f".into()))
        .response_format(ResponseFormat::json_schema("s", json!({"type": "object"})))
        .sampling(Sampling {
            temperature: Some(0.5),
            top_p: Some(1.0),
            top_k: None,
            frequency_penalty: Some(-1.0),
            presence_penalty: Some(0.25),
            seed: Some(-7),
            stop: vec!["end".into()],
            n: Some(2),
            max_output_tokens: Some(9),
            logprobs: Some(true),
            top_logprobs: Some(3),
        })
        .extra("service_tier", "flex");
    request.parallel_tool_calls = Some(false);
    request.reasoning_effort = Some("low".into());
    assert_eq!(
        sent(&request),
        json!({"model": "m",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true}},
                {"type": "web_search"}],
            "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false,
            "response_format": {"type": "json_schema",
                "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": true}},
            "reasoning_effort": "low", "temperature": 0.5, "top_p": 1.0, "frequency_penalty": -1.0,
            "presence_penalty": 0.25, "seed": -7, "stop": ["end"], "n": 2, "max_completion_tokens": 9,
            "logprobs": true, "top_logprobs": 3, "service_tier": "flex"})
    );
}

#[test]
fn openai_message_form_follows_role() {
    let mut named = Message::user("hi");
    named.name = Some("ann".into());
    named.extra.insert("prompt_cache", 1);
    assert_eq!(message(named), json!([{"role": "user", "content": "hi", "name": "ann", "prompt_cache": 1}]));

    let call = ToolCall { id: "c".into(), name: "f".into(), arguments: "{".into(), ..ToolCall::default() };
    let asked = Message::new(Role::Assistant, vec![Part::ToolCall(call)]);
    let function = json!({"name": "f", "arguments": "{"});
    assert_eq!(
        message(asked),
        json!([{"role": "assistant", "content": null,
            "tool_calls": [{"id": "c", "type": "function", "function": function}]}])
    );

    let mut custom = ToolCall { id: "c".into(), name: "f".into(), arguments: "x".into(), ..ToolCall::default() };
    custom.extra.insert("type", "custom");
    assert_eq!(
        message(Message::new(Role::Assistant, vec![Part::ToolCall(custom)]))[0]["tool_calls"],
        json!([{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}])
    );

    let no = Part::Refusal { text: "no".into() };
    let refused = json!([{"role": "assistant", "content": null, "refusal": "no"}]);
    assert_eq!(message(Message::new(Role::Assistant, vec![no])), refused);

    let result = |id: &str, texts: &[&str]| {
        let content = texts.iter().map(|text| Part::text(*text)).collect();
        Part::ToolResult(ToolResult { call_id: id.into(), content, is_error: false, extra: Extra::default() })
    };
    assert_eq!(
        message(Message::new(Role::Tool, vec![result("a", &["1"]), result("b", &["2", "3"]), result("c", &[])])),
        json!([{"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "2"}, {"type": "text", "text": "3"}]},
            {"role": "tool", "tool_call_id": "c", "content": ""}])
    );
}

#[test]
fn openai_image_is_url_or_data() {
    let mut near = Part::image("image/png", &b"\x89PNG"[..]);
    if let Part::Image(image) = &mut near {
        image.detail = Some("low".into());
    }
    let parts = vec![Part::text("which?"), near, Part::image_url("https://images.test/b.png")];
    assert_eq!(
        message(Message::new(Role::User, parts))[0]["content"],
        json!([{"type": "text", "text": "which?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw==", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://images.test/b.png"}}])
    );
}

#[test]
fn stream_options_always_include_usage() {
    let request = ChatRequest::new("m").user("hi").extra("stream_options", json!({"include_obfuscation": false}));
    let streamed = encode_chat(&request, Dialect::default(), true).unwrap();
    let streamed: Value = serde_json::from_slice(&streamed).unwrap();
    assert_eq!(streamed["stream"], true);
    assert_eq!(streamed["stream_options"], json!({"include_obfuscation": false, "include_usage": true}));
    assert_eq!(sent(&request).get("stream_options"), None, "vendors refuse it without a stream");
}

#[test]
fn dialect_sets_field_names() {
    let request = ChatRequest::new("m").user("hi");
    let mut request = request.max_output_tokens(5);
    request.sampling.top_k = Some(40);
    let mut dialect = Dialect::default();
    (dialect.legacy_max_tokens, dialect.top_k) = (true, true);
    let body: Value = serde_json::from_slice(&encode_chat(&request, dialect, false).unwrap()).unwrap();
    assert_eq!((&body["max_tokens"], &body["top_k"]), (&json!(5), &json!(40)));
    assert_eq!(body.get("max_completion_tokens"), None);
    let error = refused(&request);
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("top_k"));
}

#[test]
fn unsupported_field_is_refused_by_name() {
    let with = |role, part| ChatRequest::new("m").message(Message::new(role, vec![part]));
    let result = |content, is_error| {
        Part::ToolResult(ToolResult { call_id: "c".into(), content, is_error, extra: Extra::default() })
    };
    for (request, name) in [
        (with(Role::Tool, result(vec![], true)), "messages[0].parts[0].is_error"),
        (with(Role::Tool, result(vec![Part::image_url("u")], false)), "messages[0].parts[0].content[0], an image"),
        (with(Role::System, Part::image_url("u")), "messages[0].parts[0], an image in a message of system"),
        (with(Role::User, Part::ToolCall(ToolCall::default())), "a tool call in a message of user"),
        (with(Role::User, Part::Reasoning(Reasoning::default())), "reasoning in a message of user"),
    ] {
        let error = refused(&request);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn extra_field_shadowing_known_one_is_refused() {
    let base = || ChatRequest::new("m").user("hi");
    for name in ["model", "messages", "temperature", "max_tokens", "max_completion_tokens", "stream", "top_k", "n"] {
        let error = refused(&base().extra(name, 1));
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(&format!("extra.{name} ")), "{error}");
    }
    let mut message = Message::user("hi");
    message.extra.insert("content", "other");
    assert!(refused(&base().message(message)).message().contains("messages[1].extra.content"));
    let mut function = FunctionTool { name: "f".into(), ..FunctionTool::default() };
    function.extra.insert("strict", true);
    assert!(refused(&base().tool(Tool::Function(function))).message().contains("tools[0].extra.strict"));
    let mut call = ToolCall::default();
    call.extra.insert("id", "x");
    let call = Message::new(Role::Assistant, vec![Part::ToolCall(call)]);
    assert!(refused(&base().message(call)).message().contains("parts[0].extra.id"));
}

#[test]
fn extra_of_result_or_part_shadows_nothing() {
    let tool = |result: Part| {
        let mut message = Message::new(Role::Tool, vec![result]);
        message.extra.insert("mine", 1);
        ChatRequest::new("m").message(message)
    };
    let result = |part: Part| {
        Part::ToolResult(ToolResult {
            call_id: "c".into(),
            content: vec![part],
            is_error: false,
            extra: Extra::default(),
        })
    };
    let custom = |name: &str, value: Value| {
        let call = ToolCall { id: "c".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() };
        let part = Part::ToolCall(call).with_extra(name, value);
        ChatRequest::new("m").message(Message::new(Role::Assistant, vec![part]))
    };
    let text = || Part::text("1");
    let asked = |part| ChatRequest::new("m").message(Message::new(Role::User, vec![part]));
    for (request, field) in [
        (tool(result(text()).with_extra("content", "x")), "messages[0].parts[0].extra.content"),
        (tool(result(text()).with_extra("tool_call_id", "x")), "messages[0].parts[0].extra.tool_call_id"),
        (tool(result(text()).with_extra("mine", 2)), "messages[0].parts[0].extra.mine"),
        (tool(result(text().with_extra("text", "x"))), "messages[0].parts[0].content[0].extra.text"),
        (asked(text().with_extra("type", "x")), "messages[0].parts[0].extra.type"),
        (asked(Part::image_url("u").with_extra("image_url", "x")), "messages[0].parts[0].extra.image_url"),
        (custom("type", "function".into()), "messages[0].parts[0].extra.type"),
        (custom("function", json!({"name": "g"})), "messages[0].parts[0].extra.function.name"),
        (custom("function", json!("g")), "messages[0].parts[0].extra.function"),
    ] {
        let error = refused(&request);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(error.message().contains(field), "{error}");
    }
    let further = custom("function", json!({"more": 1}));
    let call = sent(&further)["messages"][0]["tool_calls"][0].take();
    assert_eq!(call, json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}", "more": 1}}));
}

#[test]
fn invalid_request_is_refused_before_sending() {
    assert_eq!(refused(&ChatRequest::new("m")).kind(), ErrorKind::InvalidRequest);
    assert_eq!(refused(&ChatRequest::new("m").user("hi").temperature(f64::NAN)).kind(), ErrorKind::InvalidRequest);
}

#[test]
fn embed_encoding_format_defaults_to_float() {
    let sent = |request: &EmbedRequest, dialect| -> Value {
        serde_json::from_slice(&encode_embed(request, dialect).unwrap()).unwrap()
    };
    let mut request = EmbedRequest::new("e", ["a", "b"]);
    request.dimensions = Some(3);
    let plain = json!({"model": "e", "input": ["a", "b"], "dimensions": 3, "encoding_format": "float"});
    assert_eq!(sent(&request, Dialect::default()), plain);
    let mut dialect = Dialect::default();
    dialect.base64_embeddings = true;
    assert_eq!(sent(&request, dialect)["encoding_format"], "base64");
    request.extra.insert("encoding_format", "float");
    request.extra.insert("user", "u");
    assert_eq!(
        (&sent(&request, dialect)["encoding_format"], &sent(&request, dialect)["user"]),
        (&json!("float"), &json!("u"))
    );

    let tokens = EmbedInput::Tokens([1, 2].into());
    let mut request = EmbedRequest { inputs: Arc::new(vec![tokens.clone()]), ..request };
    assert_eq!(sent(&request, dialect)["input"], json!([[1, 2]]));
    request.inputs = Arc::new(vec![tokens, EmbedInput::Text("a".into())]);
    assert_eq!(encode_embed(&request, dialect).unwrap_err().kind(), ErrorKind::InvalidRequest);
    request.extra.insert("input", "x");
    assert!(encode_embed(&request, dialect).unwrap_err().message().contains("extra.input"));
}
