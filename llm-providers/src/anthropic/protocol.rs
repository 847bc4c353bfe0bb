use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode};
use llm_core::{ChatRequest, ChatResponse, EmbedRequest, Embeddings, Error, ErrorKind, layer::VendorLimits};
use secrecy::{ExposeSecret, SecretString};

use super::codec::{
    EventDecoder, Options, RULES, decode_chat, decode_count, decode_models, decode_response, encode_chat, encode_count,
    request_id, vendor_limits,
};
use crate::{
    client::secret,
    protocol::{Decoded, EncodedRequest, Model, VendorProtocol},
};

/// Version of the API (`anthropic-version`), which is sent with each request.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
/// Largest number of models on a page of the list of models.
const PAGE: u32 = 1_000;

/// Codec of Anthropic's messages format.
#[derive(Clone, Debug, Default)]
pub struct AnthropicProtocol {
    pub(super) options: Options,
    pub(super) betas: Vec<String>,
}

impl AnthropicProtocol {
    /// Creates the codec with the settings for values that a request leaves open.
    pub fn new(options: Options) -> Self {
        Self { options, betas: Vec::new() }
    }

    fn headed(&self, mut encoded: EncodedRequest) -> EncodedRequest {
        encoded.headers.insert("anthropic-version", VERSION);
        // The name of each beta was checked when it was set, so the conversion always succeeds.
        if let (false, Ok(betas)) = (self.betas.is_empty(), HeaderValue::try_from(self.betas.join(","))) {
            encoded.headers.insert("anthropic-beta", betas);
        }
        encoded
    }
}

impl VendorProtocol for AnthropicProtocol {
    type StreamDecoder = EventDecoder;

    const NAME: &'static str = "anthropic";
    const BASE_URL: &'static str = "https://api.anthropic.com/v1";

    fn authorize(&self, key: &SecretString, headers: &mut HeaderMap) -> Result<(), Error> {
        // The invalid value is not part of the message, because it is the key.
        let key = HeaderValue::try_from(key.expose_secret())
            .map_err(|_| Error::invalid("the api key has characters that cannot be in a header"))?;
        headers.insert("x-api-key", secret(key));
        Ok(())
    }

    fn chat(&self, request: &ChatRequest, streamed: bool) -> Result<EncodedRequest, Error> {
        Ok(self.headed(EncodedRequest::post("messages", encode_chat(request, self.options, streamed)?)))
    }

    fn read_chat(&self, body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
        decode_chat(body)
    }

    /// Reads a response. A region or speed that the response does not state is taken from the request, because it
    /// decides the price.
    fn read_chat_for(&self, request: &ChatRequest, body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
        decode_response(request, body)
    }

    fn stream_decoder(&self, request: &ChatRequest) -> EventDecoder {
        EventDecoder::of(request)
    }

    fn embed(&self, _: &EmbedRequest) -> Result<EncodedRequest, Error> {
        Err(no_embeddings())
    }

    fn read_embeddings(&self, _: &[u8], _: usize) -> Result<Decoded<Embeddings>, Error> {
        Err(no_embeddings())
    }

    fn count(&self, request: &ChatRequest) -> Result<EncodedRequest, Error> {
        Ok(self.headed(EncodedRequest::post("messages/count_tokens", encode_count(request, self.options)?)))
    }

    fn read_count(&self, body: &[u8]) -> Result<u64, Error> {
        decode_count(body)
    }

    fn models(&self, page: Option<&str>) -> Result<EncodedRequest, Error> {
        let after = page.map(|after| format!("&after_id={}", escaped(after))).unwrap_or_default();
        Ok(self.headed(EncodedRequest::get(format!("models?limit={PAGE}{after}"))))
    }

    fn read_models(&self, body: &[u8]) -> Result<(Vec<Model>, Option<String>), Error> {
        decode_models(body)
    }

    fn classify(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
        key: Option<&str>,
    ) -> Error {
        RULES.classify(status, headers, body, now, key)
    }

    fn limits(&self, headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits> {
        vendor_limits(headers, model, now)
    }

    fn request_id<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        request_id(headers)
    }
}

fn no_embeddings() -> Error {
    Error::new(ErrorKind::Unsupported, "anthropic has no embeddings")
}

/// Escapes a value for the query of a URL.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
