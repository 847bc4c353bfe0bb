use std::sync::Arc;

use llm_core::{Charge, ChatResponse, Choice, Error, Extra, FinishReason};
use serde_json::Value;

use super::{
    super::{
        error::classify_inner,
        fields::{Fields, malformed, object, take_index, take_list, take_object, take_text},
    },
    Decoded, split_content, take_usage,
    tool::take_tool_calls,
};

/// Reads the answer to a chat completion.
///
/// Fields without a name in [`ChatResponse`] stay in the `extra` of the answer, the choice or the message they came
/// with; `object`, the message's `role` and an empty list of `annotations` say nothing and go. Usage may be missing.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if it is not UTF-8, not JSON (a proxy's page), or has no
/// choices: it was sent, so its charge is unknown, or known if it says its usage. If it holds an `error` instead, that.
pub fn decode_chat(body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
    let mut fields = object(body)?;
    if !fields.contains_key("choices")
        && let Some(error) = fields.get("error").filter(|error| !error.is_null())
    {
        return Err(classify_inner(error, false));
    }
    let usage = take_usage(&mut fields);
    let answer = response(fields).map_err(|error| match usage {
        Some(usage) => error.with_charge(Charge::Known(usage)),
        None => error,
    })?;
    let service_tier = answer.extra.get("service_tier").and_then(Value::as_str).map(Arc::from);
    Ok(Decoded { answer, usage, service_tier })
}

pub(in super::super) fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.into()),
    }
}

fn response(mut fields: Fields) -> Result<ChatResponse, Error> {
    let choices = take_list(&mut fields, "choices").ok_or_else(|| malformed("the answer has no choices"))?;
    if choices.is_empty() {
        return Err(malformed("the answer has an empty list of choices"));
    }
    let id = take_text(&mut fields, "id").unwrap_or_default();
    let model = take_text(&mut fields, "model").unwrap_or_default();
    fields.remove("object");
    let choices = choices.into_iter().zip(0..).map(|(value, at)| choice(value, at)).collect::<Result<_, _>>()?;
    let mut answer = ChatResponse::new(id, model, choices);
    answer.extra = Extra::from(fields);
    Ok(answer)
}

fn choice(value: Value, at: u32) -> Result<Choice, Error> {
    let Value::Object(mut fields) = value else { return Err(malformed("a choice of the answer is not an object")) };
    let mut message =
        take_object(&mut fields, "message").ok_or_else(|| malformed("a choice of the answer has no message"))?;
    let mut parts = split_content(&mut message)?;
    parts.extend(take_tool_calls(&mut message));
    message.remove("role");
    if message.get("annotations").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        message.remove("annotations");
    }
    let index = take_index(&mut fields, "index").unwrap_or(at);
    let finish = take_text(&mut fields, "finish_reason").map_or(FinishReason::Unknown, |reason| finish_reason(&reason));
    let mut choice = Choice::new(index, parts, finish);
    choice.extra = Extra::from(fields);
    choice.message_extra = Extra::from(message);
    Ok(choice)
}
