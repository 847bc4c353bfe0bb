//! OpenAI's wire format without any input or output: requests to bytes, bytes to answers, errors and limits.
//!
//! For those who bring their own HTTP. [`OpenAi`](super::OpenAi) puts these together.
//!
//! ```
//! use llm_core::ChatRequest;
//! use llm_providers::openai::codec::{ChunkDecoder, Dialect, decode_chat, encode_chat};
//!
//! let body = encode_chat(&ChatRequest::new("gpt-4o-mini").user("hello"), Dialect::default(), false)?;
//! assert_eq!(&body[..], br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}"#);
//!
//! let answer = br#"{"id":"1","model":"m","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],
//!     "usage":{"prompt_tokens":9,"completion_tokens":1}}"#;
//! let decoded = decode_chat(answer)?;
//! assert_eq!(decoded.output.text(), "hi");
//! assert_eq!(decoded.usage.map(|usage| usage.input), Some(9));
//!
//! let mut chunks = ChunkDecoder::default();
//! chunks.decode(r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#)?;
//! chunks.decode("[DONE]")?;
//! assert!(chunks.finish().is_ok());
//! # Ok::<_, llm_core::Error>(())
//! ```

pub(super) mod decode;
mod dialect;
mod encode;
mod error;
mod headers;
mod stream;

pub use self::decode::{decode_chat, decode_embeddings};
pub use self::dialect::{Dialect, KeyHeader, MissingFeature, ReasoningFormat};
pub use self::encode::{encode_chat, encode_embed};
pub use self::error::classify;
pub(super) use self::error::request_id;
pub use self::headers::vendor_limits;
pub use self::stream::ChunkDecoder;
use crate::protocol::fields;
pub use crate::protocol::{Decoded, duration, retry_after, time_until};
