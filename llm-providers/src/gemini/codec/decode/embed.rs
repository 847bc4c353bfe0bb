use std::sync::Arc;

use llm_core::{Embeddings, Error, Extra};
use serde_json::Value;

use super::{
    super::{
        error::RULES,
        fields::{Fields, malformed, object, served, take_list},
    },
    ResponseUsage,
};
use crate::protocol::usage::charged;
use crate::protocol::{Decoded, error::ErrorBody};

/// Reads the response to `batchEmbedContents` with `inputs` inputs, in the order of the inputs, or the response to
/// `embedContent`.
///
/// Gemini does not state the model, and does not always state the usage.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if the body is not JSON, or a vector is missing or invalid;
/// the charge is the stated usage. If the body holds an `error` instead, that error is returned.
pub(crate) fn decode_embeddings(body: &[u8], inputs: usize) -> Result<Decoded<Embeddings>, Error> {
    let mut fields = object(body)?;
    if let Some(error) = ErrorBody::in_chunk(&fields, "embeddings") {
        return Err(RULES.classify_inner(&error, false));
    }
    let mut stated = ResponseUsage::default();
    stated.take(&mut fields);
    let tier = stated.service_tier().cloned();
    let accounting = served(None, tier.clone(), &[]);
    let vectors = vectors(&mut fields, inputs).map_err(|error| charged(error, stated.stated(), accounting))?;
    let mut response = Embeddings::new("", vectors);
    response.extra = Extra::from(fields);
    Ok(stated.decoded(response, tier))
}

fn vectors(fields: &mut Fields, inputs: usize) -> Result<Vec<Arc<[f32]>>, Error> {
    let one = |fields: &mut Fields| fields.remove("embedding").filter(Value::is_object).map(|one| vec![one]);
    let list = take_list(fields, "embeddings").or_else(|| one(fields));
    let list = list.ok_or_else(|| malformed("the response has no embeddings"))?;
    if list.len() != inputs {
        return Err(malformed(format!("{} vectors came for {inputs} inputs", list.len())));
    }
    list.iter().enumerate().map(|(at, item)| vector(item, at)).collect()
}

fn vector(item: &Value, at: usize) -> Result<Arc<[f32]>, Error> {
    let bad = || malformed(format!("the vector of input {at} is not one"));
    let numbers = item.get("values").and_then(Value::as_array).filter(|list| !list.is_empty()).ok_or_else(bad)?;
    // Vendors compute with 32 bits or fewer, so the conversion loses no precision.
    numbers.iter().map(|number| number.as_f64().map(|number| number as f32).ok_or_else(bad)).collect()
}
