use llm_core::{
    ChatRequest, Error,
    chat::{JsonSchema, ResponseFormat, Sampling},
};
use serde_json::{Map, Value, json};

use super::{super::Dialect, unsupported::unsupported};
use crate::protocol::encode::no_name_shadows;

/// Name of the object with the settings of the response, in requests and among unknown fields.
pub(super) const NAME: &str = "generationConfig";
const THINKING: &str = "thinkingConfig";

/// Encodes the settings of the response, together with the unknown fields that belong into the same object.
pub(super) fn generation(request: &ChatRequest, dialect: Dialect) -> Result<Map<String, Value>, Error> {
    let mut ours = sampling(&request.sampling);
    if let Some(format) = &request.response_format {
        form(&mut ours, format, dialect)?;
    }
    let mut thinking = request.reasoning_effort.as_deref().map_or_else(Map::new, effort);
    if dialect.include_thoughts {
        thinking.insert("includeThoughts".to_owned(), true.into());
    }
    let mut all = match request.extra.get(NAME) {
        None => Map::new(),
        Some(Value::Object(fields)) => fields.clone(),
        Some(_) => return Err(Error::invalid(format!("extra.{NAME} is not an object"))),
    };
    if !thinking.is_empty() {
        match all.get_mut(THINKING) {
            None => drop(ours.insert(THINKING.to_owned(), thinking.into())),
            Some(Value::Object(fields)) => join(fields, thinking, &format!("extra.{NAME}.{THINKING}."))?,
            Some(_) => return Err(Error::invalid(format!("extra.{NAME}.{THINKING} is not an object"))),
        }
    }
    join(&mut all, ours, &format!("extra.{NAME}."))?;
    Ok(all)
}

fn join(fields: &mut Map<String, Value>, ours: Map<String, Value>, of: &str) -> Result<(), Error> {
    let taken: Vec<&str> = ours.keys().map(String::as_str).collect();
    no_name_shadows(of, fields.keys().map(String::as_str), &taken)?;
    fields.extend(ours);
    Ok(())
}

fn sampling(sampling: &Sampling) -> Map<String, Value> {
    let Sampling {
        temperature,
        top_p,
        top_k,
        frequency_penalty,
        presence_penalty,
        seed,
        stop,
        n,
        max_output_tokens,
        logprobs,
        top_logprobs,
    } = sampling;
    let fields = [
        ("temperature", temperature.map(Value::from)),
        ("topP", top_p.map(Value::from)),
        ("topK", top_k.map(Value::from)),
        ("frequencyPenalty", frequency_penalty.map(Value::from)),
        ("presencePenalty", presence_penalty.map(Value::from)),
        ("seed", seed.map(Value::from)),
        ("stopSequences", (!stop.is_empty()).then(|| stop.iter().map(|text| &**text).collect())),
        ("candidateCount", n.map(Value::from)),
        ("maxOutputTokens", max_output_tokens.map(Value::from)),
        ("responseLogprobs", logprobs.map(Value::from)),
        ("logprobs", top_logprobs.map(Value::from)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn form(to: &mut Map<String, Value>, format: &ResponseFormat, dialect: Dialect) -> Result<(), Error> {
    let schema = match format {
        ResponseFormat::Text => return Ok(()),
        ResponseFormat::JsonObject => None,
        // Gemini's responses always follow the schema exactly, and the format has no field for the schema's name.
        ResponseFormat::JsonSchema(JsonSchema { name: _, description, schema, strict: _ }) => {
            Some(described(schema, description.as_deref())?)
        }
    };
    to.insert("responseMimeType".to_owned(), "application/json".into());
    if let Some(schema) = schema {
        let name = if dialect.openapi_schemas { "responseSchema" } else { "responseJsonSchema" };
        to.insert(name.to_owned(), schema);
    }
    Ok(())
}

/// Returns a schema that includes the description of the response, because the format has no other field for the
/// description.
fn described(schema: &Value, description: Option<&str>) -> Result<Value, Error> {
    let mut schema = schema.clone();
    let Some(description) = description else { return Ok(schema) };
    match schema.as_object_mut() {
        Some(fields) if !fields.contains_key("description") => {
            fields.insert("description".to_owned(), description.into());
            Ok(schema)
        }
        _ => Err(unsupported("response_format.description, beside the schema's own, has no place")),
    }
}

/// Converts the reasoning effort: a number is a budget in tokens, any other word a level.
fn effort(effort: &str) -> Map<String, Value> {
    let config = match (effort, effort.parse::<i64>()) {
        ("none", _) => json!({"thinkingBudget": 0}),
        (_, Ok(budget)) => json!({"thinkingBudget": budget}),
        (level, Err(_)) => json!({"thinkingLevel": level.to_ascii_uppercase()}),
    };
    config.as_object().cloned().unwrap_or_default()
}
