//! Tests of each dialect: its differences in requests, and the features that it refuses before sending.

use std::sync::Arc;

use llm_providers::{
    llm_core::{
        ChatRequest, ChatResponse, EmbedRequest, ErrorKind, Message, Part, Role, ToolCall,
        chat::{Reasoning, ResponseFormat, ToolChoice},
    },
    openai::{Dialect, OpenAiProtocol},
    protocol::VendorProtocol,
};
use serde_json::{Value, json};

const ROWS: [Dialect; 9] = [
    Dialect::OPENAI,
    Dialect::AZURE,
    Dialect::OLLAMA,
    Dialect::VLLM,
    Dialect::MISTRAL,
    Dialect::GROQ,
    Dialect::DEEPSEEK,
    Dialect::OPENROUTER,
    Dialect::GEMINI,
];

fn asked() -> ChatRequest {
    ChatRequest::new("m").user("hi")
}

fn sent(dialect: Dialect, request: &ChatRequest) -> Value {
    serde_json::from_slice(&OpenAiProtocol::new(dialect).chat(request, false).unwrap().body).unwrap()
}

/// Returns the servers that refuse a request. Each error must name the field.
fn refusing(request: &ChatRequest, field: &str) -> Vec<&'static str> {
    let refuses = |dialect: &Dialect| match OpenAiProtocol::new(*dialect).chat(request, false) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.message().contains(field) && error.message().contains(dialect.name), "{error}");
            true
        }
    };
    ROWS.iter().filter(|dialect| refuses(dialect)).map(|dialect| dialect.name).collect()
}

#[test]
fn dialect_refuses_missing_feature_by_name() {
    let with = |change: fn(&mut ChatRequest)| {
        let mut request = asked();
        change(&mut request);
        request
    };
    let named = with(|request| Arc::make_mut(&mut request.messages)[0].name = Some("n".into()));
    let pictured = |part| ChatRequest::new("m").message(Message::new(Role::User, vec![part]));
    let cases: [(ChatRequest, &str, &[&str]); 11] = [
        (asked(), "", &[]),
        (
            with(|r| r.sampling.top_k = Some(3)),
            "sampling.top_k",
            &["openai", "azure", "ollama", "mistral", "groq", "deepseek", "gemini"],
        ),
        (with(|r| r.sampling.seed = Some(3)), "sampling.seed", &["deepseek", "gemini"]),
        (with(|r| r.sampling.n = Some(2)), "sampling.n", &["ollama", "groq", "deepseek"]),
        (with(|r| r.sampling.logprobs = Some(true)), "sampling.logprobs", &["ollama", "mistral", "groq", "gemini"]),
        (with(|r| r.tool_choice = Some(ToolChoice::Required)), "tool_choice", &["ollama"]),
        (with(|r| r.parallel_tool_calls = Some(false)), "parallel_tool_calls", &["ollama", "deepseek"]),
        (
            with(|r| r.response_format = Some(ResponseFormat::json_schema("s", json!({})))),
            "response_format",
            &["deepseek"],
        ),
        (named, "messages[0].name", &["mistral", "groq"]),
        (pictured(Part::image("image/png", &b"x"[..])), "messages[0].parts[0]", &["deepseek"]),
        (pictured(Part::image_url("https://h.test/a.png")), "messages[0].parts[0]", &["ollama", "deepseek"]),
    ];
    for (request, field, servers) in cases {
        assert_eq!(refusing(&request, field), servers, "{field}");
    }
    let embeds = |dialect: &&Dialect| {
        let error = OpenAiProtocol::new(**dialect).embed(&EmbedRequest::new("m", ["x"])).err();
        assert!(error.as_ref().is_none_or(|error| error.kind() == ErrorKind::Unsupported));
        error.is_some()
    };
    let none: Vec<_> = ROWS.iter().filter(embeds).map(|dialect| dialect.name).collect();
    assert_eq!(none, ["groq", "deepseek"]);
}

