//! Tests of requests to Gemini.

use std::sync::Arc;

use llm_providers::llm_core::{
    ChatRequest, EmbedInput, EmbedRequest, ErrorKind, Extra, Message, Part, Role, Tool, ToolCall, ToolResult,
    chat::{FunctionTool, Image, ImageSource, JsonSchema, Reasoning, ResponseFormat, Sampling, ToolChoice},
};
use serde_json::{Value, json};

use crate::codec::gemini::{Dialect, decode_chat, encode_chat, encode_count, encode_embed};

fn with(request: &ChatRequest, dialect: Dialect) -> Value {
    serde_json::from_slice(&encode_chat(request, dialect).unwrap()).unwrap()
}

fn sent(request: &ChatRequest) -> Value {
    with(request, Dialect::default())
}

fn hello() -> ChatRequest {
    ChatRequest::new("m").user("hi")
}

fn refused(request: &ChatRequest) -> (ErrorKind, String) {
    let error = encode_chat(request, Dialect::default()).unwrap_err();
    (error.kind(), error.message().to_owned())
}

#[test]
fn gemini_conversation_has_every_message_form() {
    let call = ToolCall { id: "c1".into(), name: "f".into(), arguments: r#"{"a":1}"#.into(), ..ToolCall::default() };
    let mut thought = Reasoning { text: "hm".into(), signature: Some("S".into()), ..Reasoning::default() };
    thought.extra.insert("thought", true);
    let request = ChatRequest::new("m")
        .system("be brief")
        .message(Message::new(Role::Developer, vec![Part::text("and kind")]))
        .message(Message::new(Role::User, vec![Part::text("this?"), Part::image("image/png", &b"\x01\x02"[..])]))
        .message(Message::new(Role::Assistant, vec![Part::Reasoning(thought), Part::text("so"), Part::ToolCall(call)]))
        .message(Message::tool("c1", "rainy"))
        .tool(Tool::function("f", "does f", json!({"type": "object"})))
        .tool_choice(ToolChoice::Function("f".into()))
        .extra("safetySettings", json!([]));
    assert_eq!(
        sent(&request),
        json!({"systemInstruction": {"parts": [{"text": "be brief"}, {"text": "and kind"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "this?"}, {"inlineData": {"mimeType": "image/png", "data": "AQI="}}]},
                {"role": "model", "parts": [{"text": "hm", "thought": true, "thoughtSignature": "S"}, {"text": "so"},
                    {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}]},
                {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "f", "response": {"result": "rainy"}}}]}],
            "tools": [{"functionDeclarations": [
                {"name": "f", "description": "does f", "parametersJsonSchema": {"type": "object"}}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
            "safetySettings": []})
    );
}

#[test]
fn gemini_sampling_has_vendor_names() {
    let sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.9),
        top_k: Some(40),
        frequency_penalty: Some(0.1),
        presence_penalty: Some(-0.1),
        seed: Some(7),
        stop: vec!["END".into()],
        n: Some(2),
        max_output_tokens: Some(9),
        logprobs: Some(true),
        top_logprobs: Some(3),
    };
    let config = json!({"temperature": 0.5, "topP": 0.9, "topK": 40, "frequencyPenalty": 0.1, "presencePenalty": -0.1,
        "seed": 7, "stopSequences": ["END"], "candidateCount": 2, "maxOutputTokens": 9, "responseLogprobs": true,
        "logprobs": 3});
    assert_eq!(sent(&hello().sampling(sampling))["generationConfig"], config);
    assert_eq!(sent(&hello()).get("generationConfig"), None);
}

#[test]
fn gemini_extra_fields_keep_their_level() {
    let request = hello()
        .temperature(0.0)
        .extra("cachedContent", "cachedContents/x")
        .extra("generationConfig", json!({"responseModalities": ["TEXT"], "thinkingConfig": {"x": 1}}));
    let mut request = request;
    request.reasoning_effort = Some("low".into());
    let body = sent(&request);
    assert_eq!(body["cachedContent"], "cachedContents/x");
    let config =
        json!({"temperature": 0.0, "responseModalities": ["TEXT"], "thinkingConfig": {"x": 1, "thinkingLevel": "LOW"}});
    assert_eq!(body["generationConfig"], config);
}

