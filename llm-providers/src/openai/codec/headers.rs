//! What response headers tell about limits and waiting.

use std::sync::Arc;

use http::HeaderMap;
use llm_core::{VendorLimit, VendorLimits};

use crate::wire::duration;

/// The limits that `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` tell, for the model that was asked; `None`
/// without any.
///
/// Resets are read as Go durations (OpenAI, Groq) or as bare seconds (Azure). Mistral's `…-req-minute` and
/// `…-tokens-minute`, which have no resets, are read too.
pub fn vendor_limits(headers: &HeaderMap, model: &Arc<str>) -> Option<VendorLimits> {
    let mut limits = VendorLimits::default();
    limits.requests = limit(headers, "requests").or_else(|| limit(headers, "req-minute"));
    limits.tokens = limit(headers, "tokens").or_else(|| limit(headers, "tokens-minute"));
    if limits.is_empty() {
        return None;
    }
    limits.model = Some(Arc::clone(model));
    Some(limits)
}

fn limit(headers: &HeaderMap, of: &str) -> Option<VendorLimit> {
    let text = |part: &str| headers.get(format!("x-ratelimit-{part}-{of}"))?.to_str().ok().map(str::trim);
    let number = |part| text(part).and_then(|text| text.parse().ok());
    VendorLimit::new(number("limit"), number("remaining"), text("reset").and_then(duration))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let limits = vendor_limits(&openai, &"m".into()).unwrap();
        let requests = VendorLimit::new(Some(10_000), Some(9_999), Some(Duration::from_millis(8_640)));
        assert_eq!((limits.requests, limits.model.as_deref()), (requests, Some("m")));
        assert_eq!(limits.tokens, VendorLimit::new(None, Some(150_000), None));

        let azure = headers(&[("x-ratelimit-reset-tokens", "60")]);
        let limits = vendor_limits(&azure, &"m".into()).unwrap();
        assert_eq!(limits.tokens, VendorLimit::new(None, None, Some(Duration::from_secs(60))));

        let mistral = headers(&[("x-ratelimit-limit-tokens-minute", "500"), ("x-ratelimit-remaining-req-minute", "3")]);
        let limits = vendor_limits(&mistral, &"m".into()).unwrap();
        assert_eq!(limits.tokens, VendorLimit::new(Some(500), None, None));
        assert_eq!(limits.requests, VendorLimit::new(None, Some(3), None));
    }

    #[test]
    fn what_is_no_number_tells_nothing() {
        let odd = headers(&[("x-ratelimit-limit-requests", "many"), ("x-ratelimit-remaining-requests", "-1")]);
        assert_eq!(vendor_limits(&odd, &"m".into()), None);
        assert_eq!(vendor_limits(&HeaderMap::new(), &"m".into()), None);
    }
}
