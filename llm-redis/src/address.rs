//! Address of a server, parsed from a URL. `Debug` and `Display` show neither user nor password.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::{Error, ErrorKind};

const DEFAULT_PORT: u16 = 6379;

/// Parts of a URL. Its `Debug` shows neither user nor password.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) cluster: bool,
    pub(crate) tls: bool,
    pub(crate) db: i64,
    pub(crate) secrets: Secrets,
}

/// Credentials of the URL, percent-decoded.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl Address {
    /// Parses a URL. An error names the part of the URL that is wrong, and shows none of the URL's text.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("scheme", "is missing"))?;
        let (cluster, tls) = match scheme {
            "redis" => (false, false),
            "rediss" => (false, true),
            "redis+cluster" => (true, false),
            "rediss+cluster" => (true, true),
            _ => return Err(invalid("scheme", "must be redis, rediss, redis+cluster or rediss+cluster")),
        };
        require_feature("cluster", cluster, cfg!(feature = "cluster"))?;
        require_feature("tls", tls, cfg!(feature = "tls"))?;
        let after_authority = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
        if after_authority.contains('@') {
            return Err(invalid("password", "has a `/`, `?` or `#`; write %2F, %3F or %23"));
        }
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        if !fragment.is_empty() {
            return Err(invalid("fragment", "is not supported; certificates are always checked"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The parameter `protocol` is accepted and ignored, so that the URL can be shared with other clients. This
        // client always uses RESP3.
        if query.split('&').any(|pair| !pair.is_empty() && !pair.starts_with("protocol=")) {
            return Err(invalid("query", "has parameters; set them on the builder"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let hosts = hosts.split(',').map(host).collect::<Result<Vec<_>, _>>()?;
        if hosts.len() > 1 && !cluster {
            return Err(invalid("host", "is a list; use redis+cluster for a list"));
        }
        let db = match path.trim_end_matches('/') {
            "" => 0,
            db => db.parse().ok().filter(|db| *db >= 0).ok_or_else(|| invalid("path", "must be a database number"))?,
        };
        if cluster && db != 0 {
            return Err(invalid("path", "must be empty: a Cluster has one database"));
        }
        Ok(Self { hosts, cluster, tls, db, secrets: Secrets::parse(user_info)? })
    }
}

/// Shows the hosts and their ports, but nothing else of the URL.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{host}:{port}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl Secrets {
    fn parse(user_info: &str) -> Result<Self, Error> {
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user_info, None),
        };
        let decode = |part, text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(|text| text.into_owned()).map_err(|_| invalid(part, "is not UTF-8 after percent-decoding"))
        };
        let user = decode("user", user)?;
        let password = password.map(|password| decode("password", password)).transpose()?;
        let non_empty = |text: String| (!text.is_empty()).then_some(text);
        let secrets = Self { user: non_empty(user), password: password.and_then(non_empty) };
        if secrets.user.is_some() && secrets.password.is_none() {
            return Err(invalid("password", "is missing; write redis://:password@host if there is no user"));
        }
        Ok(secrets)
    }

    /// Returns the text with each occurrence of the user and the password replaced by `***`.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in [&self.password, &self.user].into_iter().flatten() {
            clean = clean.replace(secret.as_str(), "***");
        }
        clean
    }
}

/// Parses a host with an optional port, which is 6379 by default.
fn host(text: &str) -> Result<(String, u16), Error> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']').ok_or_else(|| invalid("host", "has an unclosed bracket"))?;
            (
                host,
                rest.strip_prefix(':')
                    .or(rest.is_empty().then_some(""))
                    .ok_or_else(|| invalid("port", "is not a number"))?,
            )
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(invalid("host", "is missing or not a name"));
    }
    let port = match port {
        "" => DEFAULT_PORT,
        port => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| invalid("port", "is not a number from 1 to 65535"))?,
    };
    Ok((host.to_owned(), port))
}

fn invalid(part: &str, problem: &str) -> Error {
    Error::new(ErrorKind::InvalidUrl, format!("the {part} of the Redis URL {problem}"))
}

/// Returns an error if the URL needs a feature that is not enabled.
fn require_feature(feature: &str, needed: bool, built: bool) -> Result<(), Error> {
    if needed && !built {
        let message = format!("the scheme of the Redis URL needs the feature `{feature}` of llm-redis");
        return Err(Error::new(ErrorKind::InvalidUrl, message));
    }
    Ok(())
}
