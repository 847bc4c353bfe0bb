use std::sync::Arc;

use llm_core::{
    ChatRequest, EmbedInput, EmbedRequest, Extra, Message, Part, Role, Tool, ToolCall, ToolResult,
    chat::{FunctionTool, Image, ImageSource, JsonSchema, Reasoning, ResponseFormat, Sampling, ToolChoice},
};
use proptest::prelude::*;
use serde_json::json;

use super::{assert_all_differ, of};
use crate::arbitrary;

type Change<T> = (&'static str, fn(&mut T));

/// One change for each field that affects the response. The changes apply to requests made by [`with_all`].
const CHANGES: &[Change<ChatRequest>] = &[
    ("model", |r| r.model = format!("{}x", r.model).into()),
    ("messages: one more", |r| messages(r).push(Message::user("one more"))),
    ("messages: order", |r| messages(r).swap(0, 1)),
    ("message role", |r| messages(r)[0].role = Role::Developer),
    ("message name", |r| messages(r)[0].name = Some("other".into())),
    ("message name: none", |r| messages(r)[0].name = None),
    ("message extra", |r| messages(r)[0].extra.insert("audio", json!({"id": 1}))),
    ("message extra: a transport field's name", |r| messages(r)[0].extra.insert("user", "x")),
    ("parts: order", |r| messages(r)[0].parts.swap(0, 1)),
    ("parts: one less", |r| drop(messages(r)[0].parts.remove(0))),
    ("parts: split", |r| drop(messages(r)[0].parts.splice(0..1, [Part::text("te"), Part::text("xt")]))),
    ("text", |r| parts(r)[0] = Part::text("Text")),
    ("text to refusal", |r| parts(r)[0] = Part::Refusal { text: "text".into() }),
    ("text to reasoning", |r| parts(r)[0] = Part::Reasoning(Reasoning { text: "text".into(), ..Reasoning::default() })),
    ("text to other", |r| parts(r)[0] = Part::Other { value: json!("text").into() }),
    ("text extra", |r| extend(r, 0, "citations")),
    ("image extra", |r| extend(r, 1, "a")),
    ("image url extra", |r| extend(r, 2, "a")),
    ("tool result extra", |r| tool_result(r).extra.insert("a", 1)),
    ("image bytes", |r| parts(r)[1] = Part::image("image/png", &b"pixelz"[..])),
    ("image media type", |r| parts(r)[1] = Part::image("image/gif", &b"pixels"[..])),
    ("image detail", |r| detail(r, 1)),
    ("image bytes to an address", |r| parts(r)[1] = Part::image_url("pixels")),
    ("image url", |r| parts(r)[2] = Part::image_url("https://a.test/2.png")),
    ("image url detail", |r| detail(r, 2)),
    ("tool call id", |r| tool_call(r).id = "call_2".into()),
    ("tool call name", |r| tool_call(r).name = "g".into()),
    ("tool call arguments", |r| tool_call(r).arguments = "{ }".into()),
    ("tool call extra", |r| tool_call(r).extra.insert("type", "custom")),
    ("tool result call id", |r| tool_result(r).call_id = "call_2".into()),
    ("tool result content", |r| tool_result(r).content.push(Part::text("more"))),
    ("tool result is_error", |r| tool_result(r).is_error = true),
    ("reasoning text", |r| reasoning(r).text = "other".into()),
    ("reasoning signature", |r| reasoning(r).signature = Some("seal".into())),
    ("reasoning extra", |r| reasoning(r).extra.insert("id", "r1")),
    ("refusal text", |r| parts(r)[6] = Part::Refusal { text: "never".into() }),
    ("other part", |r| parts(r)[7] = Part::Other { value: json!({"type": "audio", "seconds": 2}).into() }),
    ("tools: order", |r| tools(r).swap(0, 1)),
    ("tools: one less", |r| drop(tools(r).remove(0))),
    ("tool name", |r| function(r).name = "g".into()),
    ("tool description", |r| function(r).description = None),
    ("tool parameters", |r| function(r).parameters = Some(json!({"type": "object", "required": []}).into())),
    ("tool strict", |r| function(r).strict = Some(false)),
    ("tool strict: unset", |r| function(r).strict = None),
    ("tool extra", |r| function(r).extra.insert("defer_loading", true)),
    ("other tool", |r| tools(r)[1] = Tool::Other(json!({"type": "file_search"}).into())),
    ("tool_choice", |r| r.tool_choice = Some(ToolChoice::Required)),
    ("tool_choice: auto", |r| r.tool_choice = Some(ToolChoice::Auto)),
    ("tool_choice: none", |r| r.tool_choice = Some(ToolChoice::None)),
    ("tool_choice: unset", |r| r.tool_choice = None),
    ("tool_choice: another function", |r| r.tool_choice = Some(ToolChoice::Function("g".into()))),
    ("tool_choice: other", |r| r.tool_choice = Some(ToolChoice::Other(json!("f").into()))),
    ("parallel_tool_calls", |r| r.parallel_tool_calls = Some(false)),
    ("parallel_tool_calls: unset", |r| r.parallel_tool_calls = None),
    ("format: text", |r| r.response_format = Some(ResponseFormat::Text)),
    ("format: json object", |r| r.response_format = Some(ResponseFormat::JsonObject)),
    ("format: unset", |r| r.response_format = None),
    ("format name", |r| format(r).name = "other".into()),
    ("format description", |r| format(r).description = Some("what for".into())),
    ("format schema", |r| format(r).schema = json!({"type": "array"}).into()),
    ("format strict", |r| format(r).strict = Some(false)),
    ("format strict: unset", |r| format(r).strict = None),
    ("reasoning_effort", |r| r.reasoning_effort = Some("minimal".into())),
    ("reasoning_effort: unset", |r| r.reasoning_effort = None),
    ("temperature", |r| r.sampling.temperature = Some(0.7)),
    ("temperature: unset", |r| r.sampling.temperature = None),
    ("top_p", |r| r.sampling.top_p = Some(0.7)),
    ("top_p: unset", |r| r.sampling.top_p = None),
    ("top_k", |r| r.sampling.top_k = Some(7)),
    ("top_k: unset", |r| r.sampling.top_k = None),
    ("frequency_penalty", |r| r.sampling.frequency_penalty = Some(0.7)),
    ("frequency_penalty: unset", |r| r.sampling.frequency_penalty = None),
    ("presence_penalty", |r| r.sampling.presence_penalty = Some(0.7)),
    ("presence_penalty: unset", |r| r.sampling.presence_penalty = None),
    ("seed", |r| r.sampling.seed = Some((1 << 53) + 1)),
    ("seed: unset", |r| r.sampling.seed = None),
    ("stop: one more", |r| r.sampling.stop.push("x".into())),
    ("stop: split", |r| r.sampling.stop = vec!["E".into(), "ND".into()]),
    ("n", |r| r.sampling.n = Some(7)),
    ("n: unset", |r| r.sampling.n = None),
    ("max_output_tokens", |r| r.sampling.max_output_tokens = Some(7)),
    ("max_output_tokens: unset", |r| r.sampling.max_output_tokens = None),
    ("logprobs", |r| r.sampling.logprobs = Some(false)),
    ("logprobs: unset", |r| r.sampling.logprobs = None),
    ("top_logprobs", |r| r.sampling.top_logprobs = Some(7)),
    ("top_logprobs: unset", |r| r.sampling.top_logprobs = None),
    ("extra service_tier", |r| r.extra.insert("service_tier", "flex")),
    ("extra store", |r| r.extra.insert("store", true)),
    ("extra logit_bias", |r| r.extra.insert("logit_bias", json!({"50256": -100}))),
    ("extra logit_bias: one off", |r| r.extra.insert("logit_bias", json!({"50256": -99}))),
    ("extra max_completion_tokens", |r| r.extra.insert("max_completion_tokens", 10)),
    ("extra logprobs", |r| r.extra.insert("logprobs", true)),
    ("extra 2^53", |r| r.extra.insert("seed", 1u64 << 53)),
    ("extra 2^53 + 1", |r| r.extra.insert("seed", (1u64 << 53) + 1)),
    ("extra null", |r| r.extra.insert("seed", json!(null))),
    ("extra nested transport field", |r| r.extra.insert("web", json!({"user": "x"}))),
    ("extra of a later API", |r| r.extra.insert("a_field_of_next_year", "x")),
];

const EMBED_CHANGES: &[Change<EmbedRequest>] = &[
    ("model", |r| r.model = "n".into()),
    ("inputs: order", |r| Arc::make_mut(&mut r.inputs).reverse()),
    ("inputs: one less", |r| drop(Arc::make_mut(&mut r.inputs).pop())),
    ("inputs: joined", |r| r.inputs = Arc::new(vec![EmbedInput::Text("ab".into()), tokens(&[97, 98])])),
    ("text", |r| Arc::make_mut(&mut r.inputs)[0] = EmbedInput::Text("c".into())),
    ("text to tokens", |r| Arc::make_mut(&mut r.inputs)[0] = tokens(&[97])),
    ("tokens", |r| Arc::make_mut(&mut r.inputs)[2] = tokens(&[97, 99])),
    ("tokens: split", |r| drop(Arc::make_mut(&mut r.inputs).splice(2.., [tokens(&[97]), tokens(&[98])]))),
    ("dimensions", |r| r.dimensions = Some(257)),
    ("dimensions: unset", |r| r.dimensions = None),
    ("extra input_type", |r| r.extra.insert("input_type", "query")),
    ("extra metadata", |r| r.extra.insert("metadata", "x")),
];

#[test]
fn fingerprint_of_chat_counts_every_field() {
    let base = with_all(ChatRequest::new("m"));
    let mut encoded = vec![("the unchanged request", of(&base))];
    encoded.extend(CHANGES.iter().map(|(name, change)| (*name, of(&changed(&base, *change)))));
    assert_all_differ(&encoded);
}

#[test]
fn fingerprint_of_embed_counts_every_field() {
    let mut base = EmbedRequest::new("m", ["a", "b"]);
    Arc::make_mut(&mut base.inputs).push(tokens(&[97, 98]));
    base.dimensions = Some(256);
    let mut encoded = vec![("the unchanged request", of(&base))];
    encoded.extend(EMBED_CHANGES.iter().map(|(name, change)| (*name, of(&changed(&base, *change)))));
    assert_all_differ(&encoded);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn fingerprint_counts_fields_of_any_request(request in arbitrary::request()) {
        let base = with_all(request);
        let before = of(&base);
        for (name, change) in CHANGES {
            prop_assert_ne!(of(&changed(&base, *change)), before.clone(), "{}", name);
        }
    }

    #[test]
    fn digest_of_changed_request_differs(request in arbitrary::request()) {
        let digest = |request: &ChatRequest| super::digest(request);
        let base = with_all(request);
        prop_assert_ne!(digest(&changed(&base, CHANGES[0].1)), digest(&base));
    }
}

fn changed<T: Clone>(base: &T, change: fn(&mut T)) -> T {
    let mut request = base.clone();
    change(&mut request);
    request
}

/// Sets each field to a value that every change modifies. The fields that the request already has keep their content.
fn with_all(mut request: ChatRequest) -> ChatRequest {
    let call = ToolCall { id: "call_1".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() };
    let result = ToolResult {
        call_id: "call_1".into(),
        content: vec![Part::text("done")],
        is_error: false,
        extra: Extra::default(),
    };
    let all = vec![
        Part::text("text"),
        Part::image("image/png", &b"pixels"[..]),
        Part::image_url("https://a.test/1.png"),
        Part::ToolCall(call),
        Part::ToolResult(result),
        Part::Reasoning(Reasoning { text: "hm".into(), ..Reasoning::default() }),
        Part::Refusal { text: "no".into() },
        Part::Other { value: json!({"type": "audio", "seconds": 1}).into() },
    ];
    let mut first = Message::new(Role::Assistant, all);
    first.name = Some("speaker".into());
    messages(&mut request).splice(0..0, [first, Message::user("second")]);
    let function = FunctionTool {
        name: "f".into(),
        description: Some("does".into()),
        parameters: Some(json!({"type": "object"}).into()),
        strict: Some(true),
        ..FunctionTool::default()
    };
    let search = Tool::Other(json!({"type": "web_search"}).into());
    tools(&mut request).splice(0..0, [Tool::Function(function), search]);
    request.tool_choice = Some(ToolChoice::Function("f".into()));
    request.parallel_tool_calls = Some(true);
    let schema = json!({"type": "object"}).into();
    let format = JsonSchema { name: "form".into(), description: None, schema, strict: Some(true) };
    request.response_format = Some(ResponseFormat::JsonSchema(format));
    request.reasoning_effort = Some("high".into());
    request.sampling = Sampling {
        temperature: Some(0.25),
        top_p: Some(0.25),
        top_k: Some(3),
        frequency_penalty: Some(0.25),
        presence_penalty: Some(0.25),
        seed: Some(1 << 53),
        stop: vec!["END".into()],
        n: Some(3),
        max_output_tokens: Some(3),
        logprobs: Some(true),
        top_logprobs: Some(3),
    };
    request
}

fn messages(request: &mut ChatRequest) -> &mut Vec<Message> {
    Arc::make_mut(&mut request.messages)
}

fn parts(request: &mut ChatRequest) -> &mut Vec<Part> {
    &mut messages(request)[0].parts
}

fn tools(request: &mut ChatRequest) -> &mut Vec<Tool> {
    Arc::make_mut(&mut request.tools)
}

fn detail(request: &mut ChatRequest, at: usize) {
    let Part::Image(Image { source, detail, .. }) = &mut parts(request)[at] else { panic!("part {at} is an image") };
    assert!(matches!(source, ImageSource::Bytes { .. }) == (at == 1));
    *detail = Some("low".into());
}

fn tool_call(request: &mut ChatRequest) -> &mut ToolCall {
    let Part::ToolCall(call) = &mut parts(request)[3] else { panic!("part 3 is a tool call") };
    call
}

fn extend(request: &mut ChatRequest, at: usize, name: &str) {
    let part = &mut parts(request)[at];
    *part = part.clone().with_extra(name, 1);
}

fn tool_result(request: &mut ChatRequest) -> &mut ToolResult {
    let Part::ToolResult(result) = &mut parts(request)[4] else { panic!("part 4 is a tool result") };
    result
}

fn reasoning(request: &mut ChatRequest) -> &mut Reasoning {
    let Part::Reasoning(reasoning) = &mut parts(request)[5] else { panic!("part 5 is reasoning") };
    reasoning
}

fn function(request: &mut ChatRequest) -> &mut FunctionTool {
    let Tool::Function(function) = &mut tools(request)[0] else { panic!("tool 0 is a function") };
    function
}

fn format(request: &mut ChatRequest) -> &mut JsonSchema {
    let Some(ResponseFormat::JsonSchema(format)) = &mut request.response_format else { panic!("a schema is set") };
    format
}

fn tokens(tokens: &[u32]) -> EmbedInput {
    EmbedInput::Tokens(tokens.into())
}
