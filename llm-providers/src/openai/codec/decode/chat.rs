use std::sync::Arc;

use llm_core::{Charge, ChatResponse, Choice, Error, ErrorKind, Extra, FinishReason};
use serde_json::Value;

use super::{
    super::{
        Dialect,
        error::RULES,
        fields::{Fields, malformed, object_with, served, take_index, take_list, take_object, take_text, take_word},
    },
    Decoded, billed, split_content, take_details, take_usage,
    tool::take_tool_calls,
};
use crate::protocol::usage::charged;
use crate::protocol::{error::ErrorBody, finish_reason, usage::StatedUsage};

/// Reads the response to a chat completion.
///
/// Fields that [`ChatResponse`] does not have are kept in the `extra` of their response, choice or message; `object`,
/// the message's `role` and an empty list of `annotations` carry no information and are dropped. The usage may be
/// missing. Fewer choices than requested are not an error, because they were paid for.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if the body is not UTF-8, not JSON (such as a proxy's
/// page), or has no choices. The charge is the stated usage, or unknown without one, because the request was sent. If
/// the body holds an `error` instead, that error is returned.
pub(crate) fn chat(body: &[u8], dialect: &Dialect) -> Result<Decoded<ChatResponse>, Error> {
    let mut fields = object_with(body, &["function"], "arguments")?;
    if let Some(error) = ErrorBody::in_response(&fields, "choices") {
        return Err(RULES.classify_inner(&error, false));
    }
    let billed = billed(&fields);
    let mut stated = StatedUsage::default();
    take_usage(&mut fields, dialect, &mut stated);
    let service_tier: Option<Arc<str>> = service_tier(|name| fields.get(name)).map(Arc::from);
    let mut accounting = served(fields.get("model"), service_tier.clone(), &[]);
    accounting.cost = billed;
    let response = response(fields).map_err(|error| charged(error, &stated, accounting))?;
    Ok(Decoded::stated(response, &stated, service_tier).with_billed(billed))
}

/// Reads the service class, which OpenAI states beside the usage and Mistral inside the usage.
pub(crate) fn service_tier<'f>(field: impl Fn(&str) -> Option<&'f Value>) -> Option<&'f str> {
    let beside = field("service_tier").and_then(Value::as_str);
    beside.or_else(|| field("usage")?.get("service_tier")?.as_str())
}

/// Removes the reason for a choice's end from its fields.
///
/// # Errors
///
/// The error that a server states as the reason if it failed while it responded, because such a response is incomplete.
pub(crate) fn take_finish(choice: &mut Fields) -> Result<FinishReason, Error> {
    let Some(word) = take_word(choice, "finish_reason") else { return Ok(FinishReason::Unknown) };
    let kind = match word.as_str() {
        "insufficient_system_resource" => ErrorKind::Overloaded,
        "error" => ErrorKind::Server,
        word => return Ok(finish_reason(word)),
    };
    let message = format!("the vendor broke the response off, giving as the reason: {word}");
    Err(Error::new(kind, message).with_code(word).with_charge(Charge::Unknown))
}

fn response(mut fields: Fields) -> Result<ChatResponse, Error> {
    let choices = take_list(&mut fields, "choices").ok_or_else(|| malformed("the response has no choices"))?;
    if choices.is_empty() {
        return Err(malformed("the response has an empty list of choices"));
    }
    let id = take_text(&mut fields, "id").unwrap_or_default();
    let model = take_text(&mut fields, "model").unwrap_or_default();
    fields.remove("object");
    let choices = choices.into_iter().zip(0..).map(|(value, at)| choice(value, at)).collect::<Result<_, _>>()?;
    let mut response = ChatResponse::new(id, model, choices);
    response.extra = Extra::from(fields);
    Ok(response)
}

fn choice(value: Value, at: u32) -> Result<Choice, Error> {
    let Value::Object(mut fields) = value else { return Err(malformed("a choice of the response is not an object")) };
    // Some routers report a failure in the field `error` of the choice.
    if let Some(error) = fields.get("error").filter(|error| error.is_object()) {
        return Err(RULES.classify_inner(&ErrorBody::of(error), false));
    }
    let finish = take_finish(&mut fields)?;
    // Azure's filter removes the whole message, so a choice without a message is valid.
    let filtered = finish == FinishReason::ContentFilter;
    let mut message = match take_object(&mut fields, "message") {
        Some(message) => message,
        None if filtered => Fields::new(),
        None => return Err(malformed("a choice of the response has no message")),
    };
    let mut parts = split_content(&mut message)?;
    parts.extend(take_tool_calls(&mut message));
    parts.extend(take_details(&mut message));
    message.remove("role");
    if message.get("annotations").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        message.remove("annotations");
    }
    let index = take_index(&mut fields, "index").unwrap_or(at);
    let mut choice = Choice::new(index, parts, finish);
    choice.extra = Extra::from(fields);
    choice.message_extra = Extra::from(message);
    Ok(choice)
}
