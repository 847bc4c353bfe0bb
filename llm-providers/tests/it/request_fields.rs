//! Tests of every field of a request, with every vendor and server: the field is sent, or the request is refused.

use std::sync::Arc;

use llm_providers::{
    anthropic::AnthropicProtocol,
    gemini::GeminiProtocol,
    llm_core::{
        ChatRequest, Error, ErrorKind, Extra, Message, Part, Role, Tool, ToolCall, ToolResult,
        chat::{FunctionTool, JsonSchema, Reasoning, ResponseFormat, ToolChoice},
    },
    openai::{Dialect, OpenAiProtocol},
    protocol::VendorProtocol,
};
use serde_json::json;

type Wish = (&'static str, fn(&mut ChatRequest));

/// Fields to test, each as one change to [`plain`].
const WISHES: [Wish; 46] = [
    ("temperature", |r| r.sampling.temperature = Some(0.25)),
    ("top_p", |r| r.sampling.top_p = Some(0.5)),
    ("top_k", |r| r.sampling.top_k = Some(7)),
    ("frequency_penalty", |r| r.sampling.frequency_penalty = Some(0.5)),
    ("presence_penalty", |r| r.sampling.presence_penalty = Some(-0.5)),
    ("seed", |r| r.sampling.seed = Some(7)),
    ("stop", |r| r.sampling.stop = vec!["end".into()]),
    ("n", |r| r.sampling.n = Some(2)),
    ("max_output_tokens", |r| r.sampling.max_output_tokens = Some(7)),
    ("logprobs", |r| r.sampling.logprobs = Some(true)),
    ("top_logprobs", |r| r.sampling.top_logprobs = Some(2)),
    ("tool_choice none", |r| r.tool_choice = Some(ToolChoice::None)),
    ("tool_choice required", |r| r.tool_choice = Some(ToolChoice::Required)),
    ("tool_choice function", |r| r.tool_choice = Some(ToolChoice::Function("f".into()))),
    ("tool_choice other", |r| r.tool_choice = Some(ToolChoice::Other(json!({"type": "odd"}).into()))),
    ("parallel_tool_calls", |r| r.parallel_tool_calls = Some(false)),
    ("response_format object", |r| r.response_format = Some(ResponseFormat::JsonObject)),
    ("response_format schema", |r| r.response_format = Some(schema(None))),
    ("response_format description", |r| r.response_format = Some(schema(Some("why")))),
    ("reasoning_effort low", |r| r.reasoning_effort = Some("low".into())),
    ("reasoning_effort none", |r| r.reasoning_effort = Some("none".into())),
    ("reasoning_effort minimal", |r| r.reasoning_effort = Some("minimal".into())),
    ("extra", |r| r.extra.insert("odd", 7)),
    ("tool", |r| push(&mut r.tools, Tool::Function(FunctionTool { name: "g".into(), ..FunctionTool::default() }))),
    ("tool other", |r| push(&mut r.tools, Tool::Other(json!({"type": "odd"}).into()))),
    ("tool description", |r| function(r).description = Some("why".into())),
    ("tool parameters", |r| function(r).parameters = Some(json!({"type": "object", "odd": 7}).into())),
    ("tool strict", |r| function(r).strict = Some(true)),
    ("tool extra", |r| function(r).extra.insert("odd", 7)),
    ("instructions", |r| push(&mut r.messages, Message::system("later"))),
    ("instructions extra", |r| message(r, 0).extra.insert("odd", 7)),
    ("message name", |r| message(r, 1).name = Some("ann".into())),
    ("message extra", |r| message(r, 1).extra.insert("odd", 7)),
    ("response name", |r| message(r, 2).name = Some("ann".into())),
    ("result name", |r| message(r, 3).name = Some("ann".into())),
    ("text extra", |r| extend(&mut message(r, 1).parts[0])),
    ("image", |r| message(r, 1).parts.push(Part::image("image/png", &b"i"[..]))),
    ("image at an address", |r| message(r, 1).parts.push(Part::image_url("https://host.test/i.png"))),
    ("part other", |r| message(r, 1).parts.push(Part::Other { value: json!({"type": "odd"}).into() })),
    ("call extra", |r| extend(&mut message(r, 2).parts[1])),
    ("reasoning", |r| message(r, 2).parts.insert(0, Part::Reasoning(thought(None)))),
    ("reasoning signature", |r| message(r, 2).parts.insert(0, Part::Reasoning(thought(Some("S"))))),
    ("refusal", |r| message(r, 2).parts.push(Part::Refusal { text: "no".into() })),
    ("result is_error", |r| result(r).is_error = true),
    ("result image", |r| result(r).content.push(Part::image("image/png", &b"i"[..]))),
    ("result extra", |r| extend(&mut message(r, 3).parts[0])),
];

/// Changes to an image. [`plain`] has no image.
const OF_IMAGES: [Wish; 2] = [
    ("image detail", |r| match &mut message(r, 1).parts[1] {
        Part::Image(image) => image.detail = Some("high".into()),
        other => panic!("{other:?}"),
    }),
    ("image extra", |r| extend(&mut message(r, 1).parts[1])),
];

fn plain() -> ChatRequest {
    let call = ToolCall { id: "callcallc".into(), name: "f".into(), arguments: "{}".into(), extra: Extra::default() };
    ChatRequest::new("claude-opus-5")
        .system("be brief")
        .user("hi")
        .message(Message::new(Role::Assistant, vec![Part::text("well"), Part::ToolCall(call)]))
        .message(Message::tool("callcallc", "done"))
        .tool(Tool::function("f", "what it does", json!({"type": "object"})))
}

fn schema(description: Option<&str>) -> ResponseFormat {
    let schema = Arc::new(json!({"type": "object"}));
    ResponseFormat::JsonSchema(JsonSchema {
        name: "a".into(),
        description: description.map(Into::into),
        schema,
        strict: Some(true),
    })
}

fn thought(signature: Option<&str>) -> Reasoning {
    Reasoning { text: "hm".into(), signature: signature.map(Into::into), extra: Extra::default() }
}

fn push<T: Clone>(to: &mut Arc<Vec<T>>, item: T) {
    Arc::make_mut(to).push(item);
}

fn message(request: &mut ChatRequest, at: usize) -> &mut Message {
    &mut Arc::make_mut(&mut request.messages)[at]
}

fn function(request: &mut ChatRequest) -> &mut FunctionTool {
    match &mut Arc::make_mut(&mut request.tools)[0] {
        Tool::Function(function) => function,
        other => panic!("{other:?}"),
    }
}

fn result(request: &mut ChatRequest) -> &mut ToolResult {
    match &mut message(request, 3).parts[0] {
        Part::ToolResult(result) => result,
        other => panic!("{other:?}"),
    }
}

fn extend(part: &mut Part) {
    *part = part.clone().with_extra("odd", 7);
}

type Write = Box<dyn Fn(&ChatRequest) -> Result<Vec<u8>, Error>>;

fn of(protocol: impl VendorProtocol) -> Write {
    Box::new(move |request| Ok(protocol.chat(request, false)?.body.to_vec()))
}

fn wires() -> Vec<(&'static str, Write)> {
    let rows = [
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
    let mut wires: Vec<_> = rows.into_iter().map(|row| (row.name, of(OpenAiProtocol::new(row)))).collect();
    wires.extend([("anthropic", of(AnthropicProtocol::default())), ("gemini itself", of(GeminiProtocol::default()))]);
    wires
}

/// Compares each change with the request that is sent without it. Returns the number of changes that were sent, over
/// all vendors and servers.
fn sent_or_refused(wishes: &[Wish], without: &ChatRequest) -> usize {
    let mut sent = 0;
    for (name, write) in wires() {
        // DeepSeek does not accept images.
        let Ok(usual) = write(without) else { continue };
        for (wish, make) in wishes {
            let mut request = without.clone();
            make(&mut request);
            match write(&request) {
                Ok(body) => {
                    assert_ne!(body, usual, "{name} drops {wish}");
                    sent += 1;
                }
                Err(error) => {
                    let refused = matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidRequest);
                    assert!(refused, "{name} {wish}: {error}");
                }
            }
        }
    }
    sent
}

#[test]
fn request_field_is_sent_or_refused() {
    assert!(wires().iter().all(|(_, write)| write(&plain()).is_ok()));
    let sent = sent_or_refused(&WISHES, &plain());
    assert!(sent > 11 * WISHES.len() * 2 / 3, "most of them have a place nearly everywhere: {sent}");
    let mut seen = plain();
    message(&mut seen, 1).parts.push(Part::image("image/png", &b"i"[..]));
    assert!(sent_or_refused(&OF_IMAGES, &seen) > 10);
}
