use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Estimate, Extra, Operation, fingerprint::Fingerprinter, heap_size::shared_size};

/// Request to turn texts into vectors. Cheap to clone.
///
/// A cache looks up each input on its own, and sends only the inputs that it does not have.
///
/// ```
/// use llm_core::EmbedRequest;
///
/// let request = EmbedRequest::new("text-embedding-3-small", ["first text", "second text"]);
/// assert!(request.validate().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedRequest {
    /// The model, as the vendor names it.
    pub model: Arc<str>,
    /// Inputs, each of which becomes one vector.
    pub inputs: Arc<Vec<EmbedInput>>,
    /// Length of the vectors, for models that let a caller choose it.
    pub dimensions: Option<u32>,
    /// Unknown fields, sent as they are.
    pub extra: Extra,
}

/// Input that becomes one vector.
///
/// ```
/// use std::sync::Arc;
/// use llm_core::{EmbedInput, EmbedRequest};
///
/// let inputs = Arc::new(vec![EmbedInput::Text("a text".into()), EmbedInput::Tokens([17, 4].into())]);
/// let request = EmbedRequest { model: "m".into(), inputs, ..EmbedRequest::default() };
/// assert!(request.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EmbedInput {
    /// A text.
    Text(Arc<str>),
    /// A text as tokens of the model's own tokenizer.
    Tokens(Arc<[u32]>),
}

/// Response to an [`EmbedRequest`]: one vector for each input, in order. The usage is on the receipt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Embeddings {
    /// The model that answered, as the vendor names it.
    pub model: Arc<str>,
    /// The vectors.
    pub vectors: Vec<Arc<[f32]>>,
    /// Unknown fields.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

impl EmbedRequest {
    /// Names of fields among `extra` that do not decide the vectors, which are the encoding of the vectors and the end
    /// user's id. Requests that differ only in them have one cache key.
    pub const TRANSPORT_FIELDS: [&'static str; 2] = ["encoding_format", "user"];

    /// Creates a request for the vectors of texts.
    pub fn new<T: Into<Arc<str>>>(model: impl Into<Arc<str>>, texts: impl IntoIterator<Item = T>) -> Self {
        let inputs = texts.into_iter().map(|text| EmbedInput::Text(text.into())).collect();
        Self { model: model.into(), inputs: Arc::new(inputs), ..Self::default() }
    }

    /// Returns an error for a request that every vendor would refuse, so that a client can refuse it without a round
    /// trip.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if there is no model or no input, an input has no tokens, or the number of
    /// dimensions is zero.
    pub fn validate(&self) -> Result<(), Error> {
        if self.model.trim().is_empty() {
            return Err(Error::invalid("model is empty: name one, such as text-embedding-3-small"));
        }
        if self.inputs.is_empty() {
            return Err(Error::invalid("inputs is empty: add at least one"));
        }
        if let Some(at) = self.inputs.iter().position(|input| matches!(input, EmbedInput::Tokens(t) if t.is_empty())) {
            return Err(Error::invalid(format!("inputs[{at}] has no tokens")));
        }
        if self.dimensions == Some(0) {
            return Err(Error::invalid("dimensions is 0: ask for at least one"));
        }
        Ok(())
    }

    fn with_inputs(&self, inputs: Vec<EmbedInput>) -> Self {
        Self { inputs: Arc::new(inputs), ..self.clone() }
    }
}

impl Embeddings {
    /// Creates a response from the vectors of a model.
    ///
    /// ```
    /// use llm_core::Embeddings;
    ///
    /// let embeddings = Embeddings::new("m", vec![[0.6, 0.8].into()]);
    /// assert_eq!(embeddings.vectors[0].len(), 2);
    /// ```
    pub fn new(model: impl Into<Arc<str>>, vectors: Vec<Arc<[f32]>>) -> Self {
        Self { model: model.into(), vectors, extra: Extra::default() }
    }
}

/// Returns `true` if the cosine of the angle between two vectors is at least 0.999.
fn alike(a: &[f32], b: &[f32]) -> bool {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    a == b || a.len() == b.len() && dot(a, b) >= 0.999 * (dot(a, a) * dot(b, b)).sqrt()
}

fn count(found: usize, of: usize) -> Result<(), Error> {
    if found == of {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Malformed, format!("{found} vectors came for {of} inputs")))
}

