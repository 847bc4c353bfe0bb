use std::sync::Arc;

use crate::{Error, ErrorKind, Output, fingerprint::Fingerprinter};

/// Complete response of an operation, which layers store and share.
pub type Complete<T> = <<T as Operation>::Output as Output>::Complete;

/// A kind of request: chat, embeddings, or an application's own.
///
/// Layers know a request only by this trait. A request is cheap to clone, because it holds text in `Arc`s and images in
/// `Bytes`.
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
    /// Response that a caller gets.
    type Output: Output;

    /// Name of the operation. Every cache key holds it, so that two operations never share a response. A streamed
    /// operation has the name of the unary operation, so that they share responses.
    const NAME: &'static str;

    /// Returns the model, as the vendor names it.
    fn model(&self) -> &str;

    /// Returns the model as shared text. Operations that hold such text return it without a copy.
    fn shared_model(&self) -> Arc<str> {
        self.model().into()
    }

    /// Returns this request for another model name. A key pool sends it to a member that has its own name for the
    /// model, or that answers with a fallback model. With the default, `None`, a pool sends the request only to members
    /// at which the model has the requested name.
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

    /// Writes every value that decides the response, and nothing else.
    fn fingerprint(&self, h: &mut Fingerprinter);

    /// Returns an estimate of the tokens that the call uses, which a limiter reserves before the call is sent. An
    /// operation without an estimate of its own reserves the [default](Estimate::default).
    fn estimate(&self) -> Estimate {
        Estimate::default()
    }

    /// Returns a hash of the request's beginning, so that requests with equal beginnings can be sent to the key whose
    /// prompt cache has the beginning. 0, the default, means that the beginning is shorter than vendors cache, which is
    /// about 1,024 tokens. The hash is the same only within one build of the program.
    fn affinity(&self) -> u64 {
        0
    }

    /// Returns `true` if the request may be sent more than once (retried, hedged or revalidated); `true` by default.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// Returns the model that produced the response, if the response states it, so that the response can be priced even
    /// if its receipt names no model. The default is `None`.
    fn response_model(response: &Complete<Self>) -> Option<&Arc<str>> {
        let _ = response;
        None
    }

    /// Returns `true` if a cache may store the response; `true` by default. Return `false` for a response that another
    /// attempt may improve on. A [`ChatRequest`](crate::ChatRequest) returns `false` for a response that is cut short,
    /// filtered or refused, and for one with tool arguments that are not JSON.
    fn is_cacheable(response: &Complete<Self>) -> bool {
        let _ = response;
        true
    }

    /// Returns `true` if the response has the form that this request asked for, as far as the operation can check it;
    /// `true` by default. A cache does not store a response without that form.
    fn conforms(&self, response: &Complete<Self>) -> bool {
        let _ = response;
        true
    }

    /// Returns `true` if the request asks for varied responses, for example by a temperature above zero; `false` by
    /// default.
    fn is_sampled(&self) -> bool {
        false
    }

    /// Returns `true` if two responses to the same request are equivalent. By default they are if their JSON is equal.
    fn equivalent(one: &Complete<Self>, other: &Complete<Self>) -> bool {
        let json = |response| serde_json::to_value(response).ok();
        json(one) == json(other)
    }

    /// Returns the number of bytes that a response takes in memory, for caches that are bounded in bytes. With `None`,
    /// the cache estimates the number from the response's JSON text, which takes a pass over the whole response.
    fn memory_size(response: &Complete<Self>) -> Option<u64> {
        let _ = response;
        None
    }

    /// Returns `true` if the response depends only on the request's own content; `true` by default. A cache does not
    /// store the response to a request that refers to something outside (a URL, a file, an earlier response, a search).
    fn is_self_contained(&self) -> bool {
        true
    }

    /// Returns the independent requests that this request consists of, in order; `None` if it is a single request.
    fn items(&self) -> Option<Vec<Self>> {
        None
    }

    /// Returns the number of [`items`](Self::items); 1 if it is a single request.
    fn item_count(&self) -> usize {
        self.items().map_or(1, |items| items.len())
    }

    /// Returns bytes that are equal for requests which can be [merged](Self::merge) into one. The bytes are written
    /// with a [`Fingerprinter`] and hold all that the requests must have in common, such as the model. With `None`, the
    /// default, the request is sent alone.
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

    /// Merges several requests into one; `None` if they cannot be sent as one.
    fn merge(items: &[Self]) -> Option<Self> {
        let _ = items;
        None
    }

    /// Splits the response to this request into the responses to its [`items`](Self::items).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if the response does not have one part for each item. The default implementation always
    /// returns [`ErrorKind::Unsupported`].
    fn split(&self, whole: Complete<Self>) -> Result<Vec<Complete<Self>>, Error> {
        let _ = whole;
        Err(indivisible(Self::NAME))
    }

    /// Joins the responses to this request's [`items`](Self::items) into its response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if there is not one response for each item. The default implementation always returns
    /// [`ErrorKind::Unsupported`].
    fn join(&self, responses: Vec<Complete<Self>>) -> Result<Complete<Self>, Error> {
        let _ = responses;
        Err(indivisible(Self::NAME))
    }
}

/// Estimate of the tokens that a request takes, with upper bounds.
///
/// ```
/// use llm_core::{ChatRequest, Operation};
///
/// let estimate = ChatRequest::new("m").user("hello").max_output_tokens(50).estimate();
/// assert_eq!((estimate.output_bound, estimate.choices), (Some(50), 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Likely number of input tokens.
    pub input: u64,
    /// Upper bound of the input tokens; `None` if nothing bounds them, as with images or a vendor's own tools.
    pub input_bound: Option<u64>,
    /// Likely number of output tokens of all choices together.
    pub output: u64,
    /// Upper bound of the output tokens of all choices together; `None` if the request does not bound them.
    pub output_bound: Option<u64>,
    /// Number of responses (choices) that the request asks for.
    pub choices: u32,
}

impl Estimate {
    /// Estimated number of output tokens of a response whose length is not known.
    pub(crate) const OUTPUT: u64 = 512;
}

/// Creates the estimate of an operation that does not state one: 100 input tokens and one response of 512 output
/// tokens, both without an upper bound. It is not zero, so that limits on tokens and money hold for such operations
/// too.
impl Default for Estimate {
    fn default() -> Self {
        Self { input: 100, input_bound: None, output: Self::OUTPUT, output_bound: None, choices: 1 }
    }
}

/// A request whose response is a stream. Its cache key is that of the request that it wraps.
#[derive(Clone, Debug, PartialEq)]
pub struct Streamed<T>(pub T);

fn indivisible(name: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("operation {name:?} cannot be divided"))
}
