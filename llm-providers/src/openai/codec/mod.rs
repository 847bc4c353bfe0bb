//! Codec of OpenAI's format, without I/O. It encodes requests, and decodes responses, errors and limits.

pub(super) mod decode;
mod dialect;
mod encode;
mod error;
mod headers;
mod stream;

pub use self::dialect::{Dialect, KeyHeader, MissingFeature, ReasoningFormat};
pub(crate) use self::encode::{encode_chat, encode_embed};
pub(crate) use self::error::RULES;
pub(super) use self::error::request_id;
pub(crate) use self::headers::vendor_limits;
pub(crate) use self::stream::ChunkDecoder;
use crate::protocol::fields;
