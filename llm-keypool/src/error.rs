//! Errors of a pool that has no member for a call.

use std::time::Duration;

use llm_core::{Error, ErrorKind, layer::Pinned};

use crate::{
    Reason,
    state::{State, choice::RELEASE},
    time::Time,
};

impl Reason {
    /// Returns the reason as it stands after a number of members.
    fn of_members(self) -> &'static str {
        match self {
            Self::RateLimited => "rate limited",
            Self::Unauthorized => "with a rejected key",
            Self::Unpaid => "without money",
            Self::Forbidden => "without permission",
            Self::NotFound => "without the model",
            Self::Failing => "failing",
            Self::TimedOut => "timing out",
            Self::Disabled => "disabled",
        }
    }
}

/// Returns the error of a call for which no member returns by time.
pub(crate) fn unavailable(state: &State, model: u32, pinned: Option<&Pinned>) -> Error {
    if let Some(pinned) = pinned.filter(|pinned| !state.groups.iter().any(|group| *group.name == *pinned.group())) {
        let message = format!("the call is pinned to group {:?}, which the pool does not have", pinned.group());
        return Error::new(ErrorKind::Unavailable, message).with_retryable(false);
    }
    let (counts, names) = state.reasons(model);
    let counts: Vec<_> = counts.iter().map(|(reason, count)| format!("{count} {}", reason.of_members())).collect();
    let why = match counts.is_empty() {
        true if state.tiers(model) > 0 => "the last one was refused".to_owned(),
        true => "no member serves it".to_owned(),
        false => format!("{} ({})", counts.join(", "), names.join(", ")),
    };
    let message = format!("no member of the pool can take calls for model {:?}: {why}", state.model_name(model));
    Error::new(ErrorKind::Unavailable, message).with_retryable(false)
}

/// Returns the error of a call for which the first member returns too late.
pub(crate) fn limited(state: &State, model: u32, returns_in: Option<Duration>) -> Error {
    let when = returns_in.map_or_else(
        || "all are busy".to_owned(),
        |time| format!("the first returns in {:.1} s, too late for this call", time.as_secs_f64()),
    );
    let vendors = state.message(model).map_or_else(String::new, |message| format!("; the vendor said: {message}"));
    let name = state.model_name(model);
    let error = Error::new(
        ErrorKind::RateLimited,
        format!("no member of the pool has room for model {name:?}: {when}{vendors}"),
    );
    match returns_in {
        Some(time) => error.with_retry_after(time),
        None => error,
    }
}

/// Returns the error of a call that would wait behind too many others.
pub(crate) fn crowded(waiting: usize) -> Error {
    Error::new(ErrorKind::Overloaded, format!("{waiting} calls wait for a member of the pool, and no more may"))
}

/// Returns the error of a call that does not wait until a time.
pub(crate) fn limited_until(state: &State, model: u32, at: Time, now: Time) -> Error {
    let is_known = at != RELEASE;
    limited(state, model, is_known.then(|| Duration::from_nanos(at.saturating_sub(now))))
}
