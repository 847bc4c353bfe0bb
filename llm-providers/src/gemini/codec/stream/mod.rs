//! Streamed answers.

mod candidate;
mod decoder;
mod further;

pub use self::decoder::ChunkDecoder;
