use std::{fmt, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use llm_core::{
    ChatEvent, ChatRequest, ChatResponse, EmbedRequest, Embeddings, Error, ErrorKind, Usage, Usd,
    layer::{SideCall, VendorLimits},
};
use secrecy::SecretString;

use super::{Model, usage::StatedUsage};

/// A vendor's wire format: questions to requests, bytes to answers, refusals to errors.
///
/// Nothing here waits, sends or reads a clock. What the format cannot say is refused with
/// [`ErrorKind::Unsupported`], naming the field. What an answer costs but its vendor did not say is
/// [`Charge::Unknown`](llm_core::Charge::Unknown).
pub trait VendorProtocol: Clone + fmt::Debug + Send + Sync + 'static {
    /// Reads streamed answers.
    type StreamDecoder: StreamDecoder;

    /// The vendor's name on receipts and spans, unless the client is told another.
    const NAME: &'static str;
    /// Where the vendor is, unless the client is told another.
    const BASE_URL: &'static str;

    /// Adds the headers that hold the key. Values must be marked sensitive; no key goes into a URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if the key has characters that cannot be in a header; never quoting it.
    fn authorize(&self, key: &SecretString, headers: &mut HeaderMap) -> Result<(), Error>;

    /// Writes a chat request, for a whole or a streamed answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] and [`ErrorKind::Unsupported`], naming the field.
    fn chat(&self, request: &ChatRequest, streamed: bool) -> Result<EncodedRequest, Error>;

    /// Reads a whole answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`], or the error that the answer holds in spite of its status.
    fn read_chat(&self, body: &[u8]) -> Result<Decoded<ChatResponse>, Error>;

    /// As [`read_chat`](Self::read_chat), for a vendor that may leave out of an answer what its request tells of the price.
    ///
    /// # Errors
    ///
    /// As [`read_chat`](Self::read_chat).
    fn read_chat_for(&self, request: &ChatRequest, body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
        let _ = request;
        self.read_chat(body)
    }

    /// Begins to read the streamed answer to a request, which says how many choices there must be.
    fn stream_decoder(&self, request: &ChatRequest) -> Self::StreamDecoder;

    /// Writes an embeddings request.
    ///
    /// # Errors
    ///
    /// As [`chat`](Self::chat); [`ErrorKind::Unsupported`] where the vendor has no embeddings.
    fn embed(&self, request: &EmbedRequest) -> Result<EncodedRequest, Error>;

    /// Reads the vectors of this many inputs.
    ///
    /// # Errors
    ///
    /// As [`read_chat`](Self::read_chat).
    fn read_embeddings(&self, body: &[u8], inputs: usize) -> Result<Decoded<Embeddings>, Error>;

    /// Writes a request to count the input tokens of a chat request.
    ///
    /// # Errors
    ///
    /// As [`chat`](Self::chat); [`ErrorKind::Unsupported`], as here by default, where the vendor does not count.
    fn count(&self, request: &ChatRequest) -> Result<EncodedRequest, Error> {
        let _ = request;
        Err(Error::new(ErrorKind::Unsupported, format!("{} does not count the tokens of a chat request", Self::NAME)))
    }

    /// Reads how many tokens were counted.
    ///
    /// # Errors
    ///
    /// As [`read_chat`](Self::read_chat).
    fn read_count(&self, body: &[u8]) -> Result<u64, Error> {
        let _ = body;
        Err(Error::new(ErrorKind::Unsupported, format!("{} does not count the tokens of a chat request", Self::NAME)))
    }

    /// Writes a request for the list of models: its beginning, or the page that the one before named.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`], as here by default, where the vendor has no list.
    fn models(&self, page: Option<&str>) -> Result<EncodedRequest, Error> {
        let _ = page;
        Err(Error::new(ErrorKind::Unsupported, format!("{} does not list its models", Self::NAME)))
    }

    /// Reads a page of the list, and the name of the next page unless it was the last.
    ///
    /// # Errors
    ///
    /// As [`read_chat`](Self::read_chat).
    fn read_models(&self, body: &[u8]) -> Result<(Vec<Model>, Option<String>), Error> {
        let _ = body;
        Err(Error::new(ErrorKind::Unsupported, format!("{} does not list its models", Self::NAME)))
    }

    /// What the vendor charges a factor for at this host, whatever its answers say: names as in price tables'
    /// [`surcharges`](llm_core::price::ModelPrice::surcharges). None by default.
    fn surcharges(&self, host: &str) -> Vec<Arc<str>> {
        let _ = host;
        Vec::new()
    }

    /// Makes an error of an HTTP answer that is none. Its message holds neither `key` nor what looks like one.
    fn classify(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
        key: Option<&str>,
    ) -> Error;

    /// The limits that the headers of an answer tell, for the model that was asked.
    fn limits(&self, headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits>;

    /// The vendor's id of a request.
    fn request_id<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str>;
}

/// Reads the events of a streamed answer, one at a time.
pub trait StreamDecoder: Send + Unpin + 'static {
    /// The pieces in one server-sent event. After the vendor's own end there are none.
    ///
    /// A [`ChatEvent::Usage`] is the whole answer's: what is told before the end, and will still grow, is only for
    /// [`usage`](Self::usage).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`], or the error that the event holds.
    fn event(&mut self, name: Option<&str>, data: &str) -> Result<Vec<ChatEvent>, Error>;

    /// Says that the stream has ended, and gives what was held back for the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] unless the vendor's own end was seen.
    fn finish(&mut self) -> Result<Vec<ChatEvent>, Error>;

    /// Whether the vendor's own end was seen, so that nothing more can come.
    fn is_done(&self) -> bool;

    /// What is known so far of the tokens that the answer took, also while it grows. Of an answer that breaks off it
    /// is what is known at least: [`Accounting::usage_so_far`](llm_core::layer::Accounting::usage_so_far).
    fn usage(&self) -> Option<Usage>;

    /// The vendor's service class, if it has said so yet.
    fn service_tier(&self) -> Option<&Arc<str>>;

    /// What the vendor charges a factor for, as far as is known yet; none by default. What it says later may change it.
    fn surcharges(&self) -> &[Arc<str>] {
        &[]
    }

    /// Calls that the vendor made beside the answer's own, as far as it has said so yet; none by default. Their tokens
    /// are part of [`usage`](Self::usage).
    fn side_calls(&self) -> &[SideCall] {
        &[]
    }

    /// First count of the usage that cannot be one, by its name and value; none by default.
    fn unusable_usage(&self) -> Option<&Arc<str>> {
        None
    }

    /// Amount that the vendor states it billed, if it has said so yet; none by default.
    fn billed(&self) -> Option<Usd> {
        None
    }
}

