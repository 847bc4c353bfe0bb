use std::sync::Arc;

use crate::{Error, ErrorKind, Output, fingerprint::Fingerprinter};

/// The complete response of an operation, which is stored and shared.
pub type Complete<T> = <<T as Operation>::Output as Output>::Complete;

/// A kind of request: chat, embeddings, or an application's own.
///
/// Layers know a request only by this. Cheap to clone: text in `Arc`s, images in `Bytes`.
///
/// An operation of an application also implements [`Task`](crate::Task), which makes a chat request of it:
///
/// ```
/// use llm_core::{Estimate, Operation, layer::Fingerprinter};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone)]
/// struct ScorePhoto { photo: bytes::Bytes }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Score { stars: u8 }
///
/// impl Operation for ScorePhoto {
///     type Output = Score;
///     const NAME: &'static str = "score_photo";
///     fn model(&self) -> &str { "gpt-4o-mini" }
///     fn fingerprint(&self, h: &mut Fingerprinter) { h.text("prompt v3").bytes(&self.photo); }
///     fn estimate(&self) -> Estimate {
///         // A photo takes some 1,000 input tokens, the response is a number.
///         Estimate { input: 1_000, output: 10, ..Estimate::default() }
///     }
/// }
/// ```
pub trait Operation: Clone + Send + Sync + 'static {
    /// The response, as a caller gets it.
    type Output: Output;

    /// The operation's name. It is in every key, so two operations never share a response. A streamed operation has the
    /// name of the unary one, so that they do.
    const NAME: &'static str;

    /// Returns the model, as the vendor names it.
    fn model(&self) -> &str;

    /// Returns the model as shared text, which layers hold without a copy if the operation has it.
    fn shared_model(&self) -> Arc<str> {
        self.model().into()
    }

    /// Returns this request with another name of the model, as a key pool sends it to a member that has its own name
    /// for the model, or to one whose model stands in. `None`, as here by default: it cannot be renamed, so that it is
    /// only sent where its model has the name that it was asked by.
    ///
    /// ```
    /// use llm_core::{ChatRequest, Operation};
    ///
    /// let request = ChatRequest::new("gpt-4o-mini").user("hello");
    /// let renamed = request.with_model("our-deployment".into());
    /// assert_eq!(renamed, Some(ChatRequest::new("our-deployment").user("hello")));
    /// ```
    fn with_model(&self, model: Arc<str>) -> Option<Self> {
        let _ = model;
        None
    }

    /// Writes all that decides the response, and nothing else.
    fn fingerprint(&self, h: &mut Fingerprinter);

    /// Returns the number of tokens that the call may use, which a limiter reserves before the call is sent. Without an
    /// estimate of
    /// its own, an operation reserves the [default](Estimate::default).
    fn estimate(&self) -> Estimate {
        Estimate::default()
    }

    /// Returns a number that is equal for requests with the same beginning, so that they can be sent to where a
    /// vendor's prompt cache has it. 0, as here by default: it has no beginning that a vendor would cache, which takes
    /// about 1,024 tokens. Equal beginnings have equal numbers within one build of the program only.
    fn affinity(&self) -> u64 {
        0
    }

    /// Returns `true` if the request may be sent twice: retried, hedged, revalidated.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// Returns the model that gave the response, by the response itself, so that it has its price where no receipt
    /// names the model. `None`, as here by default: the response does not say.
    fn answered_by(response: &Complete<Self>) -> Option<&Arc<str>> {
        let _ = response;
        None
    }

    /// Returns `true` if a cache may store the response. A response that is cut short, filtered or refused, or that has
    /// tool arguments that are no JSON, is not stored, because another attempt may do better.
    fn is_cacheable(response: &Complete<Self>) -> bool {
        let _ = response;
        true
    }

    /// Returns `true` if the response has the form that this request asked for, as far as the operation can check it.
    /// Another response is not stored.
    fn conforms(&self, response: &Complete<Self>) -> bool {
        let _ = response;
        true
    }

    /// Returns `true` if the request is meant to have different responses, as with a temperature above zero.
    fn is_sampled(&self) -> bool {
        false
    }

    /// Returns `true` if two responses to one request are equivalent. By default they are if their JSON is equal.
    fn equivalent(one: &Complete<Self>, other: &Complete<Self>) -> bool {
        let json = |response| serde_json::to_value(response).ok();
        json(one) == json(other)
    }

    /// Returns the bytes that a response takes in memory, by which a cache counts it. `None` has the cache estimate
    /// them from the response's JSON text, which takes a pass over all of it.
    fn memory_size(response: &Complete<Self>) -> Option<u64> {
        let _ = response;
        None
    }

    /// Returns `true` if the request holds all that decides its response. The response to a request that names
    /// something outside (an address, a file, an earlier response, a search) is not stored.
    fn is_self_contained(&self) -> bool {
        true
    }

    /// Returns the independent requests inside, in order; `None` if it is one request.
    fn items(&self) -> Option<Vec<Self>> {
        None
    }

    /// Returns the number of the [`items`](Self::items); 1 if it is one request.
    fn item_count(&self) -> usize {
        self.items().map_or(1, |items| items.len())
    }

    /// Returns bytes that are equal for two requests if they can be [merged](Self::merge) into one: all that both must
    /// have in common, such as the model, written with a [`Fingerprinter`]. `None`, the default, if the request is to
    /// be sent alone.
    ///
    /// ```
    /// use llm_core::{EmbedRequest, Operation};
    ///
    /// let (one, other) = (EmbedRequest::new("m", ["a"]), EmbedRequest::new("m", ["b", "c"]));
    /// assert_eq!(one.merge_key(), other.merge_key());
    /// assert_ne!(one.merge_key(), EmbedRequest::new("another", ["a"]).merge_key());
    /// assert_eq!(EmbedRequest::merge(&[one, other]), Some(EmbedRequest::new("m", ["a", "b", "c"])));
    /// ```
    fn merge_key(&self) -> Option<Vec<u8>> {
        None
    }

    /// Merges several requests into one; `None` if they cannot be sent together.
    fn merge(items: &[Self]) -> Option<Self> {
        let _ = items;
        None
    }

    /// Splits the response to this request into the responses to its [`items`](Self::items).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if it has not one response for each item; [`ErrorKind::Unsupported`] unless overridden.
    fn split(&self, whole: Complete<Self>) -> Result<Vec<Complete<Self>>, Error> {
        let _ = whole;
        Err(indivisible(Self::NAME))
    }

    /// Joins the responses to this request's [`items`](Self::items) into its response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if their number is wrong; [`ErrorKind::Unsupported`] unless overridden.
    fn join(&self, responses: Vec<Complete<Self>>) -> Result<Complete<Self>, Error> {
        let _ = responses;
        Err(indivisible(Self::NAME))
    }
}

