//! Tests of requests to Anthropic.

use std::sync::Arc;

use llm_providers::llm_core::{
    ChatRequest, Error, ErrorKind, Message, Part, Role, Tool, ToolCall, ToolResult,
    chat::{JsonSchema, Reasoning, ResponseFormat, Sampling, ToolChoice},
};
use serde_json::{Value, json};

use crate::anthropic::stream::rich_whole;

use crate::codec::anthropic::{Options, decode_chat, encode_chat, encode_count};

fn sent(request: &ChatRequest) -> Value {
    serde_json::from_slice(&encode_chat(request, Options::default(), false).unwrap()).unwrap()
}

fn refused(request: &ChatRequest) -> Error {
    encode_chat(request, Options::default(), false).unwrap_err()
}

fn asking() -> ChatRequest {
    ChatRequest::new("claude-opus-5").user("hello")
}

fn result(id: &str, content: Vec<Part>) -> ToolResult {
    ToolResult { call_id: id.into(), content, is_error: false, extra: Default::default() }
}

#[test]
fn anthropic_request_fields_have_fixed_places() {
    let sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.25),
        top_k: Some(7),
        stop: vec!["END".into()],
        n: Some(1),
        max_output_tokens: Some(9),
        logprobs: Some(false),
        frequency_penalty: Some(0.0),
        ..Sampling::default()
    };
    let mut request = ChatRequest::new("claude-opus-5")
        .system("Be brief.")
        .user("hello")
        .tool(Tool::function("f", "finds", json!({"type": "object", "required": ["x"]})))
        .tool(Tool::Other(json!({"type": "web_search_20250305", "name": "web_search"}).into()))
        .tool_choice(ToolChoice::Required)
        .sampling(sampling)
        .extra("metadata", json!({"user_id": "u"}))
        .extra("service_tier", "auto")
        .extra("thinking", json!({"type": "adaptive"}));
    request.parallel_tool_calls = Some(false);
    request.reasoning_effort = Some("high".into());
    assert_eq!(
        sent(&request),
        json!({
            "model": "claude-opus-5", "max_tokens": 9, "system": [{"type": "text", "text": "Be brief."}],
            "messages": [{"role": "user", "content": "hello"}],
            "tools": [{"name": "f", "description": "finds", "input_schema": {"type": "object", "required": ["x"]}},
                {"type": "web_search_20250305", "name": "web_search"}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}, "temperature": 0.5, "top_p": 0.25,
            "top_k": 7, "stop_sequences": ["END"], "metadata": {"user_id": "u"}, "service_tier": "auto",
        })
    );
    let counted: Value = serde_json::from_slice(&encode_count(&request, Options::default()).unwrap()).unwrap();
    let mut expected = sent(&request);
    for name in ["max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"] {
        expected.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(counted, expected);
    let streamed: Value = serde_json::from_slice(&encode_chat(&request, Options::default(), true).unwrap()).unwrap();
    assert_eq!(streamed["stream"], true);
}

#[test]
fn max_tokens_is_always_sent() {
    assert_eq!(sent(&asking())["max_tokens"], 4_096);
    let own = encode_chat(&asking(), Options::default().max_tokens(77), false).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&own).unwrap()["max_tokens"], 77);
}

#[test]
fn tool_choice_of_anthropic_is_named() {
    let with = |choice: Option<ToolChoice>, parallel| {
        let mut request = asking().tool(Tool::Function(Default::default()));
        (request.tool_choice, request.parallel_tool_calls) = (choice, parallel);
        sent(&request)
    };
    for (choice, parallel, expected) in [
        (None, None, Value::Null),
        (None, Some(true), Value::Null),
        (None, Some(false), json!({"type": "auto", "disable_parallel_tool_use": true})),
        (Some(ToolChoice::Auto), None, json!({"type": "auto"})),
        (Some(ToolChoice::None), Some(false), json!({"type": "none"})),
        (Some(ToolChoice::Function("f".into())), None, json!({"type": "tool", "name": "f"})),
        (Some(ToolChoice::Other(json!({"type": "x"}).into())), None, json!({"type": "x"})),
        (
            Some(ToolChoice::Other(json!({"type": "x"}).into())),
            Some(false),
            json!({"type": "x", "disable_parallel_tool_use": true}),
        ),
    ] {
        assert_eq!(with(choice.clone(), parallel)["tool_choice"], expected, "{choice:?} {parallel:?}");
    }
    let tools = &with(None, None)["tools"];
    assert_eq!(tools[0]["input_schema"], json!({"type": "object", "properties": {}}), "the vendor wants a schema");
}

