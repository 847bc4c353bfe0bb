//! Streamed answers.

mod block;
mod blocks;
mod decoder;

pub use self::decoder::EventDecoder;
