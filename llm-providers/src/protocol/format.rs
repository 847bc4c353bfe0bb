use std::{fmt, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use llm_core::{
    ChatEvent, ChatRequest, ChatResponse, EmbedRequest, Embeddings, Error, ErrorKind, Usage, Usd,
    layer::{SideCall, VendorLimits},
};
use secrecy::SecretString;

use super::{Model, usage::StatedUsage};

/// Codec of a vendor's format: requests to bytes, bytes to responses and errors.
///
/// A codec does no I/O and reads no clock. A request that the format cannot express is refused with
/// [`ErrorKind::Unsupported`], which names the field. If the vendor may charge a call and does not state the usage, the
/// charge is [`Charge::Unknown`](llm_core::Charge::Unknown).
pub trait VendorProtocol: Clone + fmt::Debug + Send + Sync + 'static {
    /// Decoder of streamed responses.
    type StreamDecoder: StreamDecoder;

    /// Name of the vendor on receipts and spans, unless [`Client::name`](crate::Client::name) sets another.
    const NAME: &'static str;
    /// Base URL of the vendor's API, unless [`Client::base_url`](crate::Client::base_url) sets another.
    const BASE_URL: &'static str;

    /// Adds the headers that hold the key. Their values must be marked sensitive. A key must not be put into a URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if the key has characters that a header cannot hold. The message must not quote
    /// the key.
    fn authorize(&self, key: &SecretString, headers: &mut HeaderMap) -> Result<(), Error>;

    /// Writes a chat request, whose response is streamed if `streamed` is `true`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] and [`ErrorKind::Unsupported`], naming the field.
    fn chat(&self, request: &ChatRequest, streamed: bool) -> Result<EncodedRequest, Error>;

    /// Reads a complete response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`], or the error that the response contains in spite of its status.
    fn read_chat(&self, body: &[u8]) -> Result<Decoded<ChatResponse>, Error>;

    /// Reads a response as [`read_chat`](Self::read_chat) does. Settings that decide the price and that the response
    /// does not state are taken from the request.
    ///
    /// # Errors
    ///
    /// The errors of [`read_chat`](Self::read_chat).
    fn read_chat_for(&self, request: &ChatRequest, body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
        let _ = request;
        self.read_chat(body)
    }

    /// Returns a decoder for the streamed response to a request. The request states the number of choices that the
    /// response must have.
    fn stream_decoder(&self, request: &ChatRequest) -> Self::StreamDecoder;

    /// Writes an embeddings request.
    ///
    /// # Errors
    ///
    /// The errors of [`chat`](Self::chat); [`ErrorKind::Unsupported`] if the vendor has no embeddings.
    fn embed(&self, request: &EmbedRequest) -> Result<EncodedRequest, Error>;

    /// Reads the response to an embeddings request with `inputs` inputs.
    ///
    /// # Errors
    ///
    /// The errors of [`read_chat`](Self::read_chat).
    fn read_embeddings(&self, body: &[u8], inputs: usize) -> Result<Decoded<Embeddings>, Error>;

    /// Writes a request to count the input tokens of a chat request.
    ///
    /// # Errors
    ///
    /// The errors of [`chat`](Self::chat); [`ErrorKind::Unsupported`], which is the default, if the vendor does not
    /// count tokens.
    fn count(&self, request: &ChatRequest) -> Result<EncodedRequest, Error> {
        let _ = request;
        Err(Error::new(ErrorKind::Unsupported, format!("{} does not count the tokens of a chat request", Self::NAME)))
    }

    /// Reads the response to a request to count tokens.
    ///
    /// # Errors
    ///
    /// The errors of [`read_chat`](Self::read_chat).
    fn read_count(&self, body: &[u8]) -> Result<u64, Error> {
        let _ = body;
        Err(Error::new(ErrorKind::Unsupported, format!("{} does not count the tokens of a chat request", Self::NAME)))
    }

    /// Encodes a request for one page of the vendor's list of models. `page` is the name that
    /// [`read_models`](Self::read_models) returned for the previous page; `None` requests the first page.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`], which is the default, if the vendor has no list.
    fn models(&self, page: Option<&str>) -> Result<EncodedRequest, Error> {
        let _ = page;
        Err(Error::new(ErrorKind::Unsupported, format!("{} does not list its models", Self::NAME)))
    }

    /// Reads a page of the list of models, and the name of the next page; `None` on the last page.
    ///
    /// # Errors
    ///
    /// The errors of [`read_chat`](Self::read_chat).
    fn read_models(&self, body: &[u8]) -> Result<(Vec<Model>, Option<String>), Error> {
        let _ = body;
        Err(Error::new(ErrorKind::Unsupported, format!("{} does not list its models", Self::NAME)))
    }

    /// Returns the surcharges that apply to all requests to this host, in addition to those that responses state, by
    /// the names in price tables' [`surcharges`](llm_core::price::ModelPrice::surcharges). None by default.
    fn surcharges(&self, host: &str) -> Vec<Arc<str>> {
        let _ = host;
        Vec::new()
    }

    /// Creates the error for a response with an error status. The error's message contains neither `key` nor anything
    /// that looks like a key.
    fn classify(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
        key: Option<&str>,
    ) -> Error;

    /// Reads the limits on the requested model that the headers of a response state, and the account that shares them
    /// ([`VendorLimits::group`]), which is returned even without limits. If the window of a limit is not known, the
    /// limit has no window.
    fn limits(&self, headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits>;

    /// Reads the vendor's id of a request from the headers.
    fn request_id<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str>;
}

/// Decoder of a streamed response, which takes one event at a time.
pub trait StreamDecoder: Send + Unpin + 'static {
    /// Decodes one server-sent event. After the vendor's own end of the stream it returns no events.
    ///
    /// A [`ChatEvent::Usage`] holds the usage of the complete response. A usage that may still grow is only returned by
    /// [`usage`](Self::usage).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`], or the error that the event contains.
    fn event(&mut self, name: Option<&str>, data: &str) -> Result<Vec<ChatEvent>, Error>;

    /// Ends the stream and returns the events that were held back for its end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] if the vendor's own end of the stream has not arrived.
    fn finish(&mut self) -> Result<Vec<ChatEvent>, Error>;

    /// Returns `true` if the vendor's own end of the stream has arrived, so that nothing more can follow.
    fn is_done(&self) -> bool;

    /// Returns the usage so far, which may still grow. If the response breaks off, it is a lower bound:
    /// [`Accounting::usage_so_far`](llm_core::layer::Accounting::usage_so_far).
    fn usage(&self) -> Option<Usage>;

    /// Returns the service class that the vendor has stated so far, if any.
    fn service_tier(&self) -> Option<&Arc<str>>;

    /// Returns the surcharges that are known so far; none by default. Later events may change them.
    fn surcharges(&self) -> &[Arc<str>] {
        &[]
    }

    /// Returns the calls that the vendor made in addition to the response's own, as stated so far; none by default.
    /// Their tokens are included in [`usage`](Self::usage).
    fn side_calls(&self) -> &[SideCall] {
        &[]
    }

    /// Returns name and value of the first count in the usage that is impossible; `None` by default.
    fn unusable_usage(&self) -> Option<&Arc<str>> {
        None
    }

    /// Returns the amount that the vendor states it billed; `None` by default.
    fn billed(&self) -> Option<Usd> {
        None
    }
}