#[test]
fn dialect_fields_have_server_names() {
    let mut request = asked().tool_choice(ToolChoice::Required);
    request.sampling.seed = Some(7);
    request.sampling.max_output_tokens = Some(9);
    let body = sent(Dialect::MISTRAL, &request);
    assert_eq!(
        (&body["random_seed"], &body["max_tokens"], &body["tool_choice"]),
        (&7.into(), &9.into(), &"any".into())
    );
    let body = sent(Dialect::GROQ, &request);
    let names = (&body["seed"], &body["max_completion_tokens"], &body["tool_choice"]);
    assert_eq!(names, (&7.into(), &9.into(), &"required".into()));
    let request = EmbedRequest { dimensions: Some(4), ..EmbedRequest::new("m", ["x"]) };
    let body: Value =
        serde_json::from_slice(&OpenAiProtocol::new(Dialect::MISTRAL).embed(&request).unwrap().body).unwrap();
    assert_eq!((&body["output_dimension"], body.get("dimensions")), (&4.into(), None));
}

#[test]
fn dialect_without_developer_role_sends_system() {
    let request = ChatRequest::new("m").message(Message::new(Role::Developer, vec![Part::text("be brief")])).user("hi");
    let role = |dialect| sent(dialect, &request)["messages"][0]["role"].take();
    assert_eq!((role(Dialect::OPENAI), role(Dialect::MISTRAL)), ("developer".into(), "system".into()));
}

#[test]
fn dialect_requests_stream_usage_if_needed() {
    let streamed = |dialect: Dialect| {
        let body = OpenAiProtocol::new(dialect).chat(&asked(), true).unwrap().body;
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    assert_eq!(streamed(Dialect::DEEPSEEK)["stream_options"], json!({"include_usage": true}));
    assert_eq!(
        streamed(Dialect::MISTRAL),
        json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true})
    );
}

#[test]
fn dialect_fits_tool_call_ids() {
    let call = ToolCall { id: "call_abc".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() };
    let request = asked()
        .message(Message::new(Role::Assistant, vec![Part::ToolCall(call)]))
        .message(Message::tool("call_abc", "1"));
    let body = sent(Dialect::MISTRAL, &request);
    let id = body["messages"][1]["tool_calls"][0]["id"].as_str().unwrap();
    assert_eq!((id.len(), body["messages"][2]["tool_call_id"].as_str()), (9, Some(id)));
    assert_eq!(sent(Dialect::GROQ, &request)["messages"][2]["tool_call_id"], "call_abc");
}

/// Reads a server's message, and returns it as it is sent back to the server.
fn again(dialect: Dialect, message: Value) -> Value {
    let body = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).to_string();
    let response: ChatResponse = OpenAiProtocol::new(dialect).read_chat(body.as_bytes()).unwrap().output;
    let message = Message::from(response.choices[0].clone());
    sent(dialect, &asked().message(message).user("go on"))["messages"][1].take()
}

#[test]
fn dialect_sends_reasoning_in_server_form() {
    let call = json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let thought = json!({"role": "assistant", "content": "4", "reasoning_content": "2+2"});
    let acted = json!({"role": "assistant", "content": null, "reasoning_content": "2+2", "tool_calls": call});
    assert_eq!(again(Dialect::DEEPSEEK, thought.clone()), json!({"role": "assistant", "content": "4"}));
    assert_eq!(again(Dialect::DEEPSEEK, acted.clone()), acted);
    let parts =
        json!([{"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]}, {"type": "text", "text": "4"}]);
    let thinking = json!({"role": "assistant", "content": parts});
    assert_eq!(again(Dialect::MISTRAL, thinking.clone()), thinking);
    let details = json!([{"type": "reasoning.text", "text": "2+2", "signature": "s", "format": "f", "index": 0}]);
    let signed = json!({"role": "assistant", "content": "4", "reasoning": "2+2", "reasoning_details": details});
    assert_eq!(again(Dialect::OPENROUTER, signed.clone()), signed);
    let mut dropping = Dialect::OPENAI;
    dropping.approximate = true;
    for message in [thought, signed] {
        assert_eq!(again(dropping, message), json!({"role": "assistant", "content": "4"}));
    }
    let mut own = Message::new(
        Role::Assistant,
        vec![Part::Reasoning(Reasoning { text: "2+2".into(), ..Reasoning::default() }), Part::text("4")],
    );
    own.extra.insert("reasoning", "mine");
    assert_eq!(sent(Dialect::OPENROUTER, &asked().message(own))["messages"][1]["reasoning"], "mine");
}
