//! Which endpoint a call is for, and with which key.

use super::error::Refusal;
use http::{HeaderMap, Method, Uri, header};

/// What the vendor serves, below any prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Embeddings,
    Models,
}

/// The endpoint at `uri`, or a 404 or 405.
pub(crate) fn route(method: &Method, uri: &Uri) -> Result<Endpoint, Refusal> {
    let path = uri.path();
    let served = [
        ("/chat/completions", Endpoint::Chat, Method::POST),
        ("/embeddings", Endpoint::Embeddings, Method::POST),
        ("/models", Endpoint::Models, Method::GET),
    ];
    match served.into_iter().find(|(suffix, ..)| path.ends_with(suffix)) {
        Some((_, endpoint, wanted)) if wanted == *method => Ok(endpoint),
        Some(_) => Err(Refusal::wrong_method()),
        None => Err(Refusal::unknown_path(path)),
    }
}

/// The bearer token of a call, if it has one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
