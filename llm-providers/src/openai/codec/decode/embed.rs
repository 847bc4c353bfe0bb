use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use llm_core::{Embeddings, Error, Extra};
use serde_json::Value;

use super::{
    super::{
        Dialect,
        error::RULES,
        fields::{Fields, index, malformed, object, served, take_list, take_text},
    },
    Decoded, billed, service_tier, take_usage,
};
use crate::protocol::usage::charged;
use crate::protocol::{error::ErrorBody, usage::StatedUsage};

/// Reads the response to an embeddings request with `inputs` inputs. Returns one vector for each, in the order of the
/// inputs, even if the vendor sent them in another order. A vector may be a list of numbers, or base64 of little-endian
/// 32-bit floats.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if the body is not JSON, or a vector is missing, duplicate
/// or invalid; the charge is the stated usage. If the body holds an `error` instead, that error is returned.
pub(crate) fn vectors(body: &[u8], inputs: usize, dialect: &Dialect) -> Result<Decoded<Embeddings>, Error> {
    let mut fields = object(body)?;
    if let Some(error) = ErrorBody::in_response(&fields, "data") {
        return Err(RULES.classify_inner(&error, false));
    }
    let billed = billed(&fields);
    let mut stated = StatedUsage::default();
    take_usage(&mut fields, dialect, &mut stated);
    let service_tier: Option<Arc<str>> = service_tier(|name| fields.get(name)).map(Arc::from);
    let mut accounting = served(fields.get("model"), service_tier.clone(), &[]);
    accounting.cost = billed;
    let response = embeddings(fields, inputs).map_err(|error| charged(error, &stated, accounting))?;
    Ok(Decoded::stated(response, &stated, service_tier).with_billed(billed))
}

fn embeddings(mut fields: Fields, inputs: usize) -> Result<Embeddings, Error> {
    let data = take_list(&mut fields, "data").ok_or_else(|| malformed("the response has no data"))?;
    if data.len() != inputs {
        return Err(malformed(format!("{} vectors came for {inputs} inputs", data.len())));
    }
    let mut vectors: Vec<Option<Arc<[f32]>>> = vec![None; inputs];
    for (at, item) in data.iter().enumerate() {
        // An index that is not a number is ignored, and the vectors then have the order of the inputs.
        let stated = item.get("index").and_then(index).and_then(|index| usize::try_from(index).ok());
        let index = stated.unwrap_or(at);
        match vectors.get_mut(index) {
            Some(place @ None) => *place = Some(vector(item, index)?),
            Some(Some(_)) => return Err(malformed(format!("two vectors came for input {index}"))),
            None => return Err(malformed(format!("a vector came for an input that was not requested: {index}"))),
        }
    }
    let model = take_text(&mut fields, "model").unwrap_or_default();
    fields.remove("object");
    // There are as many vectors as inputs, and no index occurred twice, so every input has a vector.
    let mut response = Embeddings::new(model, vectors.into_iter().flatten().collect());
    response.extra = Extra::from(fields);
    Ok(response)
}

fn vector(item: &Value, index: usize) -> Result<Arc<[f32]>, Error> {
    let bad = || malformed(format!("the vector of input {index} is not one"));
    let vector = numbers(item, bad)?;
    // A valid vector is not empty, and each of its values is a finite number.
    let sound = !vector.is_empty() && vector.iter().all(|number| number.is_finite());
    sound.then_some(vector).ok_or_else(bad)
}

fn numbers(item: &Value, bad: impl Fn() -> Error) -> Result<Arc<[f32]>, Error> {
    match item.get("embedding") {
        // Vendors compute with 32 bits or fewer, so the conversion loses no precision.
        Some(Value::Array(numbers)) => {
            numbers.iter().map(|number| number.as_f64().map(|number| number as f32).ok_or_else(&bad)).collect()
        }
        Some(Value::String(text)) => {
            let bytes = STANDARD.decode(text).map_err(|error| bad().with_source(error))?;
            let (floats, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(bad());
            }
            Ok(floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
        }
        _ => Err(bad()),
    }
}
