//! Reading of waiting times in every form in which vendors state them. The functions take `now` and read no clock.

mod body;
mod duration;
mod headers;
mod instant;
mod until;
mod words;

use std::time::{Duration, SystemTime};

use http::HeaderMap;

pub(crate) use self::body::collect;
pub use self::duration::duration;
pub use self::headers::retry_after;
pub(crate) use self::headers::should_retry;
pub use self::until::time_until;

/// Parts of an error's body that may state a waiting time.
pub(crate) struct BodyWaits<'b> {
    pub(crate) message: Option<&'b str>,
    /// Names and values of the fields that [`collect`] found.
    pub(crate) fields: &'b [(String, String)],
}

/// Returns the waiting time that a vendor asks for when it refuses a request.
///
/// The first of these that states a time decides: the `Retry-After` headers; the longer of the times in the error's
/// fields and in its message, because fields are often rounded down; the resets of limits that are used up.
pub(crate) fn stated_wait(headers: &HeaderMap, body: &BodyWaits<'_>, now: SystemTime) -> Option<Duration> {
    let wait = retry_after(headers, now).or_else(|| body_wait(body, now));
    wait.or_else(|| headers::used_up_reset(headers, now)).filter(until::is_believable)
}

/// Returns the waiting time that the fields or the message of an error's body state.
fn body_wait(body: &BodyWaits<'_>, now: SystemTime) -> Option<Duration> {
    let words = body.message.and_then(|message| words::wait_in_words(message, now));
    let wait = body::field_wait(body.fields, now).max(words).or_else(|| body::used_up_reset(body.fields, now));
    wait.filter(until::is_believable)
}