/// Tokens that a request may take.
///
/// ```
/// use llm_core::{ChatRequest, Operation};
///
/// let estimate = ChatRequest::new("m").user("hello").max_output_tokens(50).estimate();
/// assert_eq!((estimate.output_bound, estimate.choices), (Some(50), 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Input tokens, likely.
    pub input: u64,
    /// Input tokens, at most; `None` if nothing bounds them (images, a vendor's own tools).
    pub input_bound: Option<u64>,
    /// Output tokens, likely, all choices together.
    pub output: u64,
    /// Output tokens, at most, all choices together; `None` if the request does not bound them.
    pub output_bound: Option<u64>,
    /// Number of responses that are asked for.
    pub choices: u32,
}

impl Estimate {
    /// Output tokens of a response of unknown length, likely.
    pub(crate) const OUTPUT: u64 = 512;
}

/// Estimate of an operation without one of its own: 100 input tokens and one response of 512 output tokens,
/// both without a bound. It is never nothing, so that limits on tokens and money hold for such operations too.
impl Default for Estimate {
    fn default() -> Self {
        Self { input: 100, input_bound: None, output: Self::OUTPUT, output_bound: None, choices: 1 }
    }
}

/// A request whose response is a stream. Its key is that of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Streamed<T>(pub T);

fn indivisible(name: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("operation {name:?} cannot be divided"))
}
