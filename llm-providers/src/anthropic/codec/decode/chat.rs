use std::sync::Arc;

use llm_core::{ChatRequest, ChatResponse, Choice, Error, Extra, FinishReason};
use serde_json::Value;

use super::{super::error::RULES, ResponseUsage, read_block};
use crate::protocol::usage::charged;
use crate::protocol::{
    Decoded,
    error::ErrorBody,
    fields::{Fields, malformed, object_with, served, take_list, take_object, take_text, take_word},
    finish_reason,
};

/// Reads the response to a message request.
///
/// Fields that [`ChatResponse`] does not have are kept in the `extra` of the response or of their part, including those
/// of `usage`. `stop_sequence` and `stop_details` are kept in the `extra` of the choice. `type`, `role` and nulls carry
/// no information and are dropped.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if the body is not UTF-8, not JSON (such as a proxy's
/// page), or has no content. The charge is the stated usage, or unknown without one, because the request was sent. If
/// the body holds an `error` instead, that error is returned.
pub(crate) fn decode_chat(body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
    decode(body, ResponseUsage::default())
}

/// Decodes a response as [`decode_chat`] does. Surcharges that the response does not state are taken from the request.
pub(crate) fn decode_response(request: &ChatRequest, body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
    decode(body, ResponseUsage::for_request(request))
}

/// Removes the reason for the end of a response from the fields and returns it, with its details as unknown fields of
/// the choice. If two of the vendor's reasons map to one [`FinishReason`], the details include the vendor's word.
pub(crate) fn settle(fields: &mut Fields) -> (FinishReason, Extra) {
    let reason = take_word(fields, "stop_reason");
    let mut unknown = Fields::new();
    for name in ["stop_sequence", "stop_details"] {
        unknown.extend(fields.remove(name).filter(|value| !value.is_null()).map(|value| (name.to_owned(), value)));
    }
    if reason.as_deref() == Some("model_context_window_exceeded") {
        unknown.extend(reason.clone().map(|reason| ("stop_reason".to_owned(), Value::from(reason))));
    }
    (reason.as_deref().map(finish_reason).unwrap_or_default(), Extra::from(unknown))
}

fn decode(body: &[u8], mut stated: ResponseUsage) -> Result<Decoded<ChatResponse>, Error> {
    let mut fields = object_with(body, &["content"], "input")?;
    if let Some(error) = ErrorBody::in_response(&fields, "content") {
        return Err(RULES.classify_inner(&error, false));
    }
    if let Some(mut usage) = take_object(&mut fields, "usage") {
        stated.read(&usage);
        stated.strip(&mut usage);
        if !usage.is_empty() {
            fields.insert("usage".to_owned(), usage.into());
        }
    }
    let tier = stated.service_tier().cloned();
    let accounting = served(fields.get("model"), tier.clone(), stated.surcharges());
    let response = response(fields).map_err(|error| charged(error, stated.stated(), accounting))?;
    Ok(Decoded::stated(response, stated.stated(), tier).with_surcharges(stated.surcharges().to_vec()))
}

fn response(mut fields: Fields) -> Result<ChatResponse, Error> {
    let blocks = take_list(&mut fields, "content").ok_or_else(|| malformed("the response has no content"))?;
    let id: Arc<str> = take_text(&mut fields, "id").unwrap_or_default().into();
    let model: Arc<str> = take_text(&mut fields, "model").unwrap_or_default().into();
    fields.remove("type");
    fields.remove("role");
    let (finish, unknown) = settle(&mut fields);
    let parts = blocks.into_iter().filter_map(read_block).collect();
    let mut choice = Choice::new(0, parts, finish);
    choice.extra = unknown;
    let mut response = ChatResponse::new(id, model, vec![choice]);
    fields.retain(|_, value| !value.is_null());
    response.extra = Extra::from(fields);
    Ok(response)
}
