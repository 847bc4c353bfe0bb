use std::{fmt, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use llm_core::{
    ChatEvent, ChatRequest, ChatResponse, EmbedRequest, Embeddings, Error, ErrorKind, Usage, Usd,
    layer::{SideCall, VendorLimits},
};
use secrecy::SecretString;

use super::{Model, usage::StatedUsage};

/// A vendor's format: requests to bytes, bytes to responses and errors.
///
/// Nothing here waits, sends or reads a clock. What the format cannot express is refused with
/// [`ErrorKind::Unsupported`], naming the field. What a response costs but its vendor did not say is
/// [`Charge::Unknown`](llm_core::Charge::Unknown).
pub trait VendorProtocol: Clone + fmt::Debug + Send + Sync + 'static {
    /// Decoder of streamed responses.
    type StreamDecoder: StreamDecoder;

    /// Vendor's name on receipts and spans, unless [`Client::name`](crate::Client::name) sets another.
    const NAME: &'static str;
    /// Vendor's address, unless [`Client::base_url`](crate::Client::base_url) sets another.
    const BASE_URL: &'static str;

    /// Adds the headers that hold the key. Values must be marked sensitive; no key goes into a URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if the key has characters that cannot be in a header; never quoting it.
    fn authorize(&self, key: &SecretString, headers: &mut HeaderMap) -> Result<(), Error>;

    /// Writes a chat request, for a whole or a streamed response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] and [`ErrorKind::Unsupported`], naming the field.
    fn chat(&self, request: &ChatRequest, streamed: bool) -> Result<EncodedRequest, Error>;

    /// Reads a whole response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`], or the error that the response holds in spite of its status.
    fn read_chat(&self, body: &[u8]) -> Result<Decoded<ChatResponse>, Error>;

    /// Reads a response like [`read_chat`](Self::read_chat). A setting of the request that decides the price counts
    /// where the response does not state it.
    ///
    /// # Errors
    ///
    /// As [`read_chat`](Self::read_chat).
    fn read_chat_for(&self, request: &ChatRequest, body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
        let _ = request;
        self.read_chat(body)
    }

    /// Returns a decoder of the streamed response to a request, which says how many choices there must be.
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

    /// Encodes a request for one page of the vendor's list of models. `page` is the name that the previous page gave;
    /// `None` requests the first page.
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

    /// Returns what the vendor charges a factor for at this host, beside what its responses state: names as in price
    /// tables' [`surcharges`](llm_core::price::ModelPrice::surcharges). None by default.
    fn surcharges(&self, host: &str) -> Vec<Arc<str>> {
        let _ = host;
        Vec::new()
    }

    /// Makes an error of a response with an error status. Its message holds neither `key` nor anything like a key.
    fn classify(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
        key: Option<&str>,
    ) -> Error;

    /// Reads the limits that the headers of a response state, for the requested model, and the account that shares them
    /// ([`VendorLimits::group`]), with or without limits. A limit whose window the format does not know has none.
    fn limits(&self, headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits>;

    /// Reads the vendor's id of a request.
    fn request_id<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str>;
}

/// Decoder of a streamed response, one event at a time.
pub trait StreamDecoder: Send + Unpin + 'static {
    /// Decodes one server-sent event. After the vendor's own end it returns no pieces.
    ///
    /// A [`ChatEvent::Usage`] is the whole response's: a usage that may still grow is only in
    /// [`usage`](Self::usage).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`], or the error that the event holds.
    fn event(&mut self, name: Option<&str>, data: &str) -> Result<Vec<ChatEvent>, Error>;

    /// Ends the stream and returns the pieces that were held back for the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] unless the vendor's own end was seen.
    fn finish(&mut self) -> Result<Vec<ChatEvent>, Error>;

    /// Returns true if the vendor's own end was seen, so that nothing more can come.
    fn is_done(&self) -> bool;

    /// Returns the usage that is known so far, also while it grows. Of a response that breaks off it
    /// is what is known at least: [`Accounting::usage_so_far`](llm_core::layer::Accounting::usage_so_far).
    fn usage(&self) -> Option<Usage>;

    /// Returns the vendor's service class, if it has stated one.
    fn service_tier(&self) -> Option<&Arc<str>>;

    /// Returns what the vendor charges a factor for, as known so far; none by default. Later events may change it.
    fn surcharges(&self) -> &[Arc<str>] {
        &[]
    }

    /// Returns the calls that the vendor made beside the response's own, as stated so far; none by default. Their
    /// tokens are part of [`usage`](Self::usage).
    fn side_calls(&self) -> &[SideCall] {
        &[]
    }

    /// Returns the first count of the usage that cannot be one, by its name and value; none by default.
    fn unusable_usage(&self) -> Option<&Arc<str>> {
        None
    }

    /// Returns the amount that the vendor states it billed; none by default.
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
    /// Further headers. One that [`Client::header`](crate::Client::header) sets replaces one of the same name.
    pub headers: HeaderMap,
    /// The body, JSON; empty with GET.
    pub body: Bytes,
}

impl EncodedRequest {
    /// Returns a POST of a JSON body.
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path: path.into(), headers: HeaderMap::new(), body: body.into() }
    }

    /// Returns a GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// A decoded response, with what came beside it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decoded<A> {
    /// The response.
    pub output: A,
    /// Usage; `None` if the vendor stated none.
    pub usage: Option<Usage>,
    /// Vendor's service class, which decides the price; `None` if it stated none.
    pub service_tier: Option<Arc<str>>,
    /// Surcharges, which the vendor charges a factor for: see
    /// [`PriceOptions::surcharges`](llm_core::price::PriceOptions::surcharges).
    pub surcharges: Vec<Arc<str>>,
    /// Calls that the vendor made beside the response's own. Their tokens are part of `usage`.
    pub side_calls: Vec<SideCall>,
    /// First count of the usage that cannot be one, by its name and value: `prompt_tokens: -5`.
    pub unusable_usage: Option<Arc<str>>,
    /// Amount that the vendor states it billed; `None` if it did not say.
    pub billed: Option<Usd>,
}

impl<A> Decoded<A> {
    /// Returns a response with its usage and service class.
    pub fn new(output: A, usage: Option<Usage>, service_tier: Option<Arc<str>>) -> Self {
        let (surcharges, side_calls, unusable_usage) = Default::default();
        Self { output, usage, service_tier, surcharges, side_calls, unusable_usage, billed: None }
    }

    /// Returns a response with everything that its vendor stated of its usage.
    pub(crate) fn stated(output: A, stated: &StatedUsage, service_tier: Option<Arc<str>>) -> Self {
        let (side_calls, unusable_usage) = (stated.side_calls().to_vec(), stated.unusable().cloned());
        Self { side_calls, unusable_usage, ..Self::new(output, stated.usage(), service_tier) }
    }

    /// Sets the surcharges.
    pub fn with_surcharges(self, surcharges: Vec<Arc<str>>) -> Self {
        Self { surcharges, ..self }
    }

    /// Sets the amount that the vendor states it billed.
    pub fn with_billed(self, billed: Option<Usd>) -> Self {
        Self { billed, ..self }
    }
}
