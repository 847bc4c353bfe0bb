//! Envelope of a request, and the values by which layers exchange information in it.

mod attempt_permit;
mod deadline;
mod envelope;
mod labels;
mod member;
mod nested_retry;
mod option;
mod purpose;
mod routing;
mod sent_flag;
mod tenant;

pub use self::attempt_permit::AttemptPermit;
pub use self::deadline::{CallDeadline, DeadlineHandle, SharedDeadline};
pub use self::envelope::{Call, Priority};
pub use self::labels::Labels;
pub use self::member::MemberId;
pub use self::nested_retry::NestedRetry;
pub use self::option::{CallOption, Unread};
pub use self::purpose::Purpose;
pub use self::routing::{NoFallback, Pinned};
pub(crate) use self::sent_flag::MergedPart;
pub use self::sent_flag::{LateEnd, SentFlag};
pub use self::tenant::Tenant;
