use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use llm_core::{Error, ErrorKind, http as core_http};

use super::readable::CLIENT;
use crate::openai::serve::error::body;

/// Returns an HTTP response for the error, in OpenAI's form.
pub(super) fn response(error: &Error) -> reqwest::Response {
    let mut response = http::Response::new(Bytes::from(body(error, CLIENT).to_string()));
    *response.status_mut() = status(error);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(core_http::error_headers(error));
    if let Some(id) = error.request_id().and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert("x-request-id", id);
    }
    response.into()
}

fn status(error: &Error) -> StatusCode {
    let stated = error.status().and_then(|status| StatusCode::from_u16(status).ok());
    let stated = stated.filter(|status| status.is_client_error() || status.is_server_error());
    // The client is the operator's own program, so errors about the key and the account are its own.
    stated.unwrap_or_else(|| match error.kind() {
        ErrorKind::Authentication => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::QuotaExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => core_http::status(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_status_of_missing_capacity_is_503() {
        for kind in [ErrorKind::Overloaded, ErrorKind::Unavailable, ErrorKind::Closed] {
            let error = Error::new(kind, "no member of the pool can serve gpt-4o");
            assert_eq!(status(&error), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(body(&error, CLIENT)["error"]["type"], "server_error");
        }
    }
}
