//! Codecs of vendors' formats, without I/O: a [`VendorProtocol`] writes requests and reads responses.
//!
//! A [`Client`](crate::Client) combines a codec with a [transport](crate::transport). Each vendor's module has its
//! codec, such as [`OpenAiProtocol`](crate::openai::OpenAiProtocol), and you can write another. With your own HTTP
//! client, use a codec directly:
//!
//! ```
//! use llm_core::{ChatRequest, Error};
//! use llm_providers::{
//!     openai::OpenAiProtocol,
//!     protocol::{StreamDecoder, VendorProtocol},
//! };
//!
//! let protocol = OpenAiProtocol::default();
//! let request = ChatRequest::new("gpt-4o-mini").user("hello");
//! let encoded = protocol.chat(&request, false)?;
//! assert_eq!(encoded.path, "chat/completions");
//! assert_eq!(&encoded.body[..], br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}"#);
//!
//! let body = br#"{"id":"1","model":"m","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],
//!     "usage":{"prompt_tokens":9,"completion_tokens":1}}"#;
//! let decoded = protocol.read_chat(body)?;
//! assert_eq!(decoded.output.text(), "hi");
//! assert_eq!(decoded.usage.map(|usage| usage.input), Some(9));
//!
//! let mut stream = protocol.stream_decoder(&request);
//! stream.event(None, r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#)?;
//! stream.event(None, "[DONE]")?;
//! assert!(stream.finish().is_ok());
//! # Ok::<_, Error>(())
//! ```

mod arguments;
mod call_id;
pub(crate) mod cross_vendor;
mod dollars;
pub(crate) mod encode;
pub(crate) mod error;
mod exact;
pub(crate) mod fields;
mod finish;
mod format;
mod identity;
mod instructions;
mod model;
mod redact;
mod surcharge;
mod surrogate;
pub(crate) mod usage;
pub(crate) mod wait;

pub(crate) use self::arguments::arguments;
pub(crate) use self::call_id::call_id;
pub(crate) use self::dollars::dollars;
pub(crate) use self::finish::finish_reason;
pub use self::format::{Decoded, EncodedRequest, StreamDecoder, VendorProtocol};
pub(crate) use self::identity::identity;
pub(crate) use self::instructions::is_blank_instruction;
pub use self::model::Model;
pub(crate) use self::redact::{clean, redact};
pub(crate) use self::surcharge::Settings;
pub(crate) use self::surrogate::{Halves, readable};
pub use self::wait::{duration, retry_after, time_until};
