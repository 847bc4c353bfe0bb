//! What response headers tell about limits.

mod instant;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderMap;
use llm_core::{VendorLimit, VendorLimits};

use self::instant::instant;

/// The limits that `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` tell, for
/// the model that was asked; `None` without any.
///
/// Resets are instants (RFC 3339), counted here from `now`; one that has passed is no time at all. `tokens` is the
/// tightest of the vendor's token limits. Limits of the priority and the fast tier are not read.
pub fn vendor_limits(headers: &HeaderMap, model: &Arc<str>, now: SystemTime) -> Option<VendorLimits> {
    let mut limits = VendorLimits::default();
    limits.requests = limit(headers, "requests", now);
    limits.tokens = limit(headers, "tokens", now);
    limits.input_tokens = limit(headers, "input-tokens", now);
    limits.output_tokens = limit(headers, "output-tokens", now);
    if limits.is_empty() {
        return None;
    }
    limits.model = Some(Arc::clone(model));
    Some(limits)
}

fn limit(headers: &HeaderMap, of: &str, now: SystemTime) -> Option<VendorLimit> {
    let text = |part: &str| headers.get(format!("anthropic-ratelimit-{of}-{part}"))?.to_str().ok().map(str::trim);
    let number = |part| text(part).and_then(|text| text.parse().ok());
    let reset = text("reset").and_then(instant).map(|at| at.duration_since(now).unwrap_or(Duration::ZERO));
    VendorLimit::new(number("limit"), number("remaining"), reset)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn limits_are_read_and_resets_counted_from_now() {
        let told = headers(&[
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:37Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "19998000"),
            ("anthropic-ratelimit-output-tokens-reset", "1994-11-06T08:49:07Z"),
            ("anthropic-ratelimit-tokens-limit", "480000"),
        ]);
        // 1994-11-06T08:49:37Z, less 30 s.
        let now = UNIX_EPOCH + Duration::from_secs(784_111_747);
        let limits = vendor_limits(&told, &"m".into(), now).unwrap();
        assert_eq!(limits.requests, VendorLimit::new(Some(4_000), Some(3_999), Some(Duration::from_secs(30))));
        assert_eq!(limits.input_tokens, VendorLimit::new(None, Some(19_998_000), None));
        assert_eq!(limits.output_tokens, VendorLimit::new(None, None, Some(Duration::ZERO)));
        assert_eq!(limits.tokens, VendorLimit::new(Some(480_000), None, None));
        assert_eq!(limits.model.as_deref(), Some("m"));
    }

    #[test]
    fn what_is_no_limit_tells_nothing() {
        let odd = headers(&[
            ("anthropic-ratelimit-requests-limit", "many"),
            ("anthropic-ratelimit-requests-reset", "soon"),
            ("x-ratelimit-limit-requests", "5"),
        ]);
        assert_eq!(vendor_limits(&odd, &"m".into(), UNIX_EPOCH), None);
    }
}
