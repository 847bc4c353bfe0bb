use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{
    headers::{LIMITS, longest_used_up, milliseconds},
    time_until,
};
use crate::protocol::fields::Fields;

/// Names of fields that state a waiting time or its end, in lower case and without hyphens and underscores.
const FIELDS: [&str; 14] = [
    "retryafter",
    "retryafterseconds",
    "retryaftersecs",
    "retrydelay",
    "retryin",
    "resetsinseconds",
    "resetinseconds",
    "resetsin",
    "resetin",
    "resetafter",
    "resetsat",
    "resetat",
    "quotaresetdelay",
    "quotaresettimestamp",
];
const MILLISECONDS: [&str; 2] = ["retryafterms", "retryaftermilliseconds"];
/// Parts of an error's body in which such fields occur. A router passes the headers of its upstream on in
/// `metadata.headers`.
const PARTS: [&str; 4] = ["error", "metadata", "details", "headers"];

/// Collects the fields of an error's body that state waiting times, with their values as text.
pub(crate) fn collect(fields: &Fields, found: &mut Vec<(String, String)>) {
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        match value {
            Value::Object(within) if PARTS.contains(&&*name) => collect(within, found),
            Value::Array(list) if PARTS.contains(&&*name) => {
                list.iter().filter_map(Value::as_object).for_each(|within| collect(within, found));
            }
            Value::String(text) if states_wait(&name) => found.push((name, text.clone())),
            Value::Number(number) if states_wait(&name) => found.push((name, number.to_string())),
            _ => {}
        }
    }
}

fn states_wait(name: &str) -> bool {
    let plain = plain(name);
    [&FIELDS[..], &MILLISECONDS].concat().contains(&&*plain) || LIMITS.iter().any(|of| name.contains(of))
}

/// Returns the longest of the waiting times that these fields state.
pub(super) fn field_wait(fields: &[(String, String)], now: SystemTime) -> Option<Duration> {
    let waits = fields.iter().filter_map(|(name, text)| {
        let plain = plain(name);
        match &*plain {
            name if FIELDS.contains(&name) => time_until(text, now),
            name if MILLISECONDS.contains(&name) => milliseconds(text, now),
            _ => None,
        }
    });
    waits.max().filter(|wait| !wait.is_zero())
}

/// Returns the time until the limits that are used up, according to headers repeated in the body, are reset.
pub(super) fn used_up_reset(fields: &[(String, String)], now: SystemTime) -> Option<Duration> {
    let find = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
    longest_used_up(fields.iter().map(|(name, _)| name.as_str()), find, now)
}

fn plain(name: &str) -> String {
    name.replace(['-', '_'], "")
}
