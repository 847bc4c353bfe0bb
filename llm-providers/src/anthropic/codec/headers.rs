//! Limits that response headers state.

use std::{sync::Arc, time::SystemTime};

use http::HeaderMap;
use llm_core::layer::{VendorLimit, VendorLimits};

use crate::protocol::{identity, time_until};

/// Service classes that have their own limits.
const CLASSES: [&str; 2] = ["fast", "priority"];

/// Returns the limits on the requested model that the headers
/// `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` state, with those of
/// service classes (`anthropic-priority-…`, `anthropic-fast-…`), and the organisation of the key as the group. Returns
/// `None` if no header states any.
///
/// The headers state resets as times (RFC 3339), which become durations from `now`, or zero if the time has passed. The
/// header `tokens` states the tightest of the vendor's token limits. All limits count over a minute, as the vendor
/// documents.
pub(crate) fn vendor_limits(headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits> {
    let mut limits = read(headers, "ratelimit", now);
    let classes = CLASSES.into_iter().map(|class| (class.into(), read(headers, class, now)));
    limits.classes = classes.filter(|(_, limits)| !limits.is_empty()).collect();
    limits.model = (!limits.is_empty()).then(|| Arc::clone(model));
    limits.group = identity(headers, "anthropic-organization-id");
    (!limits.is_empty()).then_some(limits)
}

fn read(headers: &HeaderMap, of: &str, now: SystemTime) -> VendorLimits {
    let mut limits = VendorLimits::default();
    limits.requests = limit(headers, of, "requests", now);
    limits.tokens = limit(headers, of, "tokens", now);
    limits.input_tokens = limit(headers, of, "input-tokens", now);
    limits.output_tokens = limit(headers, of, "output-tokens", now);
    limits
}

fn limit(headers: &HeaderMap, of: &str, what: &str, now: SystemTime) -> Option<VendorLimit> {
    let text = |part: &str| headers.get(format!("anthropic-{of}-{what}-{part}"))?.to_str().ok().map(str::trim);
    let number = |part| text(part).and_then(|text| text.parse().ok());
    let reset = text("reset").and_then(|text| time_until(text, now));
    Some(VendorLimit::new(number("limit"), number("remaining"), reset)?.with_window(VendorLimit::MINUTE))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn minute(limit: Option<u64>, remaining: Option<u64>, reset: Option<Duration>) -> Option<VendorLimit> {
        Some(VendorLimit::new(limit, remaining, reset)?.with_window(VendorLimit::MINUTE))
    }

    #[test]
    fn vendor_limits_count_resets_from_now() {
        let received = headers(&[
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:37Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "19998000"),
            ("anthropic-ratelimit-output-tokens-reset", "1994-11-06T08:49:07Z"),
            ("anthropic-ratelimit-tokens-limit", "480000"),
        ]);
        // 30 s before 1994-11-06T08:49:37Z.
        let now = UNIX_EPOCH + Duration::from_secs(784_111_747);
        let limits = vendor_limits(&received, &"m".into(), now).unwrap();
        assert_eq!(limits.requests, minute(Some(4_000), Some(3_999), Some(Duration::from_secs(30))));
        assert_eq!(limits.input_tokens, minute(None, Some(19_998_000), None));
        assert_eq!(limits.output_tokens, minute(None, None, Some(Duration::ZERO)));
        assert_eq!(limits.tokens, minute(Some(480_000), None, None));
        assert_eq!(limits.model.as_deref(), Some("m"));
    }

    #[test]
    fn vendor_limits_of_tiers_are_separate() {
        let received = headers(&[
            ("anthropic-priority-input-tokens-limit", "10000"),
            ("anthropic-priority-input-tokens-remaining", "9618"),
            ("anthropic-priority-output-tokens-reset", "1994-11-06T08:49:37Z"),
            ("anthropic-fast-output-tokens-remaining", "0"),
        ]);
        let limits = vendor_limits(&received, &"m".into(), UNIX_EPOCH + Duration::from_secs(784_111_747)).unwrap();
        assert_eq!((limits.input_tokens, limits.output_tokens), (None, None), "not those of other calls");
        let of = |class: &str| limits.classes.get(class).unwrap();
        assert_eq!(of("priority").input_tokens, minute(Some(10_000), Some(9_618), None));
        assert_eq!(of("priority").output_tokens, minute(None, None, Some(Duration::from_secs(30))));
        assert_eq!(of("fast").output_tokens, minute(None, Some(0), None));
        assert_eq!(limits.classes.len(), 2);
    }

    #[test]
    fn vendor_limits_group_is_organization() {
        let limits = |pairs: &[_]| vendor_limits(&headers(pairs), &"m".into(), UNIX_EPOCH);
        let group = [("anthropic-organization-id", "5f0c7d1e-0000-4000-8000-000000000000")];
        let stated = limits(&group).unwrap();
        assert_eq!(stated.group.as_deref(), Some("5f0c7d1e-0000-4000-8000-000000000000"));
        assert_eq!((stated.requests, stated.model), (None, None));
        let both = limits(&[group[0], ("anthropic-ratelimit-requests-remaining", "3")]).unwrap();
        assert_eq!((both.group, both.model.as_deref()), (stated.group, Some("m")));
        assert_eq!(limits(&[("anthropic-organization-id", "")]), None);
    }

    #[test]
    fn vendor_limits_ignore_other_headers() {
        let odd = headers(&[
            ("anthropic-ratelimit-requests-limit", "many"),
            ("anthropic-ratelimit-requests-reset", "soon"),
            ("x-ratelimit-limit-requests", "5"),
        ]);
        assert_eq!(vendor_limits(&odd, &"m".into(), UNIX_EPOCH), None);
    }
}
