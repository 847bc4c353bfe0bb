use std::sync::Arc;

use crate::{Error, ErrorKind, Output, fingerprint::Fingerprinter};

/// The complete answer of an operation: what is stored and shared.
pub type Complete<T> = <<T as Operation>::Output as Output>::Complete;

/// A kind of question: chat, embeddings, or one of your own.
///
/// Layers know nothing else of a question than this. Cheap to clone: text in `Arc`s, images in `Bytes`.
///
/// A user's own operation also implements [`Task`](crate::Task), which says how to ask a chat model:
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
///         // A photo takes some 1,000 input tokens, the answer is a number.
///         Estimate { input: 1_000, output: 10, ..Estimate::default() }
///     }
/// }
/// ```
pub trait Operation: Clone + Send + Sync + 'static {
    /// The answer, as a caller gets it.
    type Output: Output;

    /// The operation's name: in every key, so two operations never share an answer. A streamed operation has the name
    /// of the unary one, so they do.
    const NAME: &'static str;

    /// The model asked, as the vendor names it.
    fn model(&self) -> &str;

    /// Returns the model as text that layers can hold without a copy of their own, where the operation has that.
    fn shared_model(&self) -> Arc<str> {
        self.model().into()
    }

    /// Writes all that decides the answer, and nothing that does not.
    fn fingerprint(&self, h: &mut Fingerprinter);

    /// Returns how many tokens it may take: what a limiter reserves for it before it is sent. Without an estimate of its
    /// own, an operation reserves the [default](Estimate::default).
    fn estimate(&self) -> Estimate {
        Estimate::default()
    }

    /// A number that is equal for questions that begin alike, so that a vendor's prompt cache can be hit. 0: unknown.
    fn affinity(&self) -> u64 {
        0
    }

    /// Whether it may be asked twice: retried, hedged, refreshed.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// Whether an answer may be kept for the next who asks. Not one that is spoiled: cut short, filtered, refused, or
    /// with tool arguments that are no JSON. Asked again, the model may do better.
    fn is_cacheable(answer: &Complete<Self>) -> bool {
        let _ = answer;
        true
    }

    /// Whether an answer has the form that this question asked for, as far as that can be told. One that has not is not
    /// kept.
    fn conforms(&self, answer: &Complete<Self>) -> bool {
        let _ = answer;
        true
    }

    /// Whether the question is meant to have several different answers, as with a temperature above zero.
    fn is_sampled(&self) -> bool {
        false
    }

    /// Whether two answers to one question say the same. They do if their JSON is equal, unless the operation knows what
    /// of an answer does not matter.
    fn equivalent(one: &Complete<Self>, other: &Complete<Self>) -> bool {
        let json = |answer| serde_json::to_value(answer).ok();
        json(one) == json(other)
    }

    /// What an answer takes in memory, in bytes, where the operation knows that better than its JSON text tells.
    fn weight(answer: &Complete<Self>) -> Option<u64> {
        let _ = answer;
        None
    }

    /// Whether the question holds all that decides its answer. Not one that names something outside which may change: an
    /// address, a file, an earlier answer, a search. Its answer is not kept.
    fn is_self_contained(&self) -> bool {
        true
    }

    /// The independent questions inside, in order; `None` if it is one question.
    fn parts(&self) -> Option<Vec<Self>> {
        None
    }

    /// One request that asks all of `parts`; `None` if they cannot be asked together.
    fn merge(parts: &[Self]) -> Option<Self> {
        let _ = parts;
        None
    }

    /// Splits the answer to this request into the answers to its [`parts`](Self::parts).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if it has not one answer for each part; [`ErrorKind::Unsupported`] unless overridden.
    fn split(&self, whole: Complete<Self>) -> Result<Vec<Complete<Self>>, Error> {
        let _ = whole;
        Err(indivisible(Self::NAME))
    }

    /// Joins the answers to this request's [`parts`](Self::parts) into its answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if their number is wrong; [`ErrorKind::Unsupported`] unless overridden.
    fn join(&self, parts: Vec<Complete<Self>>) -> Result<Complete<Self>, Error> {
        let _ = parts;
        Err(indivisible(Self::NAME))
    }
}

/// How many tokens a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Input tokens, likely.
    pub input: u64,
    /// Input tokens, at most; `None` if nothing bounds them (images, a vendor's own tools).
    pub input_bound: Option<u64>,
    /// Output tokens, likely, all answers together.
    pub output: u64,
    /// Output tokens, at most, all answers together; `None` if the request does not bound them.
    pub output_bound: Option<u64>,
    /// How many answers are asked for.
    pub answers: u32,
}

impl Estimate {
    /// Output tokens of an answer of unknown length, likely.
    pub(crate) const OUTPUT: u64 = 512;
}

/// The estimate of an operation that says nothing of itself: 100 input tokens and one answer of 512 output tokens, both
/// without a bound. It is never nothing, so that limits on tokens and money hold for such operations too.
impl Default for Estimate {
    fn default() -> Self {
        Self { input: 100, input_bound: None, output: Self::OUTPUT, output_bound: None, answers: 1 }
    }
}

/// Asks for the answer as a stream. The question, and so its key, is the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Streamed<T>(pub T);

fn indivisible(name: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("operation {name:?} cannot be divided"))
}
