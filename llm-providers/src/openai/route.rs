use std::sync::Arc;

use http::uri::PathAndQuery;
use llm_core::Error;

/// Paths of the API below the base URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Route {
    /// `chat/completions`.
    #[default]
    Plain,
    /// `deployments/{model}/chat/completions?api-version=…`.
    Deployment(Arc<str>),
    /// `chat/completions?api-version=…`.
    Versioned(Arc<str>),
}

impl Route {
    pub(super) fn deployment(version: &str) -> Result<Self, Error> {
        Ok(Self::Deployment(checked(version)?))
    }

    pub(super) fn versioned(version: &str) -> Result<Self, Error> {
        Ok(Self::Versioned(checked(version)?))
    }

    /// Returns the path of a request for a model.
    pub(super) fn path(&self, of: &str, model: &str) -> String {
        match self {
            Self::Plain => of.to_owned(),
            Self::Deployment(version) => format!("deployments/{}/{of}?api-version={version}", escaped(model)),
            Self::Versioned(version) => format!("{of}?api-version={version}"),
        }
    }

    /// Returns the path of a request that names no model, such as that for the list of models.
    pub(super) fn general(&self, of: &str) -> String {
        match self {
            Self::Plain => of.to_owned(),
            Self::Deployment(version) | Self::Versioned(version) => format!("{of}?api-version={version}"),
        }
    }
}

fn checked(version: &str) -> Result<Arc<str>, Error> {
    let word = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match format!("/?{version}").parse::<PathAndQuery>() {
        Ok(_) if word => Ok(version.into()),
        _ => Err(Error::invalid("the api version is not one, such as 2024-10-21")),
    }
}

/// Escapes a name as a segment of a path.
fn escaped(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_escapes_name_to_one_segment() {
        let route = Route::deployment("2024-10-21").unwrap();
        assert_eq!(
            route.path("embeddings", "a/../b c?"),
            "deployments/a%2F..%2Fb%20c%3F/embeddings?api-version=2024-10-21"
        );
        assert_eq!(route.general("models"), "models?api-version=2024-10-21");
        assert!(["", "a&b", "a b", "x#"].iter().all(|version| Route::versioned(version).is_err()));
    }
}
