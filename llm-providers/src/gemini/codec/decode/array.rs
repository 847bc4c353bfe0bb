use llm_core::{ChatResponse, Error};

use super::super::{ChunkDecoder, fields::malformed};
use crate::protocol::{Decoded, StreamDecoder};

/// Reads a streamed response whose chunks arrived as one JSON list, and merges the chunks into one response.
pub(super) fn decode(body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
    let text = std::str::from_utf8(body).map_err(|error| malformed("the response is not UTF-8").with_source(error))?;
    let mut decoder = ChunkDecoder::default();
    let mut events = decoder.decode(text)?;
    events.extend(decoder.finish()?);
    Ok(decoder.response_usage().decoded(events.into_iter().collect(), decoder.service_tier().cloned()))
}
