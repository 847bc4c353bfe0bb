//! Decoding of streamed responses.

mod brackets;
mod choice;
mod decoder;
mod details;
mod tool;

pub(crate) use self::decoder::ChunkDecoder;