#[test]
fn anthropic_parallel_results_share_one_message() {
    let call = |id: &str| {
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: "f".into(),
            arguments: " {\"b\": 1, \"a\": 1e2}".into(),
            ..ToolCall::default()
        })
    };
    let seen = result("b", vec![Part::text("seen"), Part::image("image/png", &b"png"[..])]);
    let failed = ToolResult { is_error: true, ..result("c", vec![]) };
    let request = asking()
        .message(Message::new(Role::Assistant, vec![Part::text(""), call("a"), call("b"), call("c")]))
        .message(Message::tool("a", "one"))
        .message(Message::new(Role::Tool, vec![Part::ToolResult(seen), Part::ToolResult(failed)]))
        .user("go on");
    let text = String::from_utf8(encode_chat(&request, Options::default(), false).unwrap().to_vec()).unwrap();
    assert!(text.contains(r#""input":{"b": 1, "a": 1e2}"#), "arguments go as the model wrote them: {text}");
    let messages = sent(&request)["messages"].take();
    let roles: Vec<_> = messages.as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(messages[1]["content"].as_array().unwrap().len(), 3, "an empty text beside calls is not sent");
    assert_eq!(
        messages[2]["content"],
        json!([
            {"type": "tool_result", "tool_use_id": "a", "content": "one"},
            {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "seen"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}}]},
            {"type": "tool_result", "tool_use_id": "c", "is_error": true},
            {"type": "text", "text": "go on"},
        ])
    );
}

#[test]
fn anthropic_image_is_bytes_or_url() {
    let parts = vec![
        Part::image_url("https://a.test/1.png"),
        Part::image_url("data:image/gif;base64,R0lG"),
        Part::Other { value: json!({"type": "document", "source": {"type": "file", "file_id": "f"}}).into() },
    ];
    let content =
        sent(&ChatRequest::new("m").message(Message::new(Role::User, parts)))["messages"][0]["content"].take();
    assert_eq!(content[0]["source"], json!({"type": "url", "url": "https://a.test/1.png"}));
    assert_eq!(content[1]["source"], json!({"type": "base64", "media_type": "image/gif", "data": "R0lG"}));
    assert_eq!(content[2]["source"]["file_id"], "f");
}

#[test]
fn cache_control_is_sent() {
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    let mut last = Message::new(Role::User, vec![Part::text("a"), Part::text("b")]);
    last.extra.insert("cache_control", mark.clone());
    let system = Message::new(Role::System, vec![Part::text("rules").with_extra("cache_control", mark.clone())]);
    let body = sent(&ChatRequest::new("m").message(system).message(last.clone()).extra("cache_control", mark.clone()));
    assert_eq!(body["system"], json!([{"type": "text", "text": "rules", "cache_control": mark}]));
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": [{"type": "text", "text": "a"},
            {"type": "text", "text": "b", "cache_control": mark}]}])
    );
    assert_eq!(body["cache_control"], mark);
    last.parts[1] = last.parts[1].clone().with_extra("cache_control", mark);
    let error = refused(&ChatRequest::new("m").message(last));
    assert!(error.message().contains("messages[0].extra.cache_control"), "{error}");
}

#[test]
fn anthropic_later_instructions_keep_position() {
    let body = sent(
        &ChatRequest::new("m")
            .system("a")
            .message(Message::new(Role::Developer, vec![Part::text("b")]))
            .user("c")
            .system("d")
            .user("e"),
    );
    assert_eq!(body["system"].as_array().unwrap().len(), 2);
    let roles: Vec<_> = body["messages"].as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "system", "user"]);
}

