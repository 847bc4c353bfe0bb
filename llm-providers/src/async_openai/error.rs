use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use llm_core::{Error, ErrorKind};
use serde_json::{Value, json};

/// The error as OpenAI would answer.
pub(super) fn response(error: &Error) -> reqwest::Response {
    let mut response = http::Response::new(Bytes::from(body(error).to_string()));
    *response.status_mut() = status(error);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(wait) = error.retry_after() {
        // Rounded up: who comes too early is refused again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        if let Ok(millis) = u64::try_from(wait.as_millis()) {
            headers.insert("retry-after-ms", HeaderValue::from(millis));
        }
    }
    if let Some(id) = error.request_id().and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert("x-request-id", id);
    }
    response.into()
}

/// `{"error": …}`.
pub(super) fn body(error: &Error) -> Value {
    let (kind, code) = names(error.kind());
    let code = error.code().or(code);
    json!({ "error": { "message": error.message(), "type": kind, "param": null, "code": code } })
}

fn status(error: &Error) -> StatusCode {
    let told = error.status().and_then(|status| StatusCode::from_u16(status).ok());
    let told = told.filter(|status| status.is_client_error() || status.is_server_error());
    told.unwrap_or(match error.kind() {
        ErrorKind::InvalidRequest | ErrorKind::ContextTooLong | ErrorKind::ContentFiltered | ErrorKind::Unsupported => {
            StatusCode::BAD_REQUEST
        }
        ErrorKind::Authentication => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::RateLimited | ErrorKind::QuotaExhausted | ErrorKind::OverBudget => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Overloaded | ErrorKind::Unavailable | ErrorKind::Closed | ErrorKind::Cancelled => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Transport | ErrorKind::Malformed | ErrorKind::Incomplete => StatusCode::BAD_GATEWAY,
        ErrorKind::Timeout | ErrorKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

/// OpenAI's words for the kind: a type, and the code where none was stated.
fn names(kind: ErrorKind) -> (&'static str, Option<&'static str>) {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::Unsupported => ("invalid_request_error", None),
        ErrorKind::ContextTooLong => ("invalid_request_error", Some("context_length_exceeded")),
        ErrorKind::ContentFiltered => ("invalid_request_error", Some("content_filter")),
        ErrorKind::Authentication => ("invalid_request_error", Some("invalid_api_key")),
        ErrorKind::PermissionDenied => ("invalid_request_error", Some("permission_denied")),
        ErrorKind::NotFound => ("invalid_request_error", Some("model_not_found")),
        ErrorKind::RateLimited => ("rate_limit_error", Some("rate_limit_exceeded")),
        ErrorKind::QuotaExhausted => ("insufficient_quota", Some("insufficient_quota")),
        ErrorKind::OverBudget => ("insufficient_quota", Some("over_budget")),
        _ => ("server_error", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_status_of_missing_capacity_is_503() {
        for kind in [ErrorKind::Overloaded, ErrorKind::Unavailable, ErrorKind::Closed] {
            let error = Error::new(kind, "no member of the pool can serve gpt-4o");
            assert_eq!(status(&error), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(body(&error)["error"]["type"], "server_error");
        }
    }
}
