//! Gemini's wire format without any input or output: requests to bytes, bytes to answers, errors.
//!
//! For those who bring their own HTTP. [`Gemini`](super::Gemini) puts these together.
//!
//! ```
//! use llm_core::ChatRequest;
//! use llm_providers::gemini::codec::{ChunkDecoder, Dialect, address, decode_chat, encode_chat};
//!
//! let request = ChatRequest::new("gemini-3-flash").user("hello");
//! assert_eq!(address(&request.model, "generateContent")?, "models/gemini-3-flash:generateContent");
//! let body = encode_chat(&request, Dialect::default())?;
//! assert_eq!(&body[..], br#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#);
//!
//! let answer = br#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP"}],
//!     "usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1,"thoughtsTokenCount":5,"totalTokenCount":15}}"#;
//! let decoded = decode_chat(answer)?;
//! assert_eq!(decoded.output.text(), "hi");
//! assert_eq!(decoded.usage.map(|usage| usage.output), Some(6));
//!
//! let mut chunks = ChunkDecoder::default();
//! chunks.decode(std::str::from_utf8(answer).unwrap())?;
//! assert!(chunks.finish().is_ok());
//! # Ok::<_, llm_core::Error>(())
//! ```
//!
//! # What goes where
//!
//! | here | there |
//! |---|---|
//! | leading messages of roles system and developer | `systemInstruction` |
//! | [`Reasoning`](llm_core::chat::Reasoning) | a part with `thought`, its seal as `thoughtSignature`; sealed, it has `thought` in its `extra` |
//! | the `extra` of a text, an image, a tool call | further fields of its part, its `thoughtSignature` among them |
//! | a tool call without an id | one with an id made here, `gemini_…`, which is never sent |
//! | [`ImageSource::Url`](llm_core::chat::ImageSource::Url) | `fileData`, if it is a file that was uploaded to Gemini |
//! | code that was run, files, sounds | [`Part::Other`](llm_core::Part::Other), both ways |

mod address;
mod call_id;
mod decode;
mod dialect;
mod encode;
mod error;
mod stream;

pub use self::address::{address, models_path};
use self::call_id::CallIds;
pub use self::decode::{decode_chat, decode_count, decode_embeddings, decode_models};
pub use self::dialect::Dialect;
pub use self::encode::{encode_chat, encode_count, encode_embed};
pub use self::error::classify;
pub use self::stream::ChunkDecoder;
pub use crate::protocol::Decoded;
use crate::protocol::fields;
