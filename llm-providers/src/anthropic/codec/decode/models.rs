use std::sync::Arc;

use llm_core::{Charge, Error, Extra};
use serde_json::Value;

use super::super::error::RULES;
use crate::protocol::{
    Model,
    error::ErrorBody,
    fields::{Fields, malformed, object, take_list, take_text},
};

/// Reads a page of the list of models, and the id of the model after which the next page begins; `None` on the last
/// page.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if the body is not a list. If it holds an `error` instead,
/// that error is returned.
pub(crate) fn decode_models(body: &[u8]) -> Result<(Vec<Model>, Option<String>), Error> {
    page(body).map_err(|error| error.with_charge(Charge::None))
}

fn page(body: &[u8]) -> Result<(Vec<Model>, Option<String>), Error> {
    let mut fields = object(body)?;
    let Some(list) = take_list(&mut fields, "data") else {
        return Err(match ErrorBody::in_response(&fields, "data") {
            Some(error) => RULES.classify_inner(&error, false),
            None => malformed("the list of models has no data"),
        });
    };
    let models = list.into_iter().map(model).collect::<Result<Vec<_>, _>>()?;
    let more = fields.get("has_more") == Some(&Value::Bool(true));
    // An empty page counts as the last one, so that the listing always ends.
    let next = take_text(&mut fields, "last_id").filter(|_| more && !models.is_empty());
    Ok((models, next))
}

fn model(value: Value) -> Result<Model, Error> {
    let Value::Object(mut fields) = value else { return Err(malformed("a model in the list is not an object")) };
    let id = take_text(&mut fields, "id").ok_or_else(|| malformed("a model in the list has no id"))?;
    let mut model = Model::new(id);
    model.name = take_text(&mut fields, "display_name").map(Arc::from);
    model.input_limit = take_number(&mut fields, "max_input_tokens");
    model.output_limit = take_number(&mut fields, "max_tokens");
    fields.remove("type");
    model.extra = Extra::from(fields);
    Ok(model)
}

fn take_number(fields: &mut Fields, name: &str) -> Option<u64> {
    let number = fields.get(name)?.as_u64()?;
    fields.remove(name);
    Some(number)
}
