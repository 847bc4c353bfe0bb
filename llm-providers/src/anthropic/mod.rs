//! Anthropic, in its own format.
//!
//! [`Anthropic`] is the client, [`AnthropicProtocol`] its format without input or output.
//!
//! # Requests
//!
//! Instructions at the beginning are sent as `system`; later ones as messages of role `system`, which older models
//! refuse. Roles must alternate, so consecutive messages of one role are sent as one, which also puts the results of
//! parallel tool calls together. A refusal in the conversation is sent as text. An empty text beside other parts is not
//! sent. `cache_control` among a message's unknown fields is sent with its last block; parts can have their own.
//!
//! Ids of tool calls that the vendor would refuse (because another vendor created them) are replaced by ids computed
//! from them, which are equal in calls and results. Arguments are sent exactly as they were written, with all digits.
//!
//! `reasoning_effort` is sent as `output_config.effort`, but `none` as `thinking` disabled; `thinking` itself passes
//! among the request's unknown fields. `response_format` is sent as `output_config.format`: the schema alone, because
//! the format has no field for a name, and responses always follow the schema exactly.
//!
//! # Errors
//!
//! Of a request, before it is sent: [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) as
//! [`ChatRequest::validate`](llm_core::ChatRequest::validate), if a further field shadows one of the request, or if the
//! arguments of a call are no JSON object; [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported), naming the
//! field, for all that the format cannot express: more than one response, a temperature above 1, seed, penalties and
//! probabilities, a JSON response without a schema, a part in the message of a role that cannot have it, parts and
//! fields of another vendor's response that this format does not know, and the fields in the table of
//! [`Options::approximate`].
//!
//! Of a response with an error status:
//!
//! | response | kind | scope |
//! |---|---|---|
//! | "prompt is too long" and its like, also with 500 | `ContextTooLong` | |
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