#[test]
fn gemini_reasoning_effort_is_level_or_budget() {
    for (effort, config) in [
        ("minimal", json!({"thinkingLevel": "MINIMAL"})),
        ("high", json!({"thinkingLevel": "HIGH"})),
        ("none", json!({"thinkingBudget": 0})),
        ("1024", json!({"thinkingBudget": 1024})),
        ("-1", json!({"thinkingBudget": -1})),
    ] {
        let mut request = hello();
        request.reasoning_effort = Some(effort.into());
        assert_eq!(sent(&request)["generationConfig"]["thinkingConfig"], config);
    }
    let dialect = Dialect { include_thoughts: true, ..Dialect::default() };
    assert_eq!(with(&hello(), dialect)["generationConfig"], json!({"thinkingConfig": {"includeThoughts": true}}));
}

#[test]
fn gemini_schema_is_json_schema_or_openapi() {
    let schema = json!({"type": "object", "additionalProperties": false});
    let request = hello().response_format(ResponseFormat::json_schema("s", schema.clone()));
    let request = request.tool(Tool::function("f", "", schema.clone()));
    let body = sent(&request);
    assert_eq!(body["generationConfig"], json!({"responseMimeType": "application/json", "responseJsonSchema": schema}));
    let body = with(&request, Dialect { openapi_schemas: true, ..Dialect::default() });
    assert_eq!(body["generationConfig"], json!({"responseMimeType": "application/json", "responseSchema": schema}));
    assert_eq!(body["tools"][0]["functionDeclarations"][0]["parameters"], schema);
    let object = sent(&hello().response_format(ResponseFormat::JsonObject));
    assert_eq!(object["generationConfig"], json!({"responseMimeType": "application/json"}));
    let format = |schema: Value| {
        let schema = Arc::new(schema);
        ResponseFormat::JsonSchema(JsonSchema {
            name: "s".into(),
            description: Some("why".into()),
            schema,
            strict: None,
        })
    };
    let described = sent(&hello().response_format(format(json!({"type": "object"}))));
    assert_eq!(described["generationConfig"]["responseJsonSchema"]["description"], "why");
    let (kind, message) = refused(&hello().response_format(format(json!({"description": "x"}))));
    assert!(kind == ErrorKind::Unsupported && message.contains("response_format.description"), "{message}");
}

#[test]
fn gemini_tools_keep_order_and_mode() {
    let search = json!({"googleSearch": {}});
    let function = |name: &str| Tool::Function(FunctionTool { name: name.into(), ..FunctionTool::default() });
    let request =
        hello().tool(function("a")).tool(function("b")).tool(Tool::Other(Arc::new(search.clone()))).tool(function("c"));
    let declared =
        |names: &[&str]| json!({"functionDeclarations": names.iter().map(|n| json!({"name": n})).collect::<Value>()});
    assert_eq!(sent(&request)["tools"], json!([declared(&["a", "b"]), search, declared(&["c"])]));
    for (choice, mode) in [(ToolChoice::Auto, "AUTO"), (ToolChoice::None, "NONE"), (ToolChoice::Required, "ANY")] {
        assert_eq!(sent(&hello().tool_choice(choice))["toolConfig"], json!({"functionCallingConfig": {"mode": mode}}));
    }
    let other = json!({"functionCallingConfig": {"mode": "VALIDATED"}, "retrievalConfig": {}});
    assert_eq!(sent(&hello().tool_choice(ToolChoice::Other(Arc::new(other.clone()))))["toolConfig"], other);
    let mut request = hello();
    request.parallel_tool_calls = Some(true);
    assert_eq!(sent(&request), sent(&hello()));
}

