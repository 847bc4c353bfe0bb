//! Streamed answers.

mod brackets;
mod choice;
mod decoder;
mod details;
mod tool;

pub use self::decoder::ChunkDecoder;
