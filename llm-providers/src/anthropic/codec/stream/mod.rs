//! Streamed answers.

mod block;
mod decoder;

pub use self::decoder::EventDecoder;
