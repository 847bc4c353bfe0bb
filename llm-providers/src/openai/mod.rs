//! OpenAI, and every server that speaks its format.
//!
//! [`OpenAi`] is the client, and [`OpenAiProtocol`] is its codec without I/O. The differences between servers are the
//! fields of [`Dialect`].
//!
//! | server | client | differs in |
//! |---|---|---|
//! | OpenAI | [`OpenAi::new`](crate::Client::new) | |
//! | Azure OpenAI | [`azure`](OpenAi#method.azure), [`azure_deployments`](OpenAi#method.azure_deployments), [`azure_foundry`](OpenAi#method.azure_foundry) | header of the key, URLs, content filters |
//! | Ollama | [`ollama`](OpenAi#method.ollama) | no key, no `tool_choice`, images only as bytes |
//! | vLLM | [`vllm`](OpenAi#method.vllm) | `top_k` |
//! | Mistral | [`mistral`](OpenAi#method.mistral) | names of fields, ids of tool calls, thinking as parts of the content |
//! | Groq | [`groq`](OpenAi#method.groq) | usage of streams in `x_groq`, one choice for a request |
//! | DeepSeek | [`deepseek`](OpenAi#method.deepseek) | text only, reasoning in responses and requests |
//! | OpenRouter | [`openrouter`](OpenAi#method.openrouter) | errors inside chunks, stated costs, reasoning with signatures |
//! | Gemini's compatible endpoint | [`gemini`](OpenAi#method.gemini) | thinking is counted only in the total |
//!
//! # Requests
//!
//! A streamed request asks for the usage at the end of the stream. `stream_options` among the request's unknown fields
//! is sent only with streamed requests. Reasoning in the conversation is sent in the form of [`Dialect::reasoning`],
//! because OpenAI's own format has no field for it. Fields and parts that only another vendor's responses contain
//! (signatures, citations, parts of its own kinds) are refused, or left out if [`Dialect::approximate`] is set.
//!
//! # Errors
//!
//! A request is refused before it is sent with [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if
//! [`ChatRequest::validate`](llm_core::ChatRequest::validate) fails, or if an unknown field has the name of a known
//! one. It is refused with [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported), which names the field, if the
//! format cannot express it or the server lacks the feature ([`Dialect::missing`]). The format cannot express `top_k`
//! (unless [`Dialect::top_k`] is set), a tool result that is an error or holds more than text, a part in the message of
//! a role that cannot have it, reasoning (unless [`Dialect::reasoning`] has a form for it), and fields and parts of
//! another vendor's responses. If [`Dialect::approximate`] is set, some of these are left out instead.
//!
//! A response with an error status becomes one of these errors:
//!
//! | response | kind | scope |
//! |---|---|---|
//! | `context_length_exceeded`, `exceed_context_size_error`, "exceeds the context window" and similar messages, also with 500 | `ContextTooLong` | |
//! | `content_filter`, `content_policy_violation` | `ContentFiltered` | |
//! | 429 `insufficient_quota` and similar codes, 402 | `QuotaExhausted` | group, money |
//! | `tool_use_failed` (Groq: the model wrote a tool call incorrectly) | `Malformed` | |
//! | 429, 413 of a request larger than the limit itself | `InvalidRequest` | model, request |
//! | 429 of type `requests` or `tokens`, `slow_down` | `RateLimited` | model, minute or day |
//! | any other 429 | `RateLimited` | |
//! | 401 · 403 · 404, 405, 410 | `Authentication` · `PermissionDenied` · `NotFound` | |
//! | 3xx (not followed, so that the key is sent to no other server) | `NotFound` | |
//! | 408, 504 | `Timeout` | |
//! | 498, 503, 529 | `Overloaded` | |
//! | 409, any other 5xx | `Server` | |
//! | any other 4xx | `InvalidRequest` | |
//!
//! A request that is larger than the limit is not `RateLimited`, because it fails again after any waiting time. OpenAI
//! counts each model of an organisation or project separately, so the scope of a rate limit is the model, for all keys
//! of the account. The scope of an error about money is the group.
//!
//! A status below 500, a 503 or a 529 is a refusal and costs nothing; the charge of any other is unknown. The message
//! is the vendor's, at most 1,000 characters, without `key` and anything that looks like a key. The waiting time is
//! that of `Retry-After`. Without this header, it is the longer of the time in the body's fields (`resets_in_seconds`)
//! and the time in its message ("try again in 1.4s", "retry after 33 seconds"). Without these, it is the reset of a
//! limit of which nothing remains. `x-should-retry` decides if the error is retryable, except for money and a prompt
//! that is too long, because waiting does not help against these.

mod client;
pub(crate) mod codec;
mod protocol;
mod route;
pub mod serve;
mod servers;

pub use self::client::OpenAi;
pub use self::codec::{Dialect, KeyHeader, MissingFeature, ReasoningFormat};
pub use self::protocol::OpenAiProtocol;
