use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use llm_core::{ChatRequest, ChatResponse, EmbedRequest, Embeddings, Error, ErrorKind, layer::VendorLimits};
use secrecy::{ExposeSecret, SecretString};

use super::{
    codec::{ChunkDecoder, Dialect, KeyHeader, RULES, decode, encode_chat, encode_embed, request_id, vendor_limits},
    route::Route,
};
use crate::{
    client::secret,
    protocol::{Decoded, EncodedRequest, Model, VendorProtocol},
};

/// Codec of OpenAI's format in the dialect of one server.
///
/// It cannot count tokens, because OpenAI counts them only for requests to `/responses`, and compatible servers do not
/// count them.
#[derive(Clone, Debug, Default)]
pub struct OpenAiProtocol {
    pub(super) dialect: Dialect,
    pub(super) route: Route,
}

impl OpenAiProtocol {
    /// Creates the codec for the dialect of a server.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, route: Route::Plain }
    }
}

impl VendorProtocol for OpenAiProtocol {
    type StreamDecoder = ChunkDecoder;

    const NAME: &'static str = "openai";
    const BASE_URL: &'static str = "https://api.openai.com/v1";

    fn authorize(&self, key: &SecretString, headers: &mut HeaderMap) -> Result<(), Error> {
        let key = key.expose_secret();
        let (name, value) = match self.dialect.key {
            KeyHeader::Bearer => (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {key}"))),
            KeyHeader::ApiKey => (HeaderName::from_static("api-key"), HeaderValue::try_from(key)),
        };
        // The invalid value is not part of the message, because it is the key.
        let value = value.map_err(|_| Error::invalid("the api key has characters that cannot be in a header"))?;
        headers.insert(name, secret(value));
        Ok(())
    }

    fn chat(&self, request: &ChatRequest, streamed: bool) -> Result<EncodedRequest, Error> {
        Ok(EncodedRequest::post(
            self.route.path("chat/completions", &request.model),
            encode_chat(request, self.dialect, streamed)?,
        ))
    }

    fn read_chat(&self, body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
        decode::chat(body, &self.dialect)
    }

    fn stream_decoder(&self, request: &ChatRequest) -> ChunkDecoder {
        ChunkDecoder::new(self.dialect).choices(request.sampling.n.unwrap_or(1))
    }

    fn embed(&self, request: &EmbedRequest) -> Result<EncodedRequest, Error> {
        Ok(EncodedRequest::post(self.route.path("embeddings", &request.model), encode_embed(request, self.dialect)?))
    }

    fn read_embeddings(&self, body: &[u8], inputs: usize) -> Result<Decoded<Embeddings>, Error> {
        decode::vectors(body, inputs, &self.dialect)
    }

    fn count(&self, _: &ChatRequest) -> Result<EncodedRequest, Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("{} does not count the tokens of a chat request", self.dialect.name),
        ))
    }

    fn models(&self, _: Option<&str>) -> Result<EncodedRequest, Error> {
        Ok(EncodedRequest::get(self.route.general("models")))
    }

    fn read_models(&self, body: &[u8]) -> Result<(Vec<Model>, Option<String>), Error> {
        Ok((decode::models(body)?, None))
    }

    /// Returns the surcharge of a regional host (`eu.api.openai.com`), because its responses do not state it.
    fn surcharges(&self, host: &str) -> Vec<Arc<str>> {
        if host.ends_with(".api.openai.com") { vec!["regional".into()] } else { Vec::new() }
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
