//! Limits and waiting times that response headers state.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderMap;
use llm_core::layer::{VendorLimit, VendorLimits};

use crate::protocol::{identity, time_until};

/// Suffixes of header names that state the window of a limit, with the window. The empty suffix must come first.
const WINDOWS: [(&str, Option<Duration>); 4] =
    [("", None), ("-minute", Some(VendorLimit::MINUTE)), ("-hour", Some(HOUR)), ("-day", Some(VendorLimit::DAY))];
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Values of the headers of one limit.
#[derive(Clone, Copy, Default)]
struct Stated<'h> {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<&'h str>,
    renewal: Option<u64>,
}

/// Returns the limits on the requested model that the headers `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`
/// state, with the organisation and the project of the key. Returns `None` if no header states any.
///
/// Resets are Go durations (OpenAI, Groq), bare seconds (Azure) or timestamps, counted from `now`: see
/// [`time_until`](crate::protocol::time_until). Limits whose header names the window (`…-requests-day`, Mistral's
/// `…-req-minute`) are read too. The organisation is the group, because OpenAI's limits hold for the keys of all
/// projects of an organisation.
pub(crate) fn vendor_limits(headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits> {
    let stated = stated(headers);
    let [requests, tokens] = stated.map(|windows| {
        let limits = windows.into_iter().zip(WINDOWS).filter_map(|(stated, (_, window))| stated.read(window, now));
        limits.collect::<Vec<_>>()
    });
    let mut windows = (0..requests.len().max(tokens.len())).map(|at| {
        let mut limits = VendorLimits::default();
        (limits.requests, limits.tokens) = (requests.get(at).copied(), tokens.get(at).copied());
        limits
    });
    let mut limits = windows.next().unwrap_or_default();
    limits.further_windows = windows.collect();
    limits.model = (!limits.is_empty()).then(|| Arc::clone(model));
    limits.group = identity(headers, "openai-organization");
    limits.project = identity(headers, "openai-project");
    (!limits.is_empty()).then_some(limits)
}

/// Collects the headers of the limits on requests and on tokens, by window.
fn stated(headers: &HeaderMap) -> [[Stated<'_>; WINDOWS.len()]; 2] {
    let mut found = <[[Stated<'_>; WINDOWS.len()]; 2]>::default();
    for (name, value) in headers {
        let parts = name.as_str().strip_prefix("x-ratelimit-").and_then(|name| name.split_once('-'));
        let (Some((part, of)), Ok(text)) = (parts, value.to_str()) else { continue };
        let window = (1..WINDOWS.len()).find(|at| of.ends_with(WINDOWS[*at].0)).unwrap_or(0);
        let amount = match of.strip_suffix(WINDOWS[window].0) {
            Some("requests" | "req") => 0,
            Some("tokens") => 1,
            _ => continue,
        };
        let (stated, text) = (&mut found[amount][window], text.trim());
        match part {
            "limit" => stated.limit = text.parse().ok(),
            "remaining" => stated.remaining = text.parse().ok(),
            "reset" => stated.reset = Some(text),
            "renewalperiod" => stated.renewal = text.parse().ok(),
            _ => {}
        }
    }
    found
}

impl Stated<'_> {
    fn read(self, window: Option<Duration>, now: SystemTime) -> Option<VendorLimit> {
        let reset = self.reset.and_then(|text| time_until(text, now));
        let mut limit = VendorLimit::new(self.limit, self.remaining, reset)?;
        let window = window.or_else(|| self.renewal.filter(|seconds| *seconds > 0).map(Duration::from_secs));
        limit.window = window.or_else(|| self.refill_window(reset?));
        Some(limit)
    }

    /// Returns the window of a limit that refills steadily, which is the time in which the whole limit refills,
    /// computed from the used part and the time until the reset. OpenAI and Groq refill limits in this way, by the
    /// minute or by the day, and print resets as Go durations. The times of other servers do not match, so their window
    /// is unknown.
    fn refill_window(self, reset: Duration) -> Option<Duration> {
        let (limit, remaining) = (self.limit?, self.remaining?);
        let used = limit.checked_sub(remaining).filter(|used| *used > 0)?;
        if !self.reset?.ends_with(char::is_alphabetic) {
            return None;
        }
        let agrees = |window: &Duration| {
            let refill = u128::from(used) * window.as_micros() / u128::from(limit);
            // Vendors round resets to milliseconds.
            refill.abs_diff(reset.as_micros()) <= 1_000 + refill / 100
        };
        let mut windows = [VendorLimit::MINUTE, VendorLimit::DAY].into_iter().filter(agrees);
        windows.next().filter(|_| windows.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Option<VendorLimits> {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        vendor_limits(&headers, &"m".into(), UNIX_EPOCH)
    }

    #[test]
    fn vendor_limits_read_three_forms() {
        let limits = read(&[
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "8.64s"),
            ("x-ratelimit-remaining-tokens", "150000"),
        ])
        .unwrap();
        let requests = VendorLimit::new(Some(10_000), Some(9_999), Some(Duration::from_millis(8_640)));
        let a_day = requests.map(|limit| limit.with_window(VendorLimit::DAY));
        assert_eq!((limits.requests, limits.model.as_deref()), (a_day, Some("m")));
        assert_eq!(limits.tokens, VendorLimit::new(None, Some(150_000), None));

        let azure = read(&[("x-ratelimit-reset-tokens", "60"), ("x-ratelimit-renewalperiod-tokens", "10")]).unwrap();
        let tokens = VendorLimit::new(None, None, Some(Duration::from_secs(60))).unwrap();
        assert_eq!(azure.tokens, Some(tokens.with_window(Duration::from_secs(10))));

        let mistral =
            read(&[("x-ratelimit-limit-tokens-minute", "500"), ("x-ratelimit-remaining-req-minute", "3")]).unwrap();
        let a_minute = |limit: Option<VendorLimit>| limit.map(|limit| limit.with_window(VendorLimit::MINUTE));
        assert_eq!(mistral.tokens, a_minute(VendorLimit::new(Some(500), None, None)));
        assert_eq!(mistral.requests, a_minute(VendorLimit::new(None, Some(3), None)));
    }

    #[test]
    fn vendor_limits_window_from_name_or_refill() {
        let window = |limit: &'static str, remaining: &'static str, reset: &'static str| {
            let limits = read(&[
                ("x-ratelimit-limit-requests", limit),
                ("x-ratelimit-remaining-requests", remaining),
                ("x-ratelimit-reset-requests", reset),
            ]);
            limits.and_then(|limits| limits.requests?.window)
        };
        for (limit, remaining, reset, expected) in [
            ("500", "499", "120ms", Some(VendorLimit::MINUTE)),
            ("30000", "29999", "2ms", Some(VendorLimit::MINUTE)),
            ("2000000", "1999980", "0s", Some(VendorLimit::MINUTE)),
            ("14400", "14370", "3m0s", Some(VendorLimit::DAY)),
            ("200", "199", "7m12s", Some(VendorLimit::DAY)),
            // Nothing is used, so the window cannot be computed from the reset.
            ("500", "500", "0s", None),
            // The reset is the time until a fixed window ends.
            ("500", "499", "31s", None),
            // A reset in another form is not OpenAI's, although the times match.
            ("60", "30", "30", None),
            // Recorded values: little of a large limit is used, and refills in less time than the rounding.
            ("180000000", "179999990", "0s", Some(VendorLimit::MINUTE)),
            // The limit is so large that a minute and a day cannot be distinguished.
            ("90000000000", "89999999999", "0s", None),
            ("0", "0", "1s", None),
            ("5", "9", "1s", None),
        ] {
            assert_eq!(window(limit, remaining, reset), expected, "{remaining} of {limit}, {reset}");
        }
    }

    #[test]
    fn vendor_limits_of_several_windows_are_read() {
        let limits = read(&[
            ("x-ratelimit-limit-requests-day", "14400"),
            ("x-ratelimit-remaining-requests-day", "13693"),
            ("x-ratelimit-reset-requests-day", "11726.5"),
            ("x-ratelimit-limit-requests-minute", "30"),
            ("x-ratelimit-remaining-tokens-hour", "7"),
        ])
        .unwrap();
        let a_minute = VendorLimit::new(Some(30), None, None).unwrap().with_window(VendorLimit::MINUTE);
        let an_hour = VendorLimit::new(None, Some(7), None).unwrap().with_window(HOUR);
        let reset = Some(Duration::from_millis(11_726_500));
        let a_day = VendorLimit::new(Some(14_400), Some(13_693), reset).unwrap().with_window(VendorLimit::DAY);
        assert_eq!((limits.requests, limits.tokens), (Some(a_minute), Some(an_hour)));
        assert_eq!((limits.further_windows.len(), limits.further_windows[0].requests), (1, Some(a_day)));
        let only_day = read(&[("x-ratelimit-remaining-requests-day", "0")]).unwrap().requests.unwrap();
        assert_eq!(only_day.window, Some(VendorLimit::DAY), "a day is not a minute");
    }

    #[test]
    fn vendor_limits_group_is_organization_not_project() {
        let limits = read(&[("openai-organization", "org-acme"), ("openai-project", "proj_7")]).unwrap();
        assert_eq!((limits.group.as_deref(), limits.project.as_deref()), (Some("org-acme"), Some("proj_7")));
        assert_eq!(limits.model, None, "no limit was stated");
        let limits = read(&[("openai-project", "proj_7"), ("x-ratelimit-remaining-requests", "3")]).unwrap();
        assert_eq!((limits.group, limits.project.as_deref()), (None, Some("proj_7")));
        assert_eq!(read(&[("openai-organization", " ")]), None);
    }

    #[test]
    fn vendor_limits_ignore_invalid_numbers() {
        assert_eq!(read(&[("x-ratelimit-limit-requests", "many"), ("x-ratelimit-remaining-requests", "-1")]), None);
        assert_eq!(read(&[("x-ratelimit-limit-input-images", "5"), ("x-ratelimit-limit", "5")]), None);
        assert_eq!(read(&[]), None);
    }
}
