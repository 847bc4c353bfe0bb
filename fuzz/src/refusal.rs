//! Errors that a vendor returns instead of a response.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use llm_providers::protocol::VendorProtocol;

use crate::{held, secret};

/// Bytes that may be held for each byte of an error, as for responses.
const FACTOR: u64 = 256;

/// Reads the bytes as a status, lines of headers, a blank line and a body, and makes an error of it.
///
/// # Panics
///
/// If the error shows the key, or if too much is held.
pub fn refusal<W: VendorProtocol>(protocol: &W, data: &[u8]) {
    let (status, headers, body) = parse(data);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let error = held::bounded(data.len(), FACTOR, || {
        let error = protocol.classify(status, &headers, body, now, Some(secret::KEY));
        drop(protocol.limits(&headers, &"model".into(), now));
        protocol.request_id(&headers).map(str::to_owned);
        error
    });
    secret::assert_hidden(&error, data);
    assert!(error.message().len() < 8 << 10, "a message of {} bytes", error.message().len());
}

/// Parses leniently: a line that is not a header is left out.
fn parse(data: &[u8]) -> (StatusCode, HeaderMap, &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let (head, body) = (&data[..end], data.get(end + 2..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok()).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    });
    (status, headers.collect(), body)
}
