use std::sync::Arc;

use http::HeaderMap;

/// Longest name that is accepted, in bytes.
const MAX_LEN: usize = 200;

/// Reads the name of an organisation or a project from a response header; `None` if the value is empty, longer than
/// [`MAX_LEN`] or not text.
pub(crate) fn identity(headers: &HeaderMap, header: &str) -> Option<Arc<str>> {
    let name = headers.get(header)?.to_str().ok()?.trim();
    (!name.is_empty() && name.len() <= MAX_LEN).then(|| name.into())
}
