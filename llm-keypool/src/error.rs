//! Errors of a pool that has no member for a call.

use std::time::Duration;

use llm_core::{Error, ErrorKind};

use crate::{
    state::{State, choice::Want},
    time::{RELEASE, Time},
};

/// Returns the error of a call for which no member returns by time.
pub(crate) fn unavailable(state: &State, want: &Want<'_>) -> Error {
    let error = |message: String| Error::new(ErrorKind::Unavailable, message).with_retryable(false);
    if let Some(pinned) = want.request.pinned.as_ref().filter(|pinned| !state.group_ids.contains_key(pinned.group())) {
        return error(format!("the call is pinned to group {:?}, which the pool does not have", pinned.group()));
    }
    let (counts, names) = state.reasons(want.model);
    let counts: Vec<_> =
        counts.iter().map(|(reason, count)| format!("{count} {}", reason.as_str().replace('_', " "))).collect();
    let why = match counts.is_empty() {
        true if state.tiers(want.model) > 0 => "the last one was refused".to_owned(),
        true => "no member serves it".to_owned(),
        false => format!("{} ({})", counts.join(", "), names.join(", ")),
    };
    let model = &state.models[want.model as usize].name;
    error(format!("no member of the pool can take calls for model {model:?}: {why}"))
}

/// Returns the error of a call for which the first member returns too late, at a time or when an attempt ends.
pub(crate) fn limited(state: &State, model: u32, at: Time, now: Time) -> Error {
    let model = &state.models[model as usize];
    let returns_in = (at != RELEASE).then(|| Duration::from_nanos(at.saturating_sub(now)));
    let when = returns_in.map_or_else(
        || "all are busy".to_owned(),
        |time| format!("the first returns in {:.1} s, too late for this call", time.as_secs_f64()),
    );
    let vendors = model.message.as_ref().map_or_else(String::new, |message| format!("; the vendor said: {message}"));
    let message = format!("no member of the pool has room for model {:?}: {when}{vendors}", model.name);
    let error = Error::new(ErrorKind::RateLimited, message);
    match returns_in {
        Some(time) => error.with_retry_after(time),
        None => error,
    }
}

/// Returns the error of a call that would wait behind too many others.
pub(crate) fn crowded(waiting: usize) -> Error {
    Error::new(ErrorKind::Overloaded, format!("{waiting} calls wait for a member of the pool, and no more may"))
}
