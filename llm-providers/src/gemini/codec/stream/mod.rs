//! Decoding of streamed responses.

mod candidate;
mod decoder;
mod unknown_fields;

pub(crate) use self::decoder::ChunkDecoder;
