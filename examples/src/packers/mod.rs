//! Packers of two domains: ten stories in one request get ten lists of test cases, and twenty photos get twenty scores.

use std::sync::Arc;

use llm_core::{
    ChatRequest, ChatResponse, Error, ErrorKind, Message,
    chat::{JsonSchema, ResponseFormat},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub mod photos;
pub mod simulated;
pub mod stories;

/// Returns the response format for an object with one field.
fn object_of(name: &str, field: &str, schema: Value) -> ResponseFormat {
    let schema = json!({
        "type": "object",
        "properties": {field: schema},
        "required": [field],
        "additionalProperties": false,
    });
    ResponseFormat::JsonSchema(JsonSchema {
        name: name.into(),
        description: None,
        schema: Arc::new(schema),
        strict: Some(true),
    })
}

/// Reads a response in the form of [`object_of`].
fn read<T: DeserializeOwned>(response: &ChatResponse) -> Result<T, Error> {
    serde_json::from_str(&response.text()).map_err(|error| Error::from_cause(ErrorKind::Malformed, error))
}

/// Returns `true` if a request begins with an instruction.
fn begins_with(request: &ChatRequest, instruction: &str) -> bool {
    request.messages.first() == Some(&Message::system(instruction))
}

#[cfg(test)]
mod tests;
