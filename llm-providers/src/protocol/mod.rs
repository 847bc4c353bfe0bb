//! What a vendor's wire format is, without any input or output: [`VendorProtocol`] writes requests and reads answers.
//!
//! [`Client`](crate::Client) puts one on a [transport](crate::transport). Each vendor's directory has its own:
//! [`openai`](crate::openai) and its neighbours. You can bring another.

mod arguments;
mod call_id;
mod dollars;
pub(crate) mod error;
mod exact;
pub(crate) mod fields;
mod finish;
pub(crate) mod foreign;
mod format;
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
pub(crate) use self::instructions::is_blank_instruction;
pub use self::model::Model;
pub(crate) use self::redact::{clean, redact};
pub(crate) use self::surcharge::Settings;
pub(crate) use self::surrogate::{Halves, readable};
pub use self::wait::{duration, retry_after, time_until};
