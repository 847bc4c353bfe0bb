//! What a vendor's wire format is, without any input or output: [`Wire`] writes requests and reads answers.
//!
//! [`Client`](crate::Client) puts one on a [transport](crate::transport). Each vendor's directory has its own:
//! [`openai`](crate::openai) and its neighbours. You can bring another.

mod arguments;
mod call_id;
mod duration;
mod exact;
pub(crate) mod fields;
pub(crate) mod foreign;
mod format;
mod model;
mod redact;
mod retry;
mod surcharge;

pub(crate) use self::arguments::arguments;
pub(crate) use self::call_id::call_id;
pub use self::duration::duration;
pub use self::format::{Chunks, Decoded, Outgoing, Wire};
pub use self::model::Model;
pub(crate) use self::redact::{clean, redact};
pub use self::retry::retry_after;
pub(crate) use self::retry::should_retry;
pub(crate) use self::surcharge::Settings;
