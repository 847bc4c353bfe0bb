//! Anthropic, in its own format.
//!
//! [`Anthropic`] is the client, [`AnthropicProtocol`] its format without input or output.
//!
//! # Requests
//!
//! Instructions at the beginning are sent as `system`; later ones as messages of role `system`, which older models
//! refuse. Messages alternate: neighbours of one role become one, so that the results of parallel calls come together.
//! A refusal in the conversation is sent as text, an empty text beside other parts is not sent. A message's
//! `cache_control` among its unknown fields goes to its last block; parts have their own.
//!
//! Ids of tool calls that the vendor would refuse (another vendor's) are replaced by ids computed from them, the same in
//! calls and results. Arguments go as they were written, to the last digit.
//!
//! `reasoning_effort` is sent as `output_config.effort`, but `none` as `thinking` disabled; `thinking` itself passes
//! among the request's unknown fields. `response_format` is sent as `output_config.format`: the schema alone, for the
//! format has no name, and always follows it exactly.
//!
//! # Errors
//!
//! Of a request, before it is sent: [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) as [`ChatRequest::validate`](llm_core::ChatRequest::validate), if a further
//! field shadows one of the request, or if the arguments of a call are no JSON object;
//! [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported), naming the field, for what the format cannot say: more
//! than one response, a temperature above 1, seed, penalties and probabilities, a JSON response without a schema, a part in
//! the message of a role that cannot have it, what another vendor's model or response said that has no name here, and what
//! stands at [`Options::approximate`].
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
//! error's type. `x-should-retry` says whether to try again, but for money and a prompt that is too long, which no waiting
//! cures. A status below 500, a 503 or a 529 is a refusal and costs nothing; of any other the charge is unknown. A waiting time
//! counts with 429 and from 500 on, for this vendor sends `Retry-After` with others too; without that header it is the one
//! in the body, else the reset of a limit of which nothing remains. The message is the vendor's, at most 1,000 characters,
//! without `key` and anything that looks like a key.

mod client;
pub(crate) mod codec;
mod protocol;

pub use self::client::Anthropic;
pub use self::codec::Options;
pub use self::protocol::AnthropicProtocol;
