//! Gemini, in its own format: `generateContent`, `batchEmbedContents` and related methods.
//!
//! [`Gemini`] is the client, [`GeminiProtocol`] its format without input or output.
//!
//! # Requests
//!
//! | in a request or response | in Gemini's format |
//! |---|---|
//! | leading messages of roles system and developer | `systemInstruction` |
//! | [`Reasoning`](llm_core::chat::Reasoning) | a part with `thought`, its signature as `thoughtSignature`; a signed one has `thought` in its `extra` |
//! | the `extra` of a text, an image, a tool call | unknown fields of its part, its `thoughtSignature` among them |
//! | a tool call without an id | one with an id made here, `gemini_…`, which is never sent |
//! | [`ImageSource::Url`](llm_core::chat::ImageSource::Url) | `fileData`, if it is a file that was uploaded to Gemini |
//! | code that was run, files, sounds | [`Part::Other`](llm_core::Part::Other), both ways |
//!
//! Unknown fields of the request become fields of the body (`safetySettings`, `cachedContent`, `serviceTier`). The
//! fields of an object `generationConfig` among them are added to that object of the body (`mediaResolution`,
//! `responseModalities`, `thinkingConfig`).
//!
//! - `reasoning_effort`: `none` is a `thinkingBudget` of 0, a number is that budget, any other word is that
//!   `thinkingLevel`. Gemini refuses what its model does not have: 2.5 takes budgets, 3 takes levels.
//! - A tool's response that is a JSON object goes as it is, any other as `{"result": text}`; of a tool that failed it goes
//!   as `{"error": …}`. Responses of neighbouring messages stand in one turn, as Gemini wants responses to parallel calls.
//! - Parts go back with the signatures (`thoughtSignature`) that they came with. Gemini 3 wants one on calls that it made; for
//!   calls of another model's the field `thoughtSignature` takes the value that its documentation has for them.
//! - What another vendor's responses left in the conversation (signatures of reasoning, citations) is refused, or left out:
//!   [`Dialect::approximate`]. Arguments and answers of tools go as they were written, to the last digit.
//! - Responses always follow a given schema exactly. The schema's `name` is not sent.
//!
//! # Errors
//!
//! Of a request, before it is sent: [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) as [`ChatRequest::validate`](llm_core::ChatRequest::validate); if an unknown field
//! shadows one of the request; if a tool result answers no earlier call, whose name it needs; if arguments of a call are
//! no JSON object. [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported), naming the field, for what the format
//! cannot say: what another vendor's responses left, instructions after the conversation began, names of speakers,
//! refusals, images at addresses other than Gemini's own files, `detail` of images, strict functions, a ban on parallel
//! calls.
//!
//! Of a response with an error status:
//!
//! | response | kind | scope |
//! |---|---|---|
//! | 400 or 403 of a wrong, expired, leaked or missing key, 401 | `Authentication` | |
//! | more tokens than the model takes, with any status but 429 | `ContextTooLong` | |
//! | 400 `FAILED_PRECONDITION` (this account may not do it from here) | `PermissionDenied` | |
//! | 429 whose quota has `PerDay` in its id | `RateLimited` | model or group, day |
//! | 429 whose quota has `PerMinute` in its id | `RateLimited` | model or group, minute |
//! | 429 of a quota of 0, of credits or a spending cap used up | `QuotaExhausted` | group, money |
//! | any other 429 | `RateLimited` | |
//! | 403 · 404, 405, 410 | `PermissionDenied` · `NotFound` | |
//! | 3xx (never followed, so that a key goes nowhere else) | `NotFound` | |
//! | 408, 504 · 499 | `Timeout` · `Cancelled` | |
//! | 503, 529 | `Overloaded` | |
//! | 409, any other 5xx | `Server` | |
//! | any other 4xx | `InvalidRequest` | |
//!
//! Quotas hold for a project, never for a key: the scope is the model if the quota's id has `PerModel` in it, else the
//! group.
//!
//! The waiting time is that of `Retry-After`, otherwise the longer of `RetryInfo` and of "retry in 48.9s" in the
//! message, because `RetryInfo` rounds down. For a daily quota it is the time until midnight in California, when these
//! quotas are reset, even if the vendor advises to retry earlier.
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
