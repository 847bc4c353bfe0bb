//! Anthropic, in its own format.
//!
//! [`Anthropic`] is the client, and [`AnthropicProtocol`] is its codec without I/O.
//!
//! # Requests
//!
//! Instructions at the beginning are sent as `system`. Later instructions are sent as messages of role `system`, which
//! older models refuse. Roles must alternate, so consecutive messages of one role are sent as one, which also puts the
//! results of parallel tool calls together. A refusal in the conversation is sent as text. An empty text beside other
//! parts is not sent. `cache_control` among a message's unknown fields is sent with the message's last block; a part
//! can have a `cache_control` of its own.
//!
//! Ids of tool calls that the vendor would refuse (because another vendor created them) are replaced by ids computed
//! from them, which are equal in calls and results. Arguments are sent exactly as they were written, with all digits.
//!
//! `reasoning_effort` is sent as `output_config.effort`, but the effort `none` as `thinking` of type `disabled`. Set
//! other values of `thinking` among the request's unknown fields. The schema of `response_format` is sent as
//! `output_config.format`, without its name and without `strict`, because the format has no field for a name, and
//! responses always follow the schema exactly.
//!
//! # Errors
//!
//! A request is refused before it is sent with [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if
//! [`ChatRequest::validate`](llm_core::ChatRequest::validate) fails, if an unknown field has the name of a known one,
//! or if the arguments of a tool call are not a JSON object. It is refused with
//! [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported), which names the field, if the format cannot express
//! it. The format cannot express more than one response, a temperature above 1, seed, penalties and probabilities, a
//! JSON response without a schema, a part in the message of a role that cannot have it, parts and fields of another
//! vendor's response that this format does not know, and the fields in the table of [`Options::approximate`].
//!
//! A response with an error status becomes one of these errors:
//!
//! | response | kind | scope |
//! |---|---|---|
//! | "prompt is too long" and similar messages, also with 500 | `ContextTooLong` | |
//! | 400 "blocked by content filtering policy" | `ContentFiltered` | |
//! | 400 of a spending limit or an empty balance, 402, 429 `…_spend_limit_reached` | `QuotaExhausted` | group, money |
//! | 429 `ramp_limit_exceeded` | `RateLimited` | group, minute |
//! | any other 429 | `RateLimited` | model, minute or day |
//! | 401 · 403 · 404, 405, 410, 3xx | `Authentication` · `PermissionDenied` · `NotFound` | |
//! | 408, 504 | `Timeout` | |
//! | 503, 529 | `Overloaded` | |
//! | 409, any other 5xx | `Server` | |
//! | any other 4xx, such as 413 | `InvalidRequest` | |
//!
//! Rate limits hold for a model and all keys of an organisation. The code is `error.details.error_code`, otherwise the
//! error's type. `x-should-retry` decides if the error is retryable, except for money and a prompt that is too long,
//! because waiting does not help against these. A status below 500, a 503 or a 529 is a refusal and costs nothing; the
//! charge of any other is unknown. A stated waiting time is used for 429 and for statuses from 500 on, because this
//! vendor sends `Retry-After` with other statuses too. It is taken from the header, otherwise from the body, otherwise
//! from the reset of a limit of which nothing remains. The message is the vendor's, at most 1,000 characters, without
//! `key` and anything that looks like a key.

mod client;
pub(crate) mod codec;
mod protocol;

pub use self::client::Anthropic;
pub use self::codec::Options;
pub use self::protocol::AnthropicProtocol;
