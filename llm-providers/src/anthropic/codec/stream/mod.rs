//! Decoding of streamed responses.

mod block;
mod blocks;
mod decoder;

pub(crate) use self::decoder::EventDecoder;