#[test]
fn gemini_tool_results_are_grouped_and_named() {
    let call =
        |id: &str, name: &str| Part::ToolCall(ToolCall { id: id.into(), name: name.into(), ..ToolCall::default() });
    let failed =
        ToolResult { call_id: "b".into(), content: vec![Part::text("oh")], is_error: true, extra: Default::default() };
    let image = ToolResult { content: vec![Part::image("image/png", &b"\x00"[..])], is_error: false, ..failed.clone() };
    let request = hello()
        .message(Message::new(Role::Assistant, vec![call("a", "f"), call("b", "g"), call("gemini_R_0_2", "h")]))
        .message(Message::tool("a", r#"{"x":[1]}"#))
        .message(Message::new(Role::Tool, vec![Part::ToolResult(failed)]))
        .message(Message::tool("gemini_R_0_2", "[1]"))
        .message(Message::new(Role::Assistant, vec![call("b", "later")]))
        .message(Message::new(Role::Tool, vec![Part::ToolResult(image)]));
    let contents = &sent(&request)["contents"];
    assert_eq!(contents.as_array().unwrap().len(), 5);
    assert_eq!(contents[1]["parts"][2], json!({"functionCall": {"name": "h", "args": {}}}));
    let answered = |response: Value| json!({"functionResponse": response});
    assert_eq!(
        contents[2],
        json!({"role": "user", "parts": [answered(json!({"id": "a", "name": "f", "response": {"x": [1]}})),
            answered(json!({"id": "b", "name": "g", "response": {"error": "oh"}})),
            answered(json!({"name": "h", "response": {"result": "[1]"}}))]})
    );
    assert_eq!(
        contents[4]["parts"][0],
        answered(json!({"id": "b", "name": "later", "response": {"result": ""},
            "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}))
    );
}

#[test]
fn gemini_image_is_bytes_or_file() {
    let of = |url: &str| sent(&ChatRequest::new("m").message(Message::new(Role::User, vec![Part::image_url(url)])));
    let file = "https://generativelanguage.googleapis.com/v1beta/files/abc";
    assert_eq!(of(file)["contents"][0]["parts"][0], json!({"fileData": {"fileUri": file}}));
    let inline = json!({"inlineData": {"mimeType": "image/png", "data": "AA=="}});
    assert_eq!(of("data:image/png;base64,AA==")["contents"][0]["parts"][0], inline);
    for url in [
        "https://example.com/a.png",
        "https://generativelanguage.googleapis.com.evil.test/v1/files/a",
        "data:image/png,x",
        "gs://bucket/a",
    ] {
        let (kind, message) =
            refused(&ChatRequest::new("m").message(Message::new(Role::User, vec![Part::image_url(url)])));
        assert_eq!(kind, ErrorKind::Unsupported);
        assert!(message.contains("messages[0].parts[0].source.url") && !message.contains(url), "{message}");
    }
}

#[test]
fn gemini_unsupported_field_is_refused_by_name() {
    let user = |part: Part| ChatRequest::new("m").message(Message::new(Role::User, vec![part]));
    let model = |part: Part| hello().message(Message::new(Role::Assistant, vec![part]));
    let named = Message { name: Some("bob".into()), ..Message::user("x") };
    let mut serial = hello();
    serial.parallel_tool_calls = Some(false);
    let strict = FunctionTool { name: "f".into(), strict: Some(true), ..FunctionTool::default() };
    let source = ImageSource::Bytes { media_type: "image/png".into(), data: (&b""[..]).into() };
    let closely = Image { source, detail: Some("high".into()), extra: Default::default() };
    for (request, what) in [
        (hello().system("late"), "messages[1].role"),
        (ChatRequest::new("m").message(named), "messages[0].name"),
        (serial, "parallel_tool_calls"),
        (hello().tool(Tool::Function(strict)), "tools[0].strict"),
        (user(Part::Image(closely)), "messages[0].parts[0].detail"),
        (user(Part::Reasoning(Reasoning::default())), "reasoning in a message of user"),
        (model(Part::Refusal { text: "no".into() }), "a refusal in a message of assistant"),
        (
            ChatRequest::new("m").message(Message::new(Role::System, vec![Part::image("a", &b""[..])])).user("x"),
            "messages[0].parts[0], an image",
        ),
    ] {
        let (kind, message) = refused(&request);
        assert_eq!(kind, ErrorKind::Unsupported, "{message}");
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn gemini_invalid_request_is_refused_by_name() {
    let model = |call: ToolCall| hello().message(Message::new(Role::Assistant, vec![Part::ToolCall(call)]));
    let torn = ToolCall { name: "f".into(), arguments: "{".into(), ..ToolCall::default() };
    let list = ToolCall { arguments: "[1]".into(), ..torn.clone() };
    let mut shadow = Extra::default();
    shadow.insert("text", "x");
    let twice = Part::Text { text: "a".into(), extra: shadow.clone() };
    let called = ToolCall { name: "f".into(), extra: shadow, ..ToolCall::default() };
    for (request, what) in [
        (
            ChatRequest::new("m").message(Message::new(Role::User, vec![twice.clone()])),
            "messages[0].parts[0].extra.text",
        ),
        (ChatRequest::new("m").message(Message::new(Role::System, vec![twice])), "messages[0].parts[0].extra.text"),
        (model(called), "messages[1].parts[0].extra.text"),
        (ChatRequest::new("m"), "messages is empty"),
        (ChatRequest::new("m").system("x"), "only instructions"),
        (hello().message(Message::tool("c9", "x")), "messages[1].parts[0].call_id (\"c9\")"),
        (model(torn), "messages[1].parts[0].arguments"),
        (model(list), "messages[1].parts[0].arguments"),
        (hello().extra("contents", json!([])), "extra.contents"),
        (hello().extra("tool_config", json!({})), "extra.tool_config"),
        (hello().extra("generationConfig", 1), "extra.generationConfig"),
        (
            hello().temperature(0.5).extra("generationConfig", json!({"temperature": 1})),
            "extra.generationConfig.temperature",
        ),
    ] {
        let (kind, message) = refused(&request);
        assert_eq!(kind, ErrorKind::InvalidRequest, "{message}");
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn gemini_response_is_sent_back_unchanged() {
    let parts = json!([
        {"text": "hm", "thought": true, "thoughtSignature": "S0"},
        {"text": "yes", "thoughtSignature": "S1"},
        {"text": "plain"},
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": {"b": [1, 2.5, "x"]}}}, "thoughtSignature": "S2"},
        {"functionCall": {"name": "g", "args": {}}},
        {"inlineData": {"mimeType": "image/png", "data": "+/8="}, "thoughtSignature": "S3"},
        {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "S4"},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK"}},
        {"text": "", "thoughtSignature": "S5"}]);
    let body = json!({"responseId": "R", "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]});
    let response = decode_chat(body.to_string().as_bytes()).unwrap().output;
    let made = response.tool_calls().nth(1).unwrap().id.clone();
    let request = hello().message(response.choices[0].clone().into()).message(Message::tool(made, "{}"));
    let contents = &sent(&request)["contents"];
    assert_eq!(contents[1], json!({"role": "model", "parts": parts}));
    assert_eq!(contents[2]["parts"], json!([{"functionResponse": {"name": "g", "response": {}}}]));
}

#[test]
fn count_tokens_of_gemini_sends_needed_request() {
    let count = |request: &ChatRequest| -> Value {
        serde_json::from_slice(&encode_count(request, Dialect::default()).unwrap()).unwrap()
    };
    let contents = json!([{"role": "user", "parts": [{"text": "hi"}]}]);
    assert_eq!(count(&hello()), json!({"contents": contents}));
    let whole = ChatRequest::new("m").system("s").user("hi");
    let inner = json!({"model": "models/m", "contents": contents, "systemInstruction": {"parts": [{"text": "s"}]}});
    assert_eq!(count(&whole), json!({"generateContentRequest": inner}));
}

#[test]
fn gemini_embeddings_are_requested_in_batch() {
    let mut request = EmbedRequest::new("e", ["a", "b"]);
    request.dimensions = Some(8);
    request.extra.insert("taskType", "RETRIEVAL_QUERY");
    let one = |text: &str| {
        json!({"model": "models/e", "content": {"parts": [{"text": text}]}, "outputDimensionality": 8,
        "taskType": "RETRIEVAL_QUERY"})
    };
    let body: Value = serde_json::from_slice(&encode_embed(&request).unwrap()).unwrap();
    assert_eq!(body, json!({"requests": [one("a"), one("b")]}));
    let tokens = EmbedRequest { inputs: vec![EmbedInput::Tokens([1].into())].into(), ..request.clone() };
    let error = encode_embed(&tokens).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("inputs[0]"), "{error}");
    request.extra.insert("model", "x");
    assert_eq!(encode_embed(&request).unwrap_err().kind(), ErrorKind::InvalidRequest);
}
