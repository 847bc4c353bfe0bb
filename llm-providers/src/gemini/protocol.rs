use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode};
use llm_core::{ChatRequest, ChatResponse, EmbedRequest, Embeddings, Error, layer::VendorLimits};
use secrecy::{ExposeSecret, SecretString};

use super::codec::{
    ChunkDecoder, Dialect, RULES, address, decode_chat, decode_count, decode_embeddings, decode_models, encode_chat,
    encode_count, encode_embed, models_path,
};
use crate::{
    client::secret,
    protocol::{Decoded, EncodedRequest, Model, VendorProtocol},
};

/// Codec of Gemini's format.
#[derive(Clone, Debug, Default)]
pub struct GeminiProtocol {
    pub(super) dialect: Dialect,
}

impl GeminiProtocol {
    /// Creates the codec with these options.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect }
    }
}

impl VendorProtocol for GeminiProtocol {
    type StreamDecoder = ChunkDecoder;

    const NAME: &'static str = "gemini";
    const BASE_URL: &'static str = "https://generativelanguage.googleapis.com/v1beta";

    fn authorize(&self, key: &SecretString, headers: &mut HeaderMap) -> Result<(), Error> {
        // The invalid value is not part of the message, because it is the key.
        let value = HeaderValue::from_str(key.expose_secret())
            .map_err(|_| Error::invalid("the api key has characters that cannot be in a header"))?;
        headers.insert("x-goog-api-key", secret(value));
        Ok(())
    }

    fn chat(&self, request: &ChatRequest, streamed: bool) -> Result<EncodedRequest, Error> {
        let verb = if streamed { "streamGenerateContent?alt=sse" } else { "generateContent" };
        Ok(EncodedRequest::post(address(&request.model, verb)?, encode_chat(request, self.dialect)?))
    }

    fn read_chat(&self, body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
        decode_chat(body)
    }

    fn stream_decoder(&self, request: &ChatRequest) -> ChunkDecoder {
        ChunkDecoder::candidates(request.sampling.n.unwrap_or(1))
    }

    fn embed(&self, request: &EmbedRequest) -> Result<EncodedRequest, Error> {
        Ok(EncodedRequest::post(address(&request.model, "batchEmbedContents")?, encode_embed(request)?))
    }

    fn read_embeddings(&self, body: &[u8], inputs: usize) -> Result<Decoded<Embeddings>, Error> {
        decode_embeddings(body, inputs)
    }

    fn count(&self, request: &ChatRequest) -> Result<EncodedRequest, Error> {
        Ok(EncodedRequest::post(address(&request.model, "countTokens")?, encode_count(request, self.dialect)?))
    }

    fn read_count(&self, body: &[u8]) -> Result<u64, Error> {
        decode_count(body)
    }

    fn models(&self, page: Option<&str>) -> Result<EncodedRequest, Error> {
        Ok(EncodedRequest::get(models_path(page)))
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

    /// Returns `None`, because Gemini states its limits only in error responses.
    fn limits(&self, _: &HeaderMap, _: &Arc<str>, _: SystemTime) -> Option<VendorLimits> {
        None
    }

    /// Returns `None`, because Gemini states the id of a request in the body: see [`ChatResponse::id`].
    fn request_id<'h>(&self, _: &'h HeaderMap) -> Option<&'h str> {
        None
    }
}
