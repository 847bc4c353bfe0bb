//! Parsing of URLs of accounts and stores. Nothing is opened here.

use std::{fmt, num::NonZeroU32, path::PathBuf, time::Duration};

use super::StoreError;

/// Location of accounts or balances that a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Memory,
    File(PathBuf),
    Redis(RedisAddress),
}

/// URL of a server, with the settings that it has as parameters.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisAddress {
    /// URL without its parameters. It may contain a password.
    pub(crate) url: String,
    pub(crate) instances: NonZeroU32,
    pub(crate) prefix: Option<String>,
    pub(crate) lease: Option<Duration>,
    pub(crate) decision_timeout: Option<Duration>,
}

const SCHEMELESS: StoreError =
    StoreError::Url("the address begins with no scheme: use memory:, file:///path or redis://host?instances=4");
const MORE: StoreError =
    StoreError::Url("files have no parameters and no fragments: leave them out, and write ? as %3f and # as %23");
const PASSWORD: StoreError =
    StoreError::Url("the password in the address has a /, ? or #: write it as %2f, %3f or %23");
const HOST: StoreError = StoreError::Url("the address has no host: write redis://host:port?instances=4");
const PARAMETER: StoreError = StoreError::Url(
    "a parameter is none of instances, prefix, lease and decision_timeout, or is there twice: use those, each once",
);
const INSTANCES: StoreError =
    StoreError::Url("the address says of no number of processes that share it: add ?instances= and their number");
const TIME: StoreError = StoreError::Url("a time is none: write it as 500ms or 10s");
const RELATIVE: StoreError = StoreError::Url("the path of a file store has to be absolute: write file:///path");
const ESCAPE: StoreError =
    StoreError::Url("the path has a broken escape: after % come two hexadecimal digits, in UTF-8");

impl Address {
    /// Parses a URL. Errors do not quote it, because it may contain a password.
    pub(crate) fn read(url: &str) -> Result<Self, StoreError> {
        let (scheme, rest) = url.split_once(':').ok_or(SCHEMELESS)?;
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "memory" | "file" => {}
            "redis" | "rediss" | "redis+cluster" | "rediss+cluster" => {
                return RedisAddress::read(&scheme, rest).map(Self::Redis);
            }
            _ if scheme.len() <= 16 && scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                return Err(StoreError::Scheme(scheme));
            }
            _ => return Err(SCHEMELESS),
        }
        let place = rest.strip_suffix('?').unwrap_or(rest);
        if place.contains(['?', '#']) {
            return Err(MORE);
        }
        if scheme == "memory" {
            let none = matches!(place, "" | "//" | "///");
            return if none { Ok(Self::Memory) } else { Err(StoreError::Url("memory: has no path, leave it out")) };
        }
        let path = match place.strip_prefix("//") {
            Some(path) => path.strip_prefix("localhost").unwrap_or(path),
            None => place,
        };
        if !path.starts_with('/') || path.len() < 2 {
            return Err(RELATIVE);
        }
        Ok(Self::File(unescaped(path)?.into()))
    }
}

impl RedisAddress {
    fn read(scheme: &str, rest: &str) -> Result<Self, StoreError> {
        let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
        let behind = location.trim_start_matches('/').split_once('/').map_or("", |(_, behind)| behind);
        if rest.contains('#') || query.contains('@') || behind.contains('@') {
            return Err(PASSWORD);
        }
        if !location.starts_with("//") || location.len() < 3 {
            return Err(HOST);
        }
        let (mut instances, mut prefix, mut lease, mut decision_timeout) = (None, None, None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or(PARAMETER)?;
            let is_new = match name {
                "instances" => instances.replace(value.parse().map_err(|_| INSTANCES)?).is_none(),
                "prefix" => prefix.replace(value.to_owned()).is_none(),
                "lease" => lease.replace(time(value)?).is_none(),
                "decision_timeout" => decision_timeout.replace(time(value)?).is_none(),
                _ => false,
            };
            if !is_new {
                return Err(PARAMETER);
            }
        }
        let instances = instances.ok_or(INSTANCES)?;
        Ok(Self { url: format!("{scheme}:{location}"), instances, prefix, lease, decision_timeout })
    }
}

