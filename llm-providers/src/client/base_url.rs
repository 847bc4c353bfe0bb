use std::sync::Arc;

use http::Uri;
use llm_core::Error;

/// Base URL of a vendor's API.
#[derive(Clone, Debug)]
pub(super) struct BaseUrl(Arc<str>);

impl BaseUrl {
    /// Parses a base URL such as `https://api.openai.com/v1`. Error messages never quote it, because a wrong one may
    /// hold a secret.
    pub(super) fn new(base: &str) -> Result<Self, Error> {
        let base = base.trim();
        if base.contains(['?', '#']) {
            return Err(wrong("has a query or a fragment, and keys in URLs leak: send them in a header"));
        }
        let uri: Uri = base.parse().map_err(|_| wrong("is not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("is not complete: begin with https:// and a host"));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(wrong("is neither http nor https"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("holds a user or a password, which leak: send them in a header"));
        }
        if authority.host().is_empty() {
            return Err(wrong("has no host"));
        }
        // `Uri` accepts a port that is not a number, and a colon without a port.
        if authority.port().is_some_and(|port| port.as_str().is_empty())
            || (authority.port_u16().is_none()
                && authority.as_str().rsplit(']').next().is_some_and(|end| end.contains(':')))
        {
            return Err(wrong("has a port that is none"));
        }
        Ok(Self(base.trim_end_matches('/').into()))
    }

    /// Returns the host, without a port.
    pub(super) fn host(&self) -> &str {
        let authority = self.0.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        }
    }

    /// Returns the URL of a path below the base URL.
    pub(super) fn below(&self, path: &str) -> Result<Uri, Error> {
        let address = format!("{}/{path}", self.0).parse();
        address.map_err(|_| Error::invalid("the model's name cannot stand in an address"))
    }
}

fn wrong(how: &str) -> Error {
    Error::invalid(format!("the base URL {how}"))
}

#[cfg(test)]
mod tests {
    use llm_core::ErrorKind;

    use super::*;

    #[test]
    fn base_url_prefixes_every_path() {
        for (base, chat) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
            ("http://localhost:11434/v1/", "http://localhost:11434/v1/chat/completions"),
            ("http://[::1]:80", "http://[::1]:80/chat/completions"),
            (" http://127.0.0.1/a/b/ ", "http://127.0.0.1/a/b/chat/completions"),
        ] {
            assert_eq!(BaseUrl::new(base).unwrap().below("chat/completions").unwrap(), chat);
        }
        assert_eq!(BaseUrl::new("http://h").unwrap().below("a?alt=sse").unwrap(), "http://h/a?alt=sse");
        assert!(BaseUrl::new("http://h").unwrap().below("a b").is_err());
    }

    #[test]
    fn base_url_host_has_no_port() {
        for (base, host) in
            [("https://eu.api.openai.com/v1", "eu.api.openai.com"), ("http://h:80", "h"), ("http://[::1]/a:b", "[::1]")]
        {
            assert_eq!(BaseUrl::new(base).unwrap().host(), host);
        }
        assert_eq!(BaseUrl::new("http://[::1]:80/a").unwrap().host(), "[::1]");
    }

    #[test]
    fn base_url_invalid_is_refused_unquoted() {
        for (base, why) in [
            ("", "not a URL"),
            ("api.openai.com/v1", "is not"),
            ("/v1", "begin with https://"),
            ("secret-host", "begin with https://"),
            ("ftp://secret-host/v1", "neither http nor https"),
            ("https://user:secret@host/v1", "user or a password"),
            ("https://host/v1?api-key=secret", "query"),
            ("https://host/v1#secret", "fragment"),
            ("https://secret host/v1", "not a URL"),
            ("https://host:secret/v1", "port"),
            ("https://", "not a URL"),
            ("https://host:/v1", "port"),
            ("https://host:99999/v1", "port"),
        ] {
            let error = BaseUrl::new(base).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.message().contains(why) && !error.message().contains("secret"), "{base}: {error}");
        }
    }
}
