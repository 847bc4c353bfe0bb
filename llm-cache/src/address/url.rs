//! Parsing of stores' URLs. No store is opened here.

#[cfg(test)]
mod tests;

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{parameters::Parameters, url_error::UrlError};

/// Smallest capacity, in bytes. No entry is smaller.
pub(crate) const MIN_BYTES: u64 = 1024;

/// URL of a cache's store, such as the value of an environment variable.
///
/// | URL | parameters |
/// |---|---|
/// | `memory:` | `max_bytes`, `policy` |
/// | `file:///path` | `max_bytes`, `memory`, `memory_ttl`, `policy` |
/// | `redis://user:password@host:port/db` | `memory`, `memory_ttl`, `policy`, `prefix`, `redis_timeout`, `claim_timeout`, `lease`, `invalidation_bound` |
///
/// `max_bytes` (`500000`, `64mb`, `2gb`; powers of 1024) is the capacity of the store itself. `memory` is the capacity
/// of the local tier in front of a file or Redis, which keeps an entry for at most `memory_ttl` (`30s`, `5m`, `12h`,
/// `7d`). `policy` is the eviction policy of a store in memory or of a local tier: `lru` or `tinylfu`. `prefix` is the
/// prefix of the keys in Redis. The other parameters have the names and the meaning of methods of `RedisOptions`.
///
/// Paths are absolute; `%20` is a space. `rediss://` is Redis with TLS, `redis+cluster://host:port,host:port` a
/// Cluster. `Display` never shows the user and password of a Redis URL, so its text cannot be parsed again.
///
/// ```
/// use llm_cache::StoreUrl;
///
/// let url: StoreUrl = "memory:?max_bytes=64mb&policy=tinylfu".parse()?;
/// let error = "file:///var/cache/answers?max_byte=1gb".parse::<StoreUrl>().unwrap_err();
/// assert!(error.to_string().contains("`max_byte`"));
/// # Ok::<_, llm_cache::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    pub(crate) location: Location,
    pub(crate) parameters: Parameters,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Memory,
    File(PathBuf),
    /// URL of the Redis server, without the parameters that the cache reads.
    #[cfg(feature = "redis")]
    Redis(Arc<str>),
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::read(url, FEATURES)
    }
}

impl StoreUrl {
    /// Returns the URL of a store in memory, without parameters.
    pub(crate) fn memory() -> Self {
        Self { location: Location::Memory, parameters: Parameters::default() }
    }

    /// Returns the path of a `file:` URL; `None` for another store.
    pub fn path(&self) -> Option<&Path> {
        match &self.location {
            Location::File(path) => Some(path),
            _ => None,
        }
    }

    /// Parses a URL as a build with these features does.
    fn read(url: &str, features: &[&str]) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| {
            UrlError::new("the address of the store has no scheme: begin it with `memory:` or `file:///`")
        })?;
        let authority = rest.trim_start_matches('/');
        let behind = authority.find(['/', '?', '#']).map_or("", |end| &authority[end..]);
        if scheme.starts_with("redis") && behind.contains('@') {
            return Err(UrlError::new(
                "the password in the address of the store has a `/`, `?` or `#`: write `%2F`, `%3F` or `%23`",
            ));
        }
        if rest.contains('#') {
            return Err(UrlError::new("the address of the store has a fragment: write `#` in a path as `%23`"));
        }
        let known = STORES.iter().find(|(schemes, ..)| schemes.contains(&scheme));
        let (_, feature, allowed) = known.ok_or_else(|| UrlError::scheme(scheme))?;
        if let Some(feature) = feature.filter(|feature| !features.contains(feature)) {
            return Err(UrlError::feature(scheme, feature));
        }
        let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
        let location = match scheme {
            "memory" if matches!(location, "" | "//") => Location::Memory,
            "memory" => return Err(UrlError::new("`memory:` has no path and no host: only `?` and parameters follow")),
            "file" => Location::File(path(location)?),
            #[cfg(feature = "redis")]
            _ if location.starts_with("//") && location.len() > 2 => {
                Location::Redis(format!("{scheme}:{location}").into())
            }
            _ => return Err(UrlError::new(format!("`{scheme}:` has no host: write `{scheme}://host:port`"))),
        };
        let mut set = Parameters::default();
        let mut known = Vec::new();
        for (at, parameter) in query.split('&').enumerate().filter(|(_, parameter)| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !allowed.contains(&name) {
                return Err(UrlError::parameter(at, name, allowed));
            }
            if known.contains(&name) {
                return Err(UrlError::new(format!("`{name}` is set twice")));
            }
            known.push(name);
            set.set(name, value)?;
        }
        if set.max_bytes.is_some_and(|bytes| bytes < MIN_BYTES) {
            return Err(UrlError::new("`max_bytes` is less than 1kb, which stores nothing: set more"));
        }
        if set.memory.is_some_and(|bytes| (1..MIN_BYTES).contains(&bytes)) {
            return Err(UrlError::new("`memory` is less than 1kb, which stores nothing: set more, or 0 for none"));
        }
        match (set.memory, set.memory_ttl.is_some() || set.policy.is_some()) {
            (None | Some(0), true) if matches!(location, Location::File(_)) => Err(UrlError::new(
                "`memory_ttl` and `policy` are about memory in front: set `memory`, such as `memory=64mb`",
            )),
            _ => Ok(Self { location, parameters: set }),
        }
    }
}

