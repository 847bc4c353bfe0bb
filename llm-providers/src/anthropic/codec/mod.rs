//! The wire format of Anthropic's messages without any input or output: requests to bytes, bytes to answers, errors and
//! limits.
//!
//! For those who bring their own HTTP. [`Anthropic`](crate::Anthropic) puts these together.
//!
//! ```
//! use llm_core::ChatRequest;
//! use llm_providers::anthropic::codec::{EventDecoder, Options, decode_chat, encode_chat};
//!
//! let body = encode_chat(&ChatRequest::new("claude-haiku-4-5").user("hello"), Options::default(), false)?;
//! let text = r#"{"model":"claude-haiku-4-5","max_tokens":4096,"messages":[{"role":"user","content":"hello"}]}"#;
//! assert_eq!(&body[..], text.as_bytes());
//!
//! let answer = br#"{"id":"1","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn",
//!     "usage":{"input_tokens":9,"cache_read_input_tokens":100,"output_tokens":1}}"#;
//! let decoded = decode_chat(answer)?;
//! assert_eq!(decoded.output.text(), "hi");
//! assert_eq!(decoded.usage.map(|usage| usage.input), Some(109));
//!
//! let mut events = EventDecoder::default();
//! events.decode(r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"hi"}}"#)?;
//! events.decode(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#)?;
//! events.decode(r#"{"type":"message_stop"}"#)?;
//! assert!(events.finish().is_ok());
//! # Ok::<_, llm_core::Error>(())
//! ```

mod decode;
mod encode;
mod error;
mod headers;
mod options;
mod stream;

pub(in crate::anthropic) use self::decode::decode_answer;
pub use self::decode::{decode_chat, decode_count, decode_models};
pub use self::encode::{encode_chat, encode_count};
pub use self::error::{classify, request_id};
pub use self::headers::vendor_limits;
pub use self::options::Options;
pub use self::stream::EventDecoder;
