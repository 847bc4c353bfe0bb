//! Parameters of a store, from its URL or from the application. One table lists them all.

use std::time::Duration;

use super::url_error::UrlError;
use crate::EvictionPolicy;

/// Type of a parameter's value, which can be parsed from a URL and written to it.
trait Parameter: Sized {
    /// Parses the text of the parameter `name`. The error names the parameter and shows allowed values, but never the
    /// text itself.
    fn parse(name: &str, text: &str) -> Result<Self, UrlError>;

    /// Returns the text that parses back as this value.
    fn text(&self) -> String;
}

macro_rules! parameters {
    ($($(#[$doc:meta])+ $name:ident: $type:ty,)+) => {
        /// Parameters of a store. Each is `None` if it is not set.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Parameters {
            $($(#[$doc])+ pub(crate) $name: Option<$type>,)+
        }

        impl Parameters {
            /// Parses a text as the parameter of this name, and sets the parameter. A name that is not a parameter has
            /// no effect.
            pub(crate) fn set(&mut self, name: &str, text: &str) -> Result<(), UrlError> {
                match name {
                    $(stringify!($name) => self.$name = Some(Parameter::parse(name, text)?),)+
                    _ => {}
                }
                Ok(())
            }

            /// Returns the names and texts of the parameters that are set.
            pub(crate) fn texts(&self) -> impl Iterator<Item = (&'static str, String)> {
                [$((stringify!($name), self.$name.as_ref().map(Parameter::text)),)+]
                    .into_iter()
                    .filter_map(|(name, text)| Some((name, text?)))
            }

            /// Returns these parameters. A parameter that is not set here is taken from `other`.
            #[cfg(feature = "redis")]
            pub(crate) fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }
        }
    };
}

parameters! {
    /// Capacity of the store itself, in bytes.
    max_bytes: u64,
    /// Capacity of the local tier in front of a file or Redis, in bytes.
    memory: u64,
    /// Longest time that the local tier keeps an entry.
    memory_ttl: Duration,
    /// Eviction policy of a store in memory or of a local tier.
    policy: EvictionPolicy,
    /// Prefix of all keys in Redis.
    prefix: String,
    /// Longest time that a lookup waits for Redis.
    redis_timeout: Duration,
    /// Longest time that a call waits for the reply to the claim of its lease.
    claim_timeout: Duration,
    /// Time to live of a lease that is not renewed.
    lease: Duration,
    /// Longest time until an invalidation takes effect in every process.
    invalidation_bound: Duration,
}

/// Parses a number of bytes: an integer, with or without a unit.
impl Parameter for u64 {
    fn parse(name: &str, text: &str) -> Result<Self, UrlError> {
        let units = [("", 1), ("b", 1), ("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30), ("tb", 1 << 40)];
        measure(text, &units)
            .ok_or_else(|| UrlError::new(format!("`{name}` is no number of bytes, such as `500000`, `64mb` or `2gb`")))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Parses a duration above zero: an integer with a unit.
impl Parameter for Duration {
    fn parse(name: &str, text: &str) -> Result<Self, UrlError> {
        let units = [("s", 1_000), ("ms", 1), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let millis = measure(text, &units).filter(|millis| *millis > 0).ok_or_else(|| {
            UrlError::new(format!("`{name}` is no time, such as `500ms`, `30s`, `5m`, `12h` or `7d`"))
        })?;
        Ok(Self::from_millis(millis))
    }

    fn text(&self) -> String {
        format!("{}ms", self.as_millis())
    }
}

impl Parameter for EvictionPolicy {
    fn parse(name: &str, text: &str) -> Result<Self, UrlError> {
        match text {
            "lru" => Ok(Self::Lru),
            "tinylfu" => Ok(Self::TinyLfu),
            _ => Err(UrlError::new(format!("`{name}` is neither `lru` nor `tinylfu`"))),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Lru => "lru".to_owned(),
            Self::TinyLfu => "tinylfu".to_owned(),
        }
    }
}

/// Parses the prefix of keys in Redis: letters, digits, `-`, `_` and `.`.
impl Parameter for String {
    fn parse(name: &str, text: &str) -> Result<Self, UrlError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        match !text.is_empty() && text.bytes().all(is_plain) {
            true => Ok(text.to_owned()),
            false => Err(UrlError::new(format!("`{name}` is made of letters, digits, `-`, `_` and `.`"))),
        }
    }

    fn text(&self) -> String {
        self.clone()
    }
}

/// Parses an integer with a unit, and returns it multiplied by the unit's factor in `units`.
fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let (_, factor) = units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}