impl EmbedInput {
    fn tokens(&self) -> (u64, u64) {
        match self {
            Self::Text(text) => (text.len() as u64 / 4 + 1, text.len() as u64 + 8),
            Self::Tokens(tokens) => (tokens.len() as u64, tokens.len() as u64),
        }
    }
}

impl Operation for EmbedRequest {
    type Output = Embeddings;

    const NAME: &'static str = "embed";

    fn model(&self) -> &str {
        &self.model
    }

    fn shared_model(&self) -> Arc<str> {
        Arc::clone(&self.model)
    }

    fn with_model(&self, model: Arc<str>) -> Option<Self> {
        Some(Self { model, ..self.clone() })
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        let Self { model, inputs, dimensions, extra } = self;
        h.text(model);
        h.list(inputs.iter(), |h, input| match input {
            EmbedInput::Text(text) => h.text(text),
            EmbedInput::Tokens(tokens) => h.list(tokens.iter(), |h, token| h.integer(*token)),
        });
        h.option(*dimensions, |h, dimensions| h.integer(dimensions));
        extra.fingerprint(h, |name| !Self::TRANSPORT_FIELDS.contains(&name));
    }

    fn estimate(&self) -> Estimate {
        let (likely, most) = self.inputs.iter().map(EmbedInput::tokens).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        Estimate { input: likely, input_bound: Some(most), output: 0, output_bound: Some(0), choices: 1 }
    }

    fn response_model(response: &Embeddings) -> Option<&Arc<str>> {
        Some(&response.model).filter(|model| !model.is_empty())
    }

    /// Returns `true` if each pair of vectors points in about the same direction. The vectors need not be equal,
    /// because the last digits that a vendor returns differ from call to call.
    fn equivalent(one: &Embeddings, other: &Embeddings) -> bool {
        one.vectors.len() == other.vectors.len() && one.vectors.iter().zip(&other.vectors).all(|(a, b)| alike(a, b))
    }

    fn memory_size(response: &Embeddings) -> Option<u64> {
        Some(shared_size(response))
    }

    fn items(&self) -> Option<Vec<Self>> {
        Some(self.inputs.iter().map(|input| self.with_inputs(vec![input.clone()])).collect())
    }

    fn item_count(&self) -> usize {
        self.inputs.len()
    }

    /// Returns the bytes that two requests must have in common to be merged, which are all fields except the inputs.
    /// Returns `None` for an invalid request, so that the request fails alone and not with others.
    fn merge_key(&self) -> Option<Vec<u8>> {
        self.validate().ok()?;
        let Self { model, inputs: _, dimensions, extra } = self;
        let mut h = Fingerprinter::new();
        h.text(model).option(*dimensions, |h, dimensions| h.integer(dimensions));
        extra.fingerprint(&mut h, |_| true);
        Some(h.into_bytes())
    }

    fn merge(items: &[Self]) -> Option<Self> {
        let first = items.first()?;
        let alike = |item: &Self| {
            let Self { model, inputs: _, dimensions, extra } = item;
            *model == first.model && *dimensions == first.dimensions && *extra == first.extra
        };
        let inputs = || items.iter().flat_map(|item| item.inputs.iter().cloned()).collect();
        items.iter().all(alike).then(|| first.with_inputs(inputs()))
    }

    fn split(&self, whole: Embeddings) -> Result<Vec<Embeddings>, Error> {
        count(whole.vectors.len(), self.inputs.len())?;
        let Embeddings { model, vectors, extra } = whole;
        let one = |vector| Embeddings { model: model.clone(), vectors: vec![vector], extra: extra.clone() };
        Ok(vectors.into_iter().map(one).collect())
    }

    fn join(&self, parts: Vec<Embeddings>) -> Result<Embeddings, Error> {
        count(parts.len(), self.inputs.len())?;
        let (model, extra) = parts.first().map(|first| (first.model.clone(), first.extra.clone())).unwrap_or_default();
        let mut vectors = Vec::with_capacity(parts.len());
        for part in parts {
            // Each part must have one vector. If one part had two vectors and another none, the total would be right,
            // but vectors would be assigned to the wrong inputs.
            count(part.vectors.len(), 1)?;
            vectors.extend(part.vectors);
        }
        Ok(Embeddings { model, vectors, extra })
    }
}