/// Features of this crate that add stores, as far as this build has them.
const FEATURES: &[&str] = &[
    #[cfg(feature = "file")]
    "file",
    #[cfg(feature = "redis")]
    "redis",
];

/// Stores by the schemes of their URLs, each with the feature that it needs and its parameters.
const STORES: [(&[&str], Option<&str>, &[&str]); 3] = [
    (&["memory"], None, &["max_bytes", "policy"]),
    (&["file"], Some("file"), &["max_bytes", "memory", "memory_ttl", "policy"]),
    (
        &["redis", "rediss", "redis+cluster", "rediss+cluster"],
        Some("redis"),
        &["memory", "memory_ttl", "policy", "prefix", "redis_timeout", "claim_timeout", "lease", "invalidation_bound"],
    ),
];

/// Parses the path of a `file:` URL.
fn path(location: &str) -> Result<PathBuf, UrlError> {
    let relative = || UrlError::new("the path of the file is relative: write `file:///` and the path from the root");
    let path = match location.strip_prefix("//") {
        Some(rest) => match rest.split_at(rest.find('/').unwrap_or(rest.len())) {
            ("" | "localhost", path) => path,
            (host, _) if host.contains('@') => {
                return Err(UrlError::new("a file has no user and no password: write `file:///` and the path"));
            }
            _ => return Err(relative()),
        },
        None => location,
    };
    let path = decoded(path)?;
    match path.strip_prefix('/') {
        None => Err(relative()),
        Some("") => Err(UrlError::new("`file:///` names no file: add its path")),
        Some(_) if path.ends_with('/') => {
            Err(UrlError::new("the path of the file ends with `/`, as a directory's does"))
        }
        Some(_) => Ok(path.into()),
    }
}

/// Decodes the percent-encoded path of a URL.
fn decoded(text: &str) -> Result<String, UrlError> {
    let is_escape =
        |rest: &str| rest.as_bytes().first_chunk::<2>().is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_escape) {
        return Err(UrlError::new("the path has a `%` without two hexadecimal digits: write `%` as `%25`"));
    }
    let path = percent_decode_str(text).decode_utf8().map_err(|_| UrlError::new("the path is not UTF-8"))?;
    if path.contains('\0') { Err(UrlError::new("the path has a zero byte")) } else { Ok(path.into_owned()) }
}

/// Bytes of a path that `Display` writes percent-encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Writes text that parses back to the same URL, except that `***` replaces the user and password of a Redis URL.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::Memory => f.write_str("memory:")?,
            #[cfg(feature = "redis")]
            Location::Redis(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
                match rest.rsplit_once('@') {
                    Some((_, hosts)) => write!(f, "{scheme}://***@{hosts}")?,
                    None => write!(f, "{scheme}://{rest}")?,
                }
            }
            Location::File(path) => write!(f, "file://{}", utf8_percent_encode(&path.to_string_lossy(), ENCODED))?,
        }
        for (at, (name, value)) in self.parameters.texts().enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// Writes `StoreUrl(…)` with the text of `Display`, which has no user and password.
impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}
