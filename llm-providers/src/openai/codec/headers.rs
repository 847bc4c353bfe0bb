//! Limits and waiting times in response headers.

use std::{sync::Arc, time::SystemTime};

use http::HeaderMap;
use llm_core::layer::{VendorLimit, VendorLimits};

use crate::protocol::time_until;

/// Returns the limits that `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` state, for the model that was asked;
/// `None` without any.
///
/// Resets are Go durations (OpenAI, Groq), bare seconds (Azure) or timestamps, counted from `now`: see
/// [`time_until`](crate::protocol::time_until). Mistral's `…-req-minute` and `…-tokens-minute` are read too.
pub(crate) fn vendor_limits(headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits> {
    let mut limits = VendorLimits::default();
    let limit = |of: &str| limit(headers, of, now);
    limits.requests = limit("requests").or_else(|| limit("req-minute"));
    limits.tokens = limit("tokens").or_else(|| limit("tokens-minute"));
    if limits.is_empty() {
        return None;
    }
    limits.model = Some(Arc::clone(model));
    Some(limits)
}

fn limit(headers: &HeaderMap, of: &str, now: SystemTime) -> Option<VendorLimit> {
    let text = |part: &str| headers.get(format!("x-ratelimit-{part}-{of}"))?.to_str().ok().map(str::trim);
    let number = |part| text(part).and_then(|text| text.parse().ok());
    VendorLimit::new(number("limit"), number("remaining"), text("reset").and_then(|text| time_until(text, now)))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn limits_are_read_in_all_three_forms() {
        let openai = headers(&[
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "8.64s"),
            ("x-ratelimit-remaining-tokens", "150000"),
        ]);
        let limits = vendor_limits(&openai, &"m".into(), UNIX_EPOCH).unwrap();
        let requests = VendorLimit::new(Some(10_000), Some(9_999), Some(Duration::from_millis(8_640)));
        assert_eq!((limits.requests, limits.model.as_deref()), (requests, Some("m")));
        assert_eq!(limits.tokens, VendorLimit::new(None, Some(150_000), None));

        let azure = headers(&[("x-ratelimit-reset-tokens", "60")]);
        let limits = vendor_limits(&azure, &"m".into(), UNIX_EPOCH).unwrap();
        assert_eq!(limits.tokens, VendorLimit::new(None, None, Some(Duration::from_secs(60))));

        let mistral = headers(&[("x-ratelimit-limit-tokens-minute", "500"), ("x-ratelimit-remaining-req-minute", "3")]);
        let limits = vendor_limits(&mistral, &"m".into(), UNIX_EPOCH).unwrap();
        assert_eq!(limits.tokens, VendorLimit::new(Some(500), None, None));
        assert_eq!(limits.requests, VendorLimit::new(None, Some(3), None));
    }

    #[test]
    fn what_is_no_number_tells_nothing() {
        let odd = headers(&[("x-ratelimit-limit-requests", "many"), ("x-ratelimit-remaining-requests", "-1")]);
        assert_eq!(vendor_limits(&odd, &"m".into(), UNIX_EPOCH), None);
        assert_eq!(vendor_limits(&HeaderMap::new(), &"m".into(), UNIX_EPOCH), None);
    }
}
