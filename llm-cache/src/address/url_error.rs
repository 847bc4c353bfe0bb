//! Errors in the URLs of stores. They quote only names that are known or cannot be a password, and never a value.

/// Error in a store's URL. It names the wrong part, and quotes only parts that cannot contain a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl UrlError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    pub(crate) fn feature(scheme: &str, feature: &str) -> Self {
        Self(format!("`{scheme}:` needs the feature `{feature}` of llm-cache, which is off in this build"))
    }

    pub(crate) fn scheme(scheme: &str) -> Self {
        let allowed = "use `memory:`, `file:///path` or `redis://host`";
        match is_plain(scheme) {
            true => Self(format!("`{scheme}:` is no scheme of a store: {allowed}")),
            false => Self(format!("what stands before the first colon is no scheme of a store: {allowed}")),
        }
    }

    pub(crate) fn parameter(at: usize, name: &str, allowed: &[&str]) -> Self {
        let allowed = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match is_plain(name) {
            true => Self(format!("`{name}` is no parameter here: allowed are {allowed}")),
            false => Self(format!("parameter {} is none here: allowed are {allowed}", at + 1)),
        }
    }
}

/// Returns `true` if a text can be quoted, because it looks like a name and not like a password.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | '+');
    (1..=16).contains(&text.len()) && text.chars().all(plain)
}
