//! Streamed answers.

mod block;
mod blocks;
mod decoder;

pub(crate) use self::decoder::EventDecoder;
