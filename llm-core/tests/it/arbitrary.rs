//! Strategies for requests and responses of any form. Their texts are few and short, and some begin like the encoding
//! of a text, so that adjacent values are easily confused.

use std::sync::Arc;

use llm_core::{
    ChatRequest, ChatResponse, Choice, Extra, FinishReason, Message, Part, Role, Tool, ToolCall, ToolResult,
    chat::{FunctionTool, Image, ImageSource, JsonSchema, Reasoning, ResponseFormat, Sampling, ToolChoice},
};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Map, Value};

pub(crate) fn text() -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(&["", "a", "ab", "\u{7}", "\u{7}a", "user"][..]).prop_map(Arc::from)
}

/// Generates any JSON, including integers above 2^53 and fractions.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0u64..3).prop_map(Value::from),
        prop::sample::select(&[-1i64, 1 << 53, (1 << 53) + 1][..]).prop_map(Value::from),
        prop::sample::select(&[0.5, 1.0, 0.1 + 0.2][..]).prop_map(Value::from),
        text().prop_map(|text| Value::from(&*text)),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((text(), inner), 0..3).prop_map(|fields| Value::Object(object(fields))),
        ]
    })
}

fn object(fields: Vec<(Arc<str>, Value)>) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

pub(crate) fn extra() -> impl Strategy<Value = Extra> {
    let fields = vec((text(), json()), 1..3).prop_map(|fields| Extra::from(object(fields)));
    prop_oneof![3 => Just(Extra::default()), 1 => fields]
}

pub(crate) fn tool_call() -> impl Strategy<Value = ToolCall> {
    (text(), text(), text(), extra()).prop_map(|(id, name, arguments, extra)| ToolCall { id, name, arguments, extra })
}

pub(crate) fn part() -> impl Strategy<Value = Part> {
    let bytes = vec(any::<u8>(), 0..3);
    let source = prop_oneof![
        (text(), bytes).prop_map(|(media_type, data)| ImageSource::Bytes { media_type, data: data.into() }),
        text().prop_map(|url| ImageSource::Url { url }),
    ];
    let leaf = prop_oneof![
        3 => (text(), extra()).prop_map(|(text, extra)| Part::Text { text, extra }),
        1 => text().prop_map(|text| Part::Refusal { text }),
        1 => (source, option::of(text()), extra())
            .prop_map(|(source, detail, extra)| Part::Image(Image { source, detail, extra })),
        2 => tool_call().prop_map(Part::ToolCall),
        2 => (text(), option::of(text()), extra())
            .prop_map(|(text, signature, extra)| Part::Reasoning(Reasoning { text, signature, extra })),
        1 => json().prop_map(|value| Part::Other { value: Arc::new(value) }),
    ];
    leaf.prop_recursive(1, 3, 2, |inner| {
        (text(), vec(inner, 0..2), any::<bool>(), extra()).prop_map(|(call_id, content, is_error, extra)| {
            Part::ToolResult(ToolResult { call_id, content, is_error, extra })
        })
    })
}

fn message() -> impl Strategy<Value = Message> {
    let roles = [Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool];
    (prop::sample::select(roles.to_vec()), vec(part(), 0..3), option::of(text()), extra()).prop_map(
        |(role, parts, name, extra)| {
            let mut message = Message::new(role, parts);
            (message.name, message.extra) = (name, extra);
            message
        },
    )
}

fn tool() -> impl Strategy<Value = Tool> {
    let function = (text(), option::of(text()), option::of(json()), option::of(any::<bool>()), extra()).prop_map(
        |(name, description, parameters, strict, extra)| {
            let parameters = parameters.map(Arc::new);
            Tool::Function(FunctionTool { name, description, parameters, strict, extra })
        },
    );
    prop_oneof![3 => function, 1 => json().prop_map(|value| Tool::Other(Arc::new(value)))]
}

fn tool_choice() -> impl Strategy<Value = ToolChoice> {
    prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        text().prop_map(ToolChoice::Function),
        json().prop_map(|value| ToolChoice::Other(Arc::new(value))),
    ]
}

fn response_format() -> impl Strategy<Value = ResponseFormat> {
    let schema = (text(), option::of(text()), json(), option::of(any::<bool>())).prop_map(
        |(name, description, schema, strict)| {
            ResponseFormat::JsonSchema(JsonSchema { name, description, schema: Arc::new(schema), strict })
        },
    );
    prop_oneof![Just(ResponseFormat::Text), Just(ResponseFormat::JsonObject), schema]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let number = || option::weighted(0.2, prop::sample::select(&[0.0, 0.5, 1.0][..]));
    let count = || option::weighted(0.2, 0u32..3);
    (
        (number(), number(), number(), number()),
        (count(), option::weighted(0.2, -1i64..2), vec(text(), 0..2), count(), count()),
        (option::weighted(0.2, any::<bool>()), count()),
    )
        .prop_map(|(numbers, (top_k, seed, stop, n, most), (logprobs, top_logprobs))| Sampling {
            temperature: numbers.0,
            top_p: numbers.1,
            frequency_penalty: numbers.2,
            presence_penalty: numbers.3,
            top_k: top_k.map(u64::from),
            seed,
            stop,
            n,
            max_output_tokens: most.map(u64::from),
            logprobs,
            top_logprobs,
        })
}

pub(crate) fn request() -> impl Strategy<Value = ChatRequest> {
    (
        (text(), vec(message(), 0..3), vec(tool(), 0..2), option::of(tool_choice())),
        (option::of(any::<bool>()), option::of(response_format()), option::of(text()), sampling(), extra()),
    )
        .prop_map(|((model, messages, tools, tool_choice), (parallel, format, effort, sampling, extra))| {
            ChatRequest {
                model,
                messages: Arc::new(messages),
                tools: Arc::new(tools),
                tool_choice,
                parallel_tool_calls: parallel,
                response_format: format,
                reasoning_effort: effort,
                sampling,
                extra,
            }
        })
}

/// Generates any reason for the end of a response.
pub(crate) fn finish() -> impl Strategy<Value = FinishReason> {
    prop_oneof![
        Just(FinishReason::Stop),
        Just(FinishReason::Length),
        Just(FinishReason::ToolCalls),
        Just(FinishReason::Unknown),
        text().prop_map(FinishReason::Failed),
        text().prop_map(FinishReason::Other),
    ]
}

/// Generates a response with up to three choices, numbered as vendors number them.
pub(crate) fn response() -> impl Strategy<Value = ChatResponse> {
    let choice = (vec(part(), 0..6), finish(), extra(), extra());
    (text(), text(), vec(choice, 0..3), extra()).prop_map(|(id, model, choices, extra)| {
        let numbered = choices.into_iter().zip(0..).map(|((parts, finish, extra, message_extra), index)| {
            let mut choice = Choice::new(index, parts, finish);
            (choice.extra, choice.message_extra) = (extra, message_extra);
            choice
        });
        let mut response = ChatResponse::new(id, model, numbered.collect());
        response.extra = extra;
        response
    })
}
