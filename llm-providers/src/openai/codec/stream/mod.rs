//! Streamed answers.

mod choice;
mod decoder;
mod tool;

pub use self::decoder::ChunkDecoder;
