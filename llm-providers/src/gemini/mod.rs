//! Gemini, in its own format: `generateContent`, `batchEmbedContents` and related methods.
//!
//! [`Gemini`] is the client, and [`GeminiProtocol`] is its codec without I/O.
//!
//! # Requests
//!
//! | in a request or response | in Gemini's format |
//! |---|---|
//! | messages of the roles system and developer at the beginning | `systemInstruction` |
//! | [`Reasoning`](llm_core::chat::Reasoning) | a part with `thought`, whose `thoughtSignature` is the signature; signed reasoning has `thought` in its `extra` |
//! | the `extra` of a text, an image or a tool call | unknown fields of the part, including its `thoughtSignature` |
//! | a tool call with an id `gemini_…`, which this crate created | a call without an id |
//! | [`ImageSource::Url`](llm_core::chat::ImageSource::Url) | `fileData`, if it is a file that was uploaded to Gemini |
//! | [`Part::Other`](llm_core::Part::Other) | code that was run, files, sounds |
//!
//! Unknown fields of the request become fields of the body (`safetySettings`, `cachedContent`, `serviceTier`). The
//! fields of an unknown field `generationConfig` are added to the object `generationConfig` of the body
//! (`mediaResolution`, `responseModalities`, `thinkingConfig`).
//!
//! - `reasoning_effort` is sent in `thinkingConfig`: `none` as a `thinkingBudget` of 0, a number as the
//!   `thinkingBudget`, and any other word as the `thinkingLevel`. Gemini refuses the field that the model does not
//!   support. Gemini 2.5 supports budgets, and Gemini 3 supports levels.
//! - A tool result that is a JSON object is sent unchanged, and any other result as `{"result": text}`. The result of a
//!   tool that failed is sent as `{"error": …}`. Results in consecutive messages are sent as one content, because
//!   Gemini requires this for the results of parallel calls.
//! - Parts are sent back with the signatures (`thoughtSignature`) of the response. Gemini 3 requires a signature on
//!   function calls. For calls that another model made, set the field `thoughtSignature` to the value that Gemini's
//!   documentation states for such calls.
//! - Fields of another vendor's responses in the conversation (signatures of reasoning, citations) are refused, or left
//!   out if [`Dialect::approximate`] is set. Arguments and results of tools are sent as they were written, with all
//!   digits.
//! - Responses always follow a given schema exactly. The schema's `name` is not sent.
//!
//! # Errors
//!
//! A request is refused before it is sent with [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if
//! [`ChatRequest::validate`](llm_core::ChatRequest::validate) fails, if an unknown field has the name of a known one,
//! if a tool result belongs to no earlier call, from which the function's name is taken, or if the arguments of a tool
//! call are not a JSON object. It is refused with [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported), which
//! names the field, if the format cannot express it. The format cannot express fields and parts of another vendor's
//! responses, instructions after the conversation began, names of speakers, refusals, images by URLs other than those
//! of files that were uploaded to Gemini, `detail` of images, strict functions, and `parallel_tool_calls` of `false`.
//!
//! A response with an error status becomes one of these errors:
//!
//! | response | kind | scope |
//! |---|---|---|
//! | 400 or 403 of a wrong, expired, leaked or missing key, 401 | `Authentication` | |
//! | more tokens than the model accepts, with any status except 429 | `ContextTooLong` | |
//! | 400 `FAILED_PRECONDITION` (the account may not use the API in this country or without billing) | `PermissionDenied` | |
//! | 429 whose quota has `PerDay` in its id | `RateLimited` | model or group, day |
//! | 429 whose quota has `PerMinute` in its id | `RateLimited` | model or group, minute |
//! | 429 of a quota of 0, of credits or a spending cap used up | `QuotaExhausted` | group, money |
//! | any other 429 | `RateLimited` | |
//! | 403 · 404, 405, 410 | `PermissionDenied` · `NotFound` | |
//! | 3xx (not followed, so that the key is sent to no other server) | `NotFound` | |
//! | 408, 504 · 499 | `Timeout` · `Cancelled` | |
//! | 503, 529 | `Overloaded` | |
//! | 409, any other 5xx | `Server` | |
//! | any other 4xx | `InvalidRequest` | |
//!
//! Quotas hold for a project, never for a key. Therefore the scope is the model if the quota's id contains `PerModel`,
//! otherwise the group.
//!
//! The waiting time is that of `Retry-After`. Without this header, it is the longer of the time in `RetryInfo` and the
//! time in the message ("retry in 48.9s"), because `RetryInfo` rounds down. For a daily quota it is the time until
//! midnight in California, when these quotas are reset, even if the vendor advises to retry earlier.
//!
//! A status below 500 except 499, a 503 or a 529 is a refusal and costs nothing; the charge of any other is unknown.
//! The code is the `reason` in the error's details, otherwise its `status`. The message is the vendor's, at most 1,000
//! characters, without `key` and anything that looks like a key.

mod client;
pub(crate) mod codec;
mod protocol;

pub use self::client::Gemini;
pub use self::codec::Dialect;
pub use self::protocol::GeminiProtocol;
