//! Reading waiting times, in every form in which vendors state them. Readers take `now` and read no clock.

mod duration;
mod headers;
mod instant;
mod until;

pub use self::duration::duration;
pub use self::headers::retry_after;
pub(crate) use self::headers::should_retry;
pub use self::until::time_until;
