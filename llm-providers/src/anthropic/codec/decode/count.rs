use llm_core::{Charge, Error};

use super::super::error::RULES;
use crate::protocol::{
    error::ErrorBody,
    fields::{malformed, object},
    usage::number,
};

/// Reads the response to a request to count input tokens, which the vendor does not charge.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if the body has no count. If it holds an `error` instead,
/// that error is returned.
pub(crate) fn decode_count(body: &[u8]) -> Result<u64, Error> {
    let fields = object(body).map_err(free)?;
    match (fields.get("input_tokens").and_then(number), ErrorBody::in_response(&fields, "input_tokens")) {
        (Some(tokens), _) => Ok(tokens),
        (None, Some(error)) => Err(free(RULES.classify_inner(&error, false))),
        (None, None) => Err(free(malformed("the count has no input_tokens"))),
    }
}

fn free(error: Error) -> Error {
    error.with_charge(Charge::None)
}
