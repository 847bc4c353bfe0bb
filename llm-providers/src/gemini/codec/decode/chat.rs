use std::collections::BTreeMap;

use llm_core::{ChatResponse, Choice, Error, Extra, FinishReason};
use serde_json::Value;

use super::{
    super::{
        CallIds,
        error::RULES,
        fields::{Fields, malformed, object_with, served, take_index, take_list, take_object, take_text},
    },
    GROUNDS, PartialCall, ResponseUsage, array, blocked, read_part, searches, take_finish,
};
use crate::protocol::usage::charged;
use crate::protocol::{Decoded, error::ErrorBody};

/// Reads the response to `generateContent`, or the list of chunks with which `streamGenerateContent` responds if a
/// proxy drops `alt=sse`.
///
/// Fields that [`ChatResponse`] does not have are kept in the `extra` of their response, choice or message:
/// `safetyRatings` in that of the choice, counts that [`Usage`](llm_core::Usage) does not have under `usageMetadata` in
/// that of the response. The word of a filter that stopped a candidate is kept as `finishReason` in the choice's
/// `extra`. A response without candidates (because thinking took all output tokens) has no choices.
///
/// # Errors
///
/// [`ErrorKind::ContentFiltered`], with the reason as code, if the prompt was blocked; the charge is the stated usage.
/// [`ErrorKind::Malformed`] if the body is not UTF-8, not JSON, or not a response; the charge is the stated usage, or
/// unknown without one. [`ErrorKind::Incomplete`] if a list of chunks has no end. If the body holds an `error` instead,
/// that error is returned.
pub(crate) fn decode_chat(body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
    if body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start().first() == Some(&b'[') {
        return array::decode(body);
    }
    let mut fields = object_with(body, &["functionCall"], "args")?;
    if let Some(error) = ErrorBody::in_chunk(&fields, "candidates") {
        return Err(RULES.classify_inner(&error, false));
    }
    let mut stated = ResponseUsage::default();
    stated.take(&mut fields);
    let tier = stated.service_tier().cloned();
    let accounting = served(fields.get("modelVersion"), tier.clone(), &[]);
    if let Some(error) = blocked(&fields) {
        return Err(charged(error, stated.stated(), accounting));
    }
    let response = response(fields).map_err(|error| charged(error, stated.stated(), accounting))?;
    stated.searches = response.choices.iter().map(|choice| searches(choice.extra.get(GROUNDS))).sum();
    Ok(stated.decoded(response, tier))
}

fn response(mut fields: Fields) -> Result<ChatResponse, Error> {
    let candidates = take_list(&mut fields, "candidates");
    let named = ["responseId", "modelVersion", "usageMetadata"].iter().any(|name| fields.contains_key(*name));
    if candidates.is_none() && !named {
        return Err(malformed("the response has no candidates"));
    }
    let id = take_text(&mut fields, "responseId").unwrap_or_default();
    let model = take_text(&mut fields, "modelVersion").unwrap_or_default();
    let mut choices = BTreeMap::new();
    for (value, at) in candidates.unwrap_or_default().into_iter().zip(0..) {
        choice(&mut choices, &id, value, at)?;
    }
    let choices = choices.into_values().map(|(choice, _)| choice).collect();
    let mut response = ChatResponse::new(id, model, choices);
    response.extra = Extra::from(fields);
    Ok(response)
}

/// Reads a candidate at position `at` of the list, and adds it to the choices. A second candidate with the same index
/// continues the first, as in a stream.
fn choice(choices: &mut BTreeMap<u32, (Choice, CallIds)>, response: &str, value: Value, at: u32) -> Result<(), Error> {
    let Value::Object(mut fields) = value else {
        return Err(malformed("a candidate of the response is not an object"));
    };
    let index = take_index(&mut fields, "index").unwrap_or(at);
    let (choice, ids) = choices
        .entry(index)
        .or_insert_with(|| (Choice::new(index, Vec::new(), FinishReason::Unknown), CallIds::new(index)));
    let mut message = take_object(&mut fields, "content").unwrap_or_default();
    message.remove("role");
    let parts = take_list(&mut message, "parts").unwrap_or_default();
    let mut partial = PartialCall::default();
    for part in parts {
        choice.parts.extend(partial.take(part)?.and_then(|part| read_part(part, response, ids)));
    }
    choice.parts.extend(partial.broken_off().and_then(|part| read_part(part, response, ids)));
    choice.finish.update(&take_finish(&mut fields, ids));
    choice.extra.merge(&Extra::from(fields));
    choice.message_extra.merge(&Extra::from(message));
    Ok(())
}
