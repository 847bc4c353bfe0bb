//! Responses to embeddings requests.

use crate::openai::response_hash;
use crate::prng::Prng;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::tokens;
use serde_json::{Value, json};

/// Largest number of inputs of one request.
const MAX_INPUTS: usize = 2_048;
/// Largest number of dimensions that a request may ask for.
const MAX_DIMENSIONS: u64 = 16_384;

/// Returns the vector of length 1 that a model returns for one input (a text, or an array of tokens).
///
/// The vector depends only on the three arguments.
pub fn embedding(model: &str, input: &Value, dimensions: usize) -> Vec<f32> {
    let mut prng = Prng::new(response_hash(&json!([model, input])), 2);
    let raw: Vec<f64> = (0..dimensions).map(|_| prng.unit() * 2.0 - 1.0).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    raw.into_iter().map(|x| (x / norm) as f32).collect()
}

/// Response to an embeddings request, before a format encodes it.
#[derive(Debug)]
pub(crate) struct EmbeddingResponse {
    pub(crate) model: String,
    pub(crate) hash: u64,
    pub(crate) input: u64,
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) base64: bool,
    /// True for a single vector outside of a list.
    pub(crate) bare: bool,
    pub(crate) nano_usd: u64,
}

impl EmbeddingResponse {
    pub(crate) fn new(body: &Value, bare: bool, settings: &Settings) -> Result<Self, Refusal> {
        let model = body["model"].as_str().ok_or_else(|| Refusal::missing("model"))?;
        let inputs = inputs(&body["input"])?;
        if !settings.serves(model) {
            return Err(Refusal::unknown_model(model));
        }
        let dimensions = dimensions(&body["dimensions"], settings.dimensions)?;
        let input = tokens::embedding_input(&body["input"]);
        Ok(Self {
            model: model.into(),
            hash: response_hash(body),
            input,
            nano_usd: settings.prices.row(model).cost(input, 0, [0; 2], 0),
            bare,
            vectors: inputs.into_iter().map(|input| embedding(model, input, dimensions)).collect(),
            base64: base64(&body["encoding_format"])?,
        })
    }
}

/// Returns the inputs one by one: a text, an array of texts, an array of tokens, or an array of those.
fn inputs(input: &Value) -> Result<Vec<&Value>, Refusal> {
    let inputs = match input {
        Value::Null => return Err(Refusal::missing("input")),
        Value::Array(items) if items.first().is_some_and(Value::is_number) => vec![input],
        Value::Array(items) => items.iter().collect(),
        _ => vec![input],
    };
    if inputs.is_empty() || inputs.len() > MAX_INPUTS {
        return Err(Refusal::invalid("input", format!("there have to be from 1 to {MAX_INPUTS} inputs")));
    }
    if !inputs.iter().all(|input| is_input(input)) {
        return Err(Refusal::invalid("input", "an input has to be a text or an array of tokens, and not empty"));
    }
    Ok(inputs)
}

fn is_input(input: &Value) -> bool {
    match input {
        Value::String(text) => !text.is_empty(),
        Value::Array(tokens) => !tokens.is_empty() && tokens.iter().all(Value::is_u64),
        _ => false,
    }
}

fn dimensions(given: &Value, default: usize) -> Result<usize, Refusal> {
    if given.is_null() {
        return Ok(default);
    }
    let number = given.as_u64().filter(|number| (1..=MAX_DIMENSIONS).contains(number));
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
        Refusal::invalid("dimensions", format!("there have to be from 1 to {MAX_DIMENSIONS} dimensions"))
    })
}

fn base64(format: &Value) -> Result<bool, Refusal> {
    match format.as_str() {
        Some("base64") => Ok(true),
        Some("float") => Ok(false),
        None if format.is_null() => Ok(false),
        _ => Err(Refusal::invalid("encoding_format", "the format has to be 'float' or 'base64'")),
    }
}