/// A request as a [`VendorProtocol`] writes it. The client adds address, key and its own headers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncodedRequest {
    /// The HTTP method.
    pub method: Method,
    /// The path below the base URL, without a slash at its beginning; it may have a query, but no key in it.
    pub path: String,
    /// Further headers. A header that the client was told to send replaces one of the same name.
    pub headers: HeaderMap,
    /// The body, JSON; empty with GET.
    pub body: Bytes,
}

impl EncodedRequest {
    /// A POST of a JSON body.
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path: path.into(), headers: HeaderMap::new(), body: body.into() }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// An answer, with what came beside it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decoded<A> {
    /// The answer.
    pub output: A,
    /// What it took; `None` if the vendor did not say.
    pub usage: Option<Usage>,
    /// The vendor's service class, which decides the price; `None` if it did not say.
    pub service_tier: Option<Arc<str>>,
    /// What the vendor charges a factor for: see
    /// [`PriceOptions::surcharges`](llm_core::price::PriceOptions::surcharges).
    pub surcharges: Vec<Arc<str>>,
    /// Calls that the vendor made beside the answer's own. Their tokens are part of `usage`.
    pub side_calls: Vec<SideCall>,
    /// First count of the usage that cannot be one, by its name and value: `prompt_tokens: -5`.
    pub unusable_usage: Option<Arc<str>>,
    /// Amount that the vendor states it billed; `None` if it did not say.
    pub billed: Option<Usd>,
}

impl<A> Decoded<A> {
    /// An answer with what its vendor said of it.
    pub fn new(output: A, usage: Option<Usage>, service_tier: Option<Arc<str>>) -> Self {
        let (surcharges, side_calls, unusable_usage) = Default::default();
        Self { output, usage, service_tier, surcharges, side_calls, unusable_usage, billed: None }
    }

    /// An answer with everything that its vendor stated of its usage.
    pub(crate) fn stated(output: A, stated: &StatedUsage, service_tier: Option<Arc<str>>) -> Self {
        let (side_calls, unusable_usage) = (stated.side_calls().to_vec(), stated.unusable().cloned());
        Self { side_calls, unusable_usage, ..Self::new(output, stated.usage(), service_tier) }
    }

    /// Adds what the vendor charges a factor for.
    pub fn with_surcharges(self, surcharges: Vec<Arc<str>>) -> Self {
        Self { surcharges, ..self }
    }

    /// Adds the amount that the vendor states it billed.
    pub fn with_billed(self, billed: Option<Usd>) -> Self {
        Self { billed, ..self }
    }
}
