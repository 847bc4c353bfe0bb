//! Conversion of embedding requests.

use super::request::{field, joined_text};
use crate::refusal::Refusal;
use crate::response::EmbeddingResponse;
use serde_json::{Value, json};

/// Converts one request, or a batch of them, to OpenAI's form. All requests of a batch must ask for vectors of the same
/// length.
pub(super) fn as_openai(model: &str, single: bool, body: &Value) -> Result<Value, Refusal> {
    let requests =
        if single { std::slice::from_ref(body) } else { body["requests"].as_array().map_or(&[][..], Vec::as_slice) };
    let inputs: Vec<_> = requests.iter().map(|request| json!(joined_text(&request["content"]))).collect();
    let lengths: Vec<_> = requests.iter().map(|request| field(request, "outputDimensionality")).collect();
    let Some(length) = lengths.first() else { return Err(Refusal::missing("requests")) };
    if lengths.iter().any(|other| other != length) {
        return Err(Refusal::invalid("requests", "all have to ask for the same dimensions"));
    }
    let input = if single { inputs[0].clone() } else { inputs.into() };
    let mut to = json!({"model": model, "input": input});
    if !length.is_null() {
        to["dimensions"] = (*length).clone();
    }
    Ok(to)
}

pub(super) fn vectors(embed: &EmbeddingResponse, usage: bool) -> Value {
    let values = |vector: &Vec<f32>| json!({"values": vector.iter().copied().map(f64::from).collect::<Vec<_>>()});
    if embed.bare {
        return json!({"embedding": values(&embed.vectors[0])});
    }
    let mut body = json!({"embeddings": embed.vectors.iter().map(values).collect::<Vec<_>>()});
    if usage {
        body["usageMetadata"] = json!({"promptTokenCount": embed.input,
            "promptTokenDetails": [{"modality": "TEXT", "tokenCount": embed.input}]});
    }
    body
}