#[test]
fn anthropic_response_is_sent_back_unchanged() {
    let whole = rich_whole();
    let response = decode_chat(whole.to_string().as_bytes()).unwrap().output;
    let back = asking().message(Message::from(response.choices[0].clone())).user("go on");
    let mut expected = whole["content"].as_array().unwrap().clone();
    expected.remove(5);
    expected[4].as_object_mut().unwrap().remove("citations");
    assert_eq!(sent(&back)["messages"][1]["content"], Value::Array(expected));
    let text = String::from_utf8(encode_chat(&back, Options::default(), false).unwrap().to_vec()).unwrap();
    assert!(text.contains(r#"{"type":"thinking","thinking":"2 and 2","signature":"c2ln/+="}"#), "{text}");
    // The message is serialized and read again, as if it had been stored.
    let stored: Message = serde_json::from_str(&serde_json::to_string(&back.messages[1]).unwrap()).unwrap();
    assert_eq!(stored, back.messages[1]);
}

#[test]
fn anthropic_thinking_and_format_are_set_once() {
    let effort = |model: &str, effort: &str| {
        let mut request = ChatRequest::new(model).user("hello");
        request.reasoning_effort = Some(effort.into());
        request
    };
    assert_eq!(sent(&effort("claude-opus-5", "none"))["thinking"], json!({"type": "disabled"}));
    let schema = json!({"type": "object"});
    let format = ResponseFormat::json_schema("any", schema.clone());
    let both = effort("claude-opus-5", "max").response_format(format).extra("output_config", json!({"new": 1}));
    assert_eq!(
        sent(&both)["output_config"],
        json!({"effort": "max", "format": {"type": "json_schema", "schema": schema}, "new": 1})
    );
    assert!(sent(&asking().response_format(ResponseFormat::Text)).get("output_config").is_none());
    for (request, what) in [
        (
            effort("claude-opus-5", "high").extra("output_config", json!({"effort": "low"})),
            "extra.output_config.effort",
        ),
        (effort("claude-opus-5", "none").extra("thinking", json!({"type": "adaptive"})), "extra.thinking"),
        (effort("claude-opus-5", "high").extra("output_config", 3), "extra.output_config is no object"),
    ] {
        let error = refused(&request);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(what), "{error}");
    }
}

/// Returns requests that the format cannot express, the field that each error names, and whether the field may be left
/// out.
fn beyond() -> Vec<(ChatRequest, &'static str, bool)> {
    let sampled = |sampling| asking().sampling(sampling);
    let effort = |model: &str, effort: &str| {
        let mut request = ChatRequest::new(model).user("hello");
        request.reasoning_effort = Some(effort.into());
        request
    };
    let mut named = Message::user("hello");
    named.name = Some("Ann".into());
    let mut close = Part::image_url("https://a.test");
    if let Part::Image(image) = &mut close {
        image.detail = Some("high".into());
    }
    let thought = Part::Reasoning(Reasoning { text: "hm".into(), ..Reasoning::default() });
    let spoken = |role, part| asking().message(Message::new(role, vec![Part::text("x"), part]));
    let described =
        JsonSchema { name: "n".into(), description: Some("d".into()), schema: Arc::new(json!({})), strict: None };
    vec![
        (sampled(Sampling { seed: Some(1), ..Sampling::default() }), "sampling.seed", true),
        (sampled(Sampling { presence_penalty: Some(0.1), ..Sampling::default() }), "sampling.presence_penalty", true),
        (sampled(Sampling { frequency_penalty: Some(0.1), ..Sampling::default() }), "sampling.frequency_penalty", true),
        (sampled(Sampling { logprobs: Some(true), ..Sampling::default() }), "sampling.logprobs", true),
        (sampled(Sampling { top_logprobs: Some(2), ..Sampling::default() }), "sampling.top_logprobs", true),
        (sampled(Sampling { n: Some(2), ..Sampling::default() }), "sampling.n", false),
        (sampled(Sampling { temperature: Some(1.1), ..Sampling::default() }), "sampling.temperature", false),
        (asking().message(named), "messages[1].name", true),
        (spoken(Role::User, close), "messages[1].parts[1].detail", true),
        (spoken(Role::Assistant, thought.clone()), "messages[1].parts[1]", true),
        (spoken(Role::User, thought), "messages[1].parts[1], reasoning in a message of user", false),
        (spoken(Role::Assistant, Part::image_url("https://a.test")), "an image in a message of assistant", false),
        (spoken(Role::User, Part::image_url("data:image/png,x")), "not in base64", false),
        (asking().response_format(ResponseFormat::JsonObject), "response_format", false),
        (asking().response_format(ResponseFormat::JsonSchema(described)), "response_format.description", true),
        (effort("claude-opus-5", "minimal"), "reasoning_effort `minimal`", true),
        (effort("claude-3-haiku-20240307", "low"), "reasoning_effort for claude-3-haiku-20240307", true),
        (effort("claude-sonnet-4-20250514", "low"), "set extra.thinking", true),
        (
            asking().message(Message::new(
                Role::Tool,
                vec![Part::ToolResult(result("a", vec![Part::Refusal { text: "no".into() }]))],
            )),
            "messages[1].parts[0].content[0], a refusal",
            false,
        ),
    ]
}

#[test]
fn approximate_omits_unsupported_fields() {
    for (request, what, optional) in beyond() {
        let error = refused(&request);
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unsupported, false), "{what}");
        assert!(error.message().contains(what), "{what}: {error}");
        let approximate = encode_chat(&request, Options::default().approximate(true), false);
        assert_eq!(approximate.is_ok(), optional, "{what}");
    }
}

#[test]
fn anthropic_invalid_request_is_refused() {
    let call = |arguments: &str| {
        Message::new(
            Role::Assistant,
            vec![Part::ToolCall(ToolCall { arguments: arguments.into(), ..ToolCall::default() })],
        )
    };
    for (request, what) in [
        (asking().extra("system", "x"), "extra.system shadows"),
        (asking().extra("max_tokens", 3), "extra.max_tokens shadows"),
        (ChatRequest::new("m").system("only rules"), "nothing but instructions"),
        (asking().message(call("{nonsense")), "messages[1].parts[0].arguments are no JSON object"),
        (asking().message(call("[1]")), "arguments are no JSON object"),
        (
            asking().message(Message::new(Role::User, vec![Part::text("a").with_extra("text", "b")])),
            "extra.text shadows",
        ),
    ] {
        let error = refused(&request);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{what}");
        assert!(error.message().contains(what), "{error}");
    }
    assert_eq!(sent(&asking().message(call(" ")))["messages"][1]["content"][0]["input"], json!({}));
}
