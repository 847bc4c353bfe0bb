//! Encoding of refusals in Gemini's format.

use crate::fault::{RefusalKind, RetryForm};
use crate::refusal::{Cause, Refusal};
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

const METRIC: &str = "generativelanguage.googleapis.com/generate_content_requests";

/// Returns the status and the body of a refusal.
pub(super) fn refuse(refusal: &Refusal) -> (StatusCode, Value) {
    let (status, name) = row(&refusal.cause);
    let mut message = match (&refusal.cause, &refusal.param) {
        (Cause::Scripted(RefusalKind::ContextTooLong), _) => {
            "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).".into()
        }
        (Cause::Scripted(RefusalKind::NoCredit), _) => "Your prepayment credits are depleted.".into(),
        (Cause::Invalid | Cause::Missing, Some(param)) => format!("{param}: {}", refusal.message),
        _ => refusal.message.clone(),
    };
    let mut details = Vec::new();
    match &refusal.cause {
        Cause::UnknownKey => {
            details.push(json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}}));
        }
        Cause::Limited { code, retry_after, form } => {
            details.push(quota(quota_id(code)));
            if *form != RetryForm::Silent {
                message = format!("{message}\nPlease retry in {}.", seconds(*retry_after));
                let delay = seconds(*retry_after);
                details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}));
            }
        }
        _ => {}
    }
    let mut error = json!({"code": status.as_u16(), "message": message, "status": name});
    if !details.is_empty() {
        error["details"] = details.into();
    }
    (status, json!({"error": error}))
}

fn row(cause: &Cause) -> (StatusCode, &'static str) {
    match cause {
        Cause::Invalid | Cause::Missing | Cause::Malformed | Cause::UnknownKey | Cause::Filtered => {
            (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT")
        }
        Cause::NoKey => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
        Cause::UnknownModel | Cause::UnknownPath | Cause::WrongMethod => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        Cause::Limited { .. } => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
        Cause::Scripted(RefusalKind::Overloaded) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        Cause::Scripted(RefusalKind::ServerError) => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        Cause::Scripted(RefusalKind::ContextTooLong) => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
        Cause::Scripted(RefusalKind::Forbidden) => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
        Cause::Scripted(RefusalKind::NoAccess) => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        Cause::Scripted(RefusalKind::NoCredit) => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
    }
}

fn quota_id(code: &str) -> &str {
    match code {
        "rate_limit_exceeded" | "slow_down" => "GenerateRequestsPerMinutePerProjectPerModel",
        "insufficient_quota" | "requests_per_day" => "GenerateRequestsPerDayPerProjectPerModel",
        other => other,
    }
}

fn quota(id: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaMetric": METRIC, "quotaId": id, "quotaDimensions": {"location": "global", "model": "simulated"},
            "quotaValue": "10"}]})
}

/// Returns a duration as protocol buffers write it: `48s`, `1.5s`.
fn seconds(duration: Duration) -> String {
    let fraction = format!("{:03}", duration.subsec_millis());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}s", duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gemini_durations_follow_protocol_buffers() {
        for (millis, text) in [(0, "0s"), (48_000, "48s"), (1_500, "1.5s"), (34_040, "34.04s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }
}
