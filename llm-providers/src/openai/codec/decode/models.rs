use llm_core::Error;
use serde_json::Value;

use super::super::{
    error::RULES,
    fields::{malformed, object, take_list, take_text},
};
use crate::protocol::{Model, error::ErrorBody};

/// Reads a list of models. Entries without an id are skipped.
pub(crate) fn models(body: &[u8]) -> Result<Vec<Model>, Error> {
    let mut fields = object(body)?;
    if let Some(error) = ErrorBody::in_response(&fields, "data") {
        return Err(RULES.classify_inner(&error, false));
    }
    let list = take_list(&mut fields, "data").ok_or_else(|| malformed("the list of models has no data"))?;
    Ok(list.into_iter().filter_map(model).collect())
}

fn model(value: Value) -> Option<Model> {
    let Value::Object(mut fields) = value else { return None };
    let mut model = Model::new(take_text(&mut fields, "id")?);
    fields.remove("object");
    model.name = take_text(&mut fields, "name").map(Into::into);
    // OpenRouter, vLLM and Mistral state the length of the context, each under another name. OpenRouter also states the
    // length of the longest response.
    let context = ["context_length", "max_model_len", "max_context_length", "context_window"];
    model.input_limit = context.iter().find_map(|name| fields.get(*name)?.as_u64());
    let response = |field: &Value| field.get("max_completion_tokens")?.as_u64();
    model.output_limit =
        fields.get("top_provider").and_then(response).or_else(|| fields.get("max_completion_tokens")?.as_u64());
    model.extra = fields.into();
    Some(model)
}
