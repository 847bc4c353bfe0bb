use llm_core::{Error, Extra};
use serde_json::Value;

use super::super::{
    error::RULES,
    fields::{Fields, malformed, object, take_list, take_text},
};
use crate::protocol::{Model, error::ErrorBody, usage::number};

/// Reads the response to `countTokens`.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if the body has no count. If it holds an `error` instead,
/// that error is returned.
pub(crate) fn decode_count(body: &[u8]) -> Result<u64, Error> {
    let fields = read(body, "totalTokens")?;
    let count = fields.get("totalTokens").and_then(number);
    count.ok_or_else(|| malformed("the response does not say how many tokens there are"))
}

/// Reads a page of the list of models, and the token of the next page; `None` on the last page.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if a model has no name. If the body holds an `error`
/// instead, that error is returned.
pub(crate) fn decode_models(body: &[u8]) -> Result<(Vec<Model>, Option<String>), Error> {
    let mut fields = read(body, "models")?;
    let next = take_text(&mut fields, "nextPageToken").filter(|next| !next.is_empty());
    // The vendor leaves out the field if no model is listed.
    let models = take_list(&mut fields, "models").unwrap_or_default();
    Ok((models.into_iter().map(model).collect::<Result<_, _>>()?, next))
}

fn read(body: &[u8], content: &str) -> Result<Fields, Error> {
    let fields = object(body)?;
    match ErrorBody::in_chunk(&fields, content) {
        Some(error) => Err(RULES.classify_inner(&error, false)),
        None => Ok(fields),
    }
}

fn model(value: Value) -> Result<Model, Error> {
    let Value::Object(mut fields) = value else { return Err(malformed("a model of the list is not an object")) };
    let name = take_text(&mut fields, "name").ok_or_else(|| malformed("a model of the list has no name"))?;
    let mut model = Model::new(name.strip_prefix("models/").unwrap_or(&name));
    model.name = take_text(&mut fields, "displayName").map(Into::into);
    model.input_limit = take_whole(&mut fields, "inputTokenLimit");
    model.output_limit = take_whole(&mut fields, "outputTokenLimit");
    model.extra = Extra::from(fields);
    Ok(model)
}

fn take_whole(fields: &mut Fields, name: &str) -> Option<u64> {
    let number = fields.get(name).and_then(whole)?;
    fields.remove(name);
    Some(number)
}

/// Reads an integer, which protocol buffers may write as text.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
