//! OpenAI, and every server that speaks its format.
//!
//! [`OpenAi`] is the client, [`OpenAiProtocol`] its format without input or output. Servers differ by a row of one table:
//! [`Dialect`].
//!
//! | server | client | differs in |
//! |---|---|---|
//! | OpenAI | [`OpenAi::new`](crate::Client::new) | |
//! | Azure OpenAI | [`azure`](OpenAi#method.azure), [`azure_deployments`](OpenAi#method.azure_deployments), [`azure_foundry`](OpenAi#method.azure_foundry) | header of the key, addresses, filters |
//! | Ollama | [`ollama`](OpenAi#method.ollama) | no key, no `tool_choice`, images by their bytes only |
//! | vLLM | [`vllm`](OpenAi#method.vllm) | `top_k` |
//! | Mistral | [`mistral`](OpenAi#method.mistral) | names of fields, ids of calls, parts of content |
//! | Groq | [`groq`](OpenAi#method.groq) | usage in `x_groq`, one response a request |
//! | DeepSeek | [`deepseek`](OpenAi#method.deepseek) | text only, reasoning in and out |
//! | OpenRouter | [`openrouter`](OpenAi#method.openrouter) | errors in chunks, costs, reasoning with signatures |
//! | Gemini's compatible endpoint | [`gemini`](OpenAi#method.gemini) | thinking that only the total shows |
//!
//! # Requests
//!
//! A stream is asked for its usage at the end. A `stream_options` among the request's unknown fields is sent with
//! streams, and not without. Reasoning in the conversation so far goes back as the dialect says: OpenAI's own format has
//! no field for it. What another vendor's response left in the conversation does not go: its signatures, its citations, its own
//! kinds of parts.
//!
//! # Errors
//!
//! Of a request, before it is sent: [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) as [`ChatRequest::validate`](llm_core::ChatRequest::validate), or if a further
//! field shadows one of the request; [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported), naming the field, for
//! what the format cannot say: `top_k` (unless the dialect takes it), a tool result that is an error or holds more than
//! text, a part in the message of a role that cannot have it, reasoning, what another vendor's response left; and for what
//! the server cannot do: [`Dialect::missing`]. Some of it is left out instead with [`Dialect::approximate`].
//!
//! Of a response with an error status:
//!
//! | response | kind | scope |
//! |---|---|---|
//! | `context_length_exceeded`, `exceed_context_size_error`, "exceeds the context window" and its like, also with 500 | `ContextTooLong` | |
//! | `content_filter`, `content_policy_violation` | `ContentFiltered` | |
//! | 429 `insufficient_quota` and its like, 402 | `QuotaExhausted` | group, money |
//! | `tool_use_failed` (Groq: the model called a tool wrongly) | `Malformed` | |
//! | 429, 413 of a request larger than the limit itself | `InvalidRequest` | model, request |
//! | 429 of type `requests` or `tokens`, `slow_down` | `RateLimited` | model, minute or day |
//! | any other 429 | `RateLimited` | |
//! | 401 · 403 · 404, 405, 410 | `Authentication` · `PermissionDenied` · `NotFound` | |
//! | 3xx (never followed, so that a key goes nowhere else) | `NotFound` | |
//! | 408, 504 | `Timeout` | |
//! | 498, 503, 529 | `Overloaded` | |
//! | 409, any other 5xx | `Server` | |
//! | any other 4xx | `InvalidRequest` | |
//!
//! A request that is larger than the limit never succeeds, so it is not `RateLimited`: waiting does not help, a smaller
//! request does. OpenAI counts each model of an organisation or project apart, so the scope of a rate limit is the model,
//! for all keys of the account; money is the group's.
//!
//! A status below 500, a 503 or a 529 is a refusal and costs nothing; of any other the charge is unknown. The message is the
//! vendor's, at most 1,000 characters, without `key` and anything that looks like a key. The waiting time is that of
//! `Retry-After`; without it the longer one of the body's own fields (`resets_in_seconds`) and of its message ("try again
//! in 1.4s", "retry after 33 seconds"); without these the reset of a limit of which nothing remains. Timestamps count from
//! `now`. `x-should-retry` says whether to try again, but for money and a prompt that is too long, which no waiting cures.

mod client;
pub(crate) mod codec;
mod protocol;
mod route;
pub mod serve;
mod servers;

pub use self::client::OpenAi;
pub use self::codec::{Dialect, KeyHeader, MissingFeature, ReasoningFormat};
pub use self::protocol::OpenAiProtocol;
