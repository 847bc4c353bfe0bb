//! Tests of the classification of errors that all vendors share.

use std::time::UNIX_EPOCH;

use http::{HeaderMap, StatusCode};
use llm_providers::llm_core::{Charge, ErrorKind};

use crate::codec::{anthropic, gemini, openai};

#[test]
fn error_classification_shares_statuses_across_vendors() {
    for (status, kind, charge) in [
        (302, ErrorKind::NotFound, Charge::None),
        (400, ErrorKind::InvalidRequest, Charge::None),
        (401, ErrorKind::Authentication, Charge::None),
        (402, ErrorKind::QuotaExhausted, Charge::None),
        (403, ErrorKind::PermissionDenied, Charge::None),
        (404, ErrorKind::NotFound, Charge::None),
        (405, ErrorKind::NotFound, Charge::None),
        (408, ErrorKind::Timeout, Charge::None),
        (409, ErrorKind::Server, Charge::None),
        (410, ErrorKind::NotFound, Charge::None),
        (413, ErrorKind::InvalidRequest, Charge::None),
        (422, ErrorKind::InvalidRequest, Charge::None),
        (429, ErrorKind::RateLimited, Charge::None),
        (500, ErrorKind::Server, Charge::Unknown),
        (502, ErrorKind::Server, Charge::Unknown),
        (503, ErrorKind::Overloaded, Charge::None),
        (504, ErrorKind::Timeout, Charge::Unknown),
        (529, ErrorKind::Overloaded, Charge::None),
        (599, ErrorKind::Server, Charge::Unknown),
    ] {
        for classify in [openai::classify, anthropic::classify, gemini::classify] {
            let code = StatusCode::from_u16(status).unwrap();
            let error = classify(code, &HeaderMap::new(), b"", UNIX_EPOCH, None);
            assert_eq!((error.kind(), error.charge(), error.status()), (kind, charge, Some(status)), "{error:?}");
        }
    }
}

#[test]
fn error_classification_reads_words_without_status() {
    for (message, kind) in [
        ("rate limit reached", ErrorKind::RateLimited),
        ("insufficient balance", ErrorKind::QuotaExhausted),
        ("bad api key", ErrorKind::Authentication),
        ("the server is overloaded", ErrorKind::Overloaded),
        ("the prompt is too long, and a rate limit too", ErrorKind::ContextTooLong),
        ("something else", ErrorKind::Server),
    ] {
        let body = format!(r#"{{"error": {{"message": "{message}"}}}}"#);
        for decode in [openai::decode_chat, anthropic::decode_chat, gemini::decode_chat] {
            assert_eq!(decode(body.as_bytes()).unwrap_err().kind(), kind, "{message}");
        }
    }
}