/// Request as a [`VendorProtocol`] writes it. The client adds the base URL, the key and its own headers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncodedRequest {
    /// The HTTP method.
    pub method: Method,
    /// Path below the base URL, without a leading slash. It may have a query, but must not contain a key.
    pub path: String,
    /// Headers of the request. [`Client::header`](crate::Client::header) can replace them.
    pub headers: HeaderMap,
    /// JSON body; empty for GET.
    pub body: Bytes,
}

impl EncodedRequest {
    /// Creates a POST request with a JSON body.
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path: path.into(), headers: HeaderMap::new(), body: body.into() }
    }

    /// Creates a GET request.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// Decoded response, with the values that the vendor stated in addition.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decoded<A> {
    /// The response.
    pub output: A,
    /// Usage of the response; `None` if the vendor stated none.
    pub usage: Option<Usage>,
    /// Service class that the vendor stated, which decides the price; `None` if it stated none.
    pub service_tier: Option<Arc<str>>,
    /// Options that the vendor charges a factor for: see
    /// [`PriceOptions::surcharges`](llm_core::price::PriceOptions::surcharges).
    pub surcharges: Vec<Arc<str>>,
    /// Calls that the vendor made in addition to the response's own. Their tokens are included in `usage`.
    pub side_calls: Vec<SideCall>,
    /// Name and value of the first count in the usage that is impossible: `prompt_tokens: -5`.
    pub unusable_usage: Option<Arc<str>>,
    /// Amount that the vendor states it billed; `None` if it states none.
    pub billed: Option<Usd>,
}

impl<A> Decoded<A> {
    /// Creates a decoded response with its usage and service class.
    pub fn new(output: A, usage: Option<Usage>, service_tier: Option<Arc<str>>) -> Self {
        let (surcharges, side_calls, unusable_usage) = Default::default();
        Self { output, usage, service_tier, surcharges, side_calls, unusable_usage, billed: None }
    }

    /// Creates a decoded response with all values that the vendor stated about its usage.
    pub(crate) fn stated(output: A, stated: &StatedUsage, service_tier: Option<Arc<str>>) -> Self {
        let (side_calls, unusable_usage) = (stated.side_calls().to_vec(), stated.unusable().cloned());
        Self { side_calls, unusable_usage, ..Self::new(output, stated.usage(), service_tier) }
    }

    /// Sets the options that the vendor charges a factor for.
    pub fn with_surcharges(self, surcharges: Vec<Arc<str>>) -> Self {
        Self { surcharges, ..self }
    }

    /// Sets the amount that the vendor states it billed.
    pub fn with_billed(self, billed: Option<Usd>) -> Self {
        Self { billed, ..self }
    }
}
