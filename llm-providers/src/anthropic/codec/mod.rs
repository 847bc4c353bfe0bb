//! Codec of Anthropic's format, without I/O. It encodes requests, and decodes responses, errors and limits.

mod decode;
mod encode;
mod error;
mod headers;
mod options;
mod stream;

pub(crate) use self::decode::decode_response;
pub(crate) use self::decode::{decode_chat, decode_count, decode_models};
pub(crate) use self::encode::{encode_chat, encode_count};
pub(crate) use self::error::{RULES, request_id};
pub(crate) use self::headers::vendor_limits;
pub use self::options::Options;
pub(crate) use self::stream::EventDecoder;
