//! Codec of Gemini's format, without I/O. It encodes requests, and decodes responses and errors.

mod address;
mod call_id;
mod decode;
mod dialect;
mod encode;
mod error;
mod stream;

pub(crate) use self::address::{address, models_path};
use self::call_id::CallIds;
pub(crate) use self::decode::{decode_chat, decode_count, decode_embeddings, decode_models};
pub use self::dialect::Dialect;
pub(crate) use self::encode::{encode_chat, encode_count, encode_embed};
pub(crate) use self::error::RULES;
pub(crate) use self::stream::ChunkDecoder;
use crate::protocol::fields;
