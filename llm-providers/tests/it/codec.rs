//! Short names for the vendors' formats: each function calls one of a [`VendorProtocol`] with default settings.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_core::{ChatEvent, ChatRequest, ChatResponse, EmbedRequest, Embeddings, Error, Usage, layer::VendorLimits};
use llm_providers::protocol::{Model, StreamDecoder, VendorProtocol};

/// Decoder of streamed responses whose events have no names.
pub(crate) struct Decoder<P: VendorProtocol>(P::StreamDecoder);

impl<P: VendorProtocol> Decoder<P> {
    fn of(protocol: &P, choices: u32) -> Self {
        let mut request = ChatRequest::new("m").user("hello");
        request.sampling.n = Some(choices);
        Self(protocol.stream_decoder(&request))
    }

    pub(crate) fn decode(&mut self, data: &str) -> Result<Vec<ChatEvent>, Error> {
        self.0.event(None, data)
    }

    pub(crate) fn finish(&mut self) -> Result<Vec<ChatEvent>, Error> {
        self.0.finish()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.is_done()
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        self.0.usage()
    }
}

impl<P: VendorProtocol + Default> Default for Decoder<P> {
    fn default() -> Self {
        Self::of(&P::default(), 1)
    }
}

/// Defines the functions that every format has.
macro_rules! format {
    ($protocol:expr) => {
        pub(crate) fn classify(
            status: StatusCode,
            headers: &HeaderMap,
            body: &[u8],
            now: SystemTime,
            key: Option<&str>,
        ) -> Error {
            $protocol.classify(status, headers, body, now, key)
        }

        pub(crate) fn decode_chat(body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
            $protocol.read_chat(body)
        }
    };
}

pub(crate) mod openai {
    pub(crate) use llm_providers::{
        openai::{Dialect, OpenAiProtocol},
        protocol::Decoded,
    };

    use super::*;

    pub(crate) type ChunkDecoder = Decoder<OpenAiProtocol>;

    format!(OpenAiProtocol::default());

    impl ChunkDecoder {
        pub(crate) fn new(dialect: Dialect) -> Self {
            Self::of(&OpenAiProtocol::new(dialect), 1)
        }
    }

    pub(crate) fn decode_embeddings(body: &[u8], inputs: usize) -> Result<Decoded<Embeddings>, Error> {
        OpenAiProtocol::default().read_embeddings(body, inputs)
    }

    pub(crate) fn encode_chat(request: &ChatRequest, dialect: Dialect, streamed: bool) -> Result<Bytes, Error> {
        Ok(OpenAiProtocol::new(dialect).chat(request, streamed)?.body)
    }

    pub(crate) fn encode_embed(request: &EmbedRequest, dialect: Dialect) -> Result<Bytes, Error> {
        Ok(OpenAiProtocol::new(dialect).embed(request)?.body)
    }

    pub(crate) fn vendor_limits(headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits> {
        OpenAiProtocol::default().limits(headers, model, now)
    }
}

pub(crate) mod anthropic {
    pub(crate) use llm_providers::{
        anthropic::{AnthropicProtocol, Options},
        protocol::Decoded,
    };

    use super::*;

    pub(crate) type EventDecoder = Decoder<AnthropicProtocol>;

    format!(AnthropicProtocol::default());

    pub(crate) fn decode_count(body: &[u8]) -> Result<u64, Error> {
        AnthropicProtocol::default().read_count(body)
    }

    pub(crate) fn decode_models(body: &[u8]) -> Result<(Vec<Model>, Option<String>), Error> {
        AnthropicProtocol::default().read_models(body)
    }

    pub(crate) fn encode_chat(request: &ChatRequest, options: Options, streamed: bool) -> Result<Bytes, Error> {
        Ok(AnthropicProtocol::new(options).chat(request, streamed)?.body)
    }

    pub(crate) fn encode_count(request: &ChatRequest, options: Options) -> Result<Bytes, Error> {
        Ok(AnthropicProtocol::new(options).count(request)?.body)
    }

    pub(crate) fn vendor_limits(headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits> {
        AnthropicProtocol::default().limits(headers, model, now)
    }
}

pub(crate) mod gemini {
    pub(crate) use llm_providers::{
        gemini::{Dialect, GeminiProtocol},
        protocol::Decoded,
    };

    use super::*;

    pub(crate) type ChunkDecoder = Decoder<GeminiProtocol>;

    format!(GeminiProtocol::default());

    impl ChunkDecoder {
        pub(crate) fn candidates(asked: u32) -> Self {
            Self::of(&GeminiProtocol::default(), asked)
        }
    }

    pub(crate) fn decode_count(body: &[u8]) -> Result<u64, Error> {
        GeminiProtocol::default().read_count(body)
    }

    pub(crate) fn decode_embeddings(body: &[u8], inputs: usize) -> Result<Decoded<Embeddings>, Error> {
        GeminiProtocol::default().read_embeddings(body, inputs)
    }

    pub(crate) fn decode_models(body: &[u8]) -> Result<(Vec<Model>, Option<String>), Error> {
        GeminiProtocol::default().read_models(body)
    }

    pub(crate) fn encode_chat(request: &ChatRequest, dialect: Dialect) -> Result<Bytes, Error> {
        Ok(GeminiProtocol::new(dialect).chat(request, false)?.body)
    }

    pub(crate) fn encode_count(request: &ChatRequest, dialect: Dialect) -> Result<Bytes, Error> {
        Ok(GeminiProtocol::new(dialect).count(request)?.body)
    }

    pub(crate) fn encode_embed(request: &EmbedRequest) -> Result<Bytes, Error> {
        Ok(GeminiProtocol::default().embed(request)?.body)
    }
}
