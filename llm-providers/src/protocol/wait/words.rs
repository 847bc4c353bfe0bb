use std::time::{Duration, SystemTime};

use super::{duration::number, time_until, until::is_believable};

/// Words before a waiting time in a message, in lower case.
const BEFORE: [&str; 12] = [
    "try again in ",
    "try again after ",
    "try again at ",
    "retry in ",
    "retry after ",
    "retry-after: ",
    "wait for ",
    "wait ",
    "reset in ",
    "resets in ",
    "reset after ",
    "available in ",
];
/// Words that may stand between the words of [`BEFORE`] and the number.
const FILLERS: [&str; 7] = ["about ", "approximately ", "around ", "another ", "at least ", "up to ", "~"];
const UNITS: [(&[&str], u128); 7] = [
    (&["ns", "nanosecond", "nanoseconds"], 1),
    (&["us", "µs", "μs", "microsecond", "microseconds"], 1_000),
    (&["ms", "msec", "msecs", "millisecond", "milliseconds"], 1_000_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000_000_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000_000_000),
    (&["d", "day", "days"], 86_400_000_000_000),
];

/// Returns the waiting time that a message states: "Please try again in 1.4s", "retry after 33 seconds", "wait 1 hour and
/// 5 minutes".
pub(super) fn wait_in_words(message: &str, now: SystemTime) -> Option<Duration> {
    let message = message.to_ascii_lowercase();
    let wait = BEFORE.iter().find_map(|before| {
        message.match_indices(before).find_map(|(at, _)| {
            let mut rest = &message[at + before.len()..];
            while let Some(after) = FILLERS.iter().find_map(|filler| rest.strip_prefix(filler)) {
                rest = after;
            }
            amount(rest).or_else(|| bare(rest, now))
        })
    });
    wait.filter(|wait| !wait.is_zero() && is_believable(wait))
}

/// Parses a time such as "2m59.56s", "33 seconds" or "1 hour, 5 minutes and 2 seconds".
fn amount(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, None::<u128>);
    while let Some((figure, after)) = number(rest) {
        let word = after.strip_prefix(' ').unwrap_or(after);
        let (word, after) = word.split_at(word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len()));
        let Some((_, nanos)) = UNITS.iter().find(|(names, _)| names.contains(&word)) else { break };
        total = Some(total.unwrap_or(0).checked_add(figure.times(*nanos)?)?);
        rest = after.strip_prefix(',').unwrap_or(after);
        rest = rest.strip_prefix(' ').unwrap_or(rest);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
    }
    u64::try_from(total?).ok().map(Duration::from_nanos)
}

/// Reads a number without a unit, or a timestamp.
fn bare(text: &str, now: SystemTime) -> Option<Duration> {
    let word = text.split([' ', ',', ';', ')']).next()?.trim_end_matches(['.', ':', '!', '?', '"', '\'']);
    // In "wait 3 requests" the number is not a time.
    let counts = text[word.len()..].strip_prefix(' ').is_some_and(|next| next.starts_with(char::is_alphabetic));
    let number = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if number && counts { None } else { time_until(word, now) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wait_of(message: &str) -> Option<Duration> {
        wait_in_words(message, SystemTime::UNIX_EPOCH + Duration::from_secs(1_787_150_055))
    }

    #[test]
    fn wait_in_words_is_read() {
        for (message, millis) in [
            ("Rate limit reached. Please try again in 1.4s. See the docs", 1_400),
            ("Please try again in 7m12s.", 432_000),
            ("Please try again in 20ms.", 20),
            ("please retry in 48.939s", 48_939),
            ("Please retry after 33 seconds. Contact", 33_000),
            ("Try again in 5 minutes", 300_000),
            ("Try again in 1 hour and 30 minutes.", 5_400_000),
            ("try again in 1 hour, 2 minutes and 3 seconds", 3_723_000),
            ("retry after 1 second", 1_000),
            ("Retry-After: 12", 12_000),
            ("Retry after 33", 33_000),
            ("wait about 20 sec before the next", 20_000),
            ("Please wait 57 seconds before retrying", 57_000),
            ("Please wait before retrying; try again in 2 days", 172_800_000),
            ("Limit resets in 3h.", 10_800_000),
            ("retry after 1787150099", 44_000),
            ("retry after 1787150099000.", 44_000),
            ("try again at 2026-08-19T14:34:59Z.", 44_000),
        ] {
            assert_eq!(wait_of(message), Some(Duration::from_millis(millis)), "{message}");
        }
    }

    #[test]
    fn wait_in_words_missing_is_none() {
        for message in [
            "",
            "slow down",
            "try again in a few seconds",
            "try again in 0s",
            "wait 3 requests",
            "retry after ",
            "try again later",
            "retry after 1787150000",
            "try again in 99999999999999999999 hours",
            "try again in 1787150099 seconds",
        ] {
            assert_eq!(wait_of(message), None, "{message}");
        }
    }

    proptest! {
        #[test]
        fn wait_in_words_never_panics(text in "(retry after |try again in |wait )?\\PC{0,32}") {
            let _ = wait_of(&text);
        }
    }
}