/// Omits the URL, which may contain a password.
impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAddress").field("instances", &self.instances).finish_non_exhaustive()
    }
}

/// Parses a duration, such as `500ms` or `10s`.
fn time(value: &str) -> Result<Duration, StoreError> {
    let (number, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(TIME),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or(TIME)
}

fn unescaped(path: &str) -> Result<String, StoreError> {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).ok_or(ESCAPE)?;
        let digits = std::str::from_utf8(digits).map_err(|_| ESCAPE)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| ESCAPE)?);
        rest = &after[2..];
    }
    let path = String::from_utf8(bytes).map_err(|_| ESCAPE)?;
    if path.contains('\0') { Err(ESCAPE) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_url_is_parsed() {
        let file = |path: &str| Address::File(path.into());
        for (url, address) in [
            ("memory:", Address::Memory),
            ("MEMORY://", Address::Memory),
            ("file:///var/lib/books", file("/var/lib/books")),
            ("file:/var/lib/books?", file("/var/lib/books")),
            ("file://localhost/a%20b%c3%a9", file("/a bé")),
        ] {
            assert_eq!(Address::read(url), Ok(address), "{url}");
        }
    }

    #[test]
    fn store_url_errors_hold_no_secret() {
        for (url, part) in [
            ("", "no scheme"),
            ("hunter2", "no scheme"),
            ("ann-hunter2:x", "no scheme"),
            ("postgres://ann:hunter2@host/x", "\"postgres\" is no scheme"),
            ("redis://ann:hunter2@host/0", "?instances="),
            ("redis://ann:hunter2@host?instances=0", "?instances="),
            ("redis://ann:hunter2@host?instances=many", "?instances="),
            ("rediss://ann:hunter2@host?instances=2&lease=hunter2", "500ms"),
            ("redis://ann:hunter2@host?instances=2&lease=0s", "500ms"),
            ("redis://ann:hunter2@host?instances=2&instances=2", "once"),
            ("redis://ann:hunter2@host?instances=2&hunter2=1", "none of instances"),
            ("redis://ann:hun?ter2@host", "password"),
            ("redis://ann:hun/ter2@host?instances=2", "password"),
            ("redis://ann:hunter2#@host?instances=2", "password"),
            ("redis:hunter2?instances=2", "no host"),
            ("redis://?instances=2", "no host"),
            ("file:books", "absolute"),
            ("file:localhost/x", "absolute"),
            ("file://ann:hunter2@books/x", "absolute"),
            ("file:///", "absolute"),
            ("file:///a%2", "escape"),
            ("file:///a%zz", "escape"),
            ("file:///a%+1", "escape"),
            ("file:///a%ff", "escape"),
            ("file:///a%00", "escape"),
            ("file:///a?evry=hunter2", "no parameters"),
            ("file:///a#hunter2", "no fragments"),
            ("memory:/x", "no path"),
        ] {
            let error = Address::read(url).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn redis_address_reads_its_parameters() {
        let read = |url: &str| match Address::read(url) {
            Ok(Address::Redis(address)) => address,
            other => panic!("{url}: {other:?}"),
        };
        let address =
            read("redis+cluster://:p%40w@a:7000,b:7001?instances=4&prefix=shop&lease=30s&decision_timeout=200ms");
        assert_eq!(address.url, "redis+cluster://:p%40w@a:7000,b:7001");
        assert_eq!((address.instances.get(), address.prefix.as_deref()), (4, Some("shop")));
        let times = (Duration::from_secs(30), Duration::from_millis(200));
        assert_eq!((address.lease, address.decision_timeout), (Some(times.0), Some(times.1)));
        assert!(!format!("{address:?}").contains("p%40w"));
        assert_eq!(read("REDIS://host/3?instances=1").url, "redis://host/3");
    }

    proptest::proptest! {
        #[test]
        fn store_url_never_panics(url in "(file:|memory:|redis:)?(//)?[/%?&=a-f0-9\\PC]{0,20}") {
            let _ = Address::read(&url);
        }

        #[test]
        fn store_url_escapes_every_path(path in "/[^\0]{1,20}") {
            let escaped: String = path.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let url = format!("file:///{}", escaped.strip_prefix("%2f").unwrap());
            proptest::prop_assert_eq!(Address::read(&url), Ok(Address::File(path.into())));
        }
    }
}
