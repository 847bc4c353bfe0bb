//! Streamed answers.

mod candidate;
mod decoder;
mod further;

pub(crate) use self::decoder::ChunkDecoder;
