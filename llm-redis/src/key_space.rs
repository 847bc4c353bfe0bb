//! Names of keys and channels.

use std::{fmt, sync::Arc};

use crate::{Error, ErrorKind};

/// Version of the key layout. It is part of every key, so that keys of different layouts never collide.
const LAYOUT: &str = "v1";
const DEFAULT_PREFIX: &str = "llm";
/// Context string by which BLAKE3 derives the hash key from the secret.
const CONTEXT: &str = "llm-redis 2026-11 names of keys";
/// Number of slots in a Cluster.
const SLOTS: u16 = 16_384;

/// Names of keys and channels, returned by [`Redis::key_space`](crate::Redis::key_space).
///
/// A name has the form `{prefix}:v1:{<hash tag>}:<name>`. Text of users or tenants is never part of a name, because
/// [`hashed_tag`](Self::hashed_tag) and [`HashTag::hashed_key`] hash such text with a secret. All processes of a fleet
/// need the same prefix and secret.
///
/// # Example
///
/// ```
/// use llm_redis::Redis;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// let redis = Redis::builder("redis://127.0.0.1").prefix("shop").spawn()?;
/// let key = redis.key_space().tag("settings").key("theme");
/// assert_eq!(key.as_str(), "shop:v1:{settings}:theme");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeySpace {
    prefix: Arc<str>,
    key: [u8; 32],
}

/// Hash tag. Keys with the same hash tag are in the same slot of a Cluster, so that one script may use them together.
///
/// # Example
///
/// ```
/// use llm_redis::{Redis, Script};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// let redis = Redis::builder("redis://127.0.0.1").spawn()?;
/// let budget = redis.key_space().tag("budget");
/// let (spent, updated_at) = (budget.key("spent"), budget.key("updated_at"));
/// let call = Script::new("return redis.call('MGET', KEYS[1], KEYS[2])").with_keys(&[&spent, &updated_at]);
/// # let _ = call;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HashTag {
    /// Beginning of a key, which ends with the colon before the key's own name.
    start: Box<str>,
    key: [u8; 32],
    slot: u16,
}

/// Name of a key or a channel.
///
/// # Example
///
/// ```
/// use llm_redis::Redis;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// let redis = Redis::builder("redis://127.0.0.1").spawn()?;
/// let tag = redis.key_space().tag("orders");
/// assert_eq!(tag.key("count"), tag.key("count"));
/// assert_eq!(tag.key("count").as_str(), "llm:v1:{orders}:count");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    name: Arc<str>,
    slot: u16,
}

impl KeySpace {
    /// Returns a hash tag with a fixed text.
    ///
    /// # Panics
    ///
    /// If the tag is empty or holds anything but letters, digits, `-`, `_` and `.`.
    pub fn tag(&self, tag: &'static str) -> HashTag {
        assert!(is_plain(tag), "a hash tag may hold letters, digits, `-`, `_` and `.`");
        self.tagged(tag)
    }

    /// Returns a hash tag that is a keyed hash of `parts`.
    ///
    /// The hash covers the boundaries of the parts, so `["ab", "c"]` and `["a", "bc"]` differ.
    ///
    /// ```
    /// use llm_redis::Redis;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), llm_redis::Error> {
    /// let redis = Redis::builder("redis://127.0.0.1").hash_secret("the fleet's secret").spawn()?;
    /// let key = redis.key_space().hashed_tag(&[b"tenant", b"acme"]).key("spent");
    /// assert!(!key.as_str().contains("acme"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn hashed_tag(&self, parts: &[&[u8]]) -> HashTag {
        self.tagged(&digest(&self.key, parts).to_hex()[..DIGEST_DIGITS])
    }

    /// Returns the prefix of all names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn new(prefix: Option<&str>, secret: Option<&[u8]>) -> Result<Self, Error> {
        let prefix = prefix.unwrap_or(DEFAULT_PREFIX);
        if !is_plain(prefix) {
            let message = "the prefix must not be empty and may hold letters, digits, `-`, `_` and `.`";
            return Err(Error::new(ErrorKind::InvalidSetting, message));
        }
        let key = blake3::derive_key(CONTEXT, secret.unwrap_or(prefix.as_bytes()));
        Ok(Self { prefix: prefix.into(), key })
    }

    /// Returns a key in a slot, for a probe of the node that serves the slot. The hash tag is the smallest number that
    /// belongs to the slot.
    pub(crate) fn probe_key(&self, slot: u16) -> Key {
        let tag = (0u32..).map(|n| n.to_string()).find(|tag| crc16(tag.as_bytes()) % SLOTS == slot);
        self.tagged(&tag.expect("every slot has a number")).named("probe")
    }

    /// Returns a pattern for `SCAN` that matches all keys with the name `name`, under all hash tags.
    pub(crate) fn pattern(&self, name: &'static str) -> String {
        format!("{}:{LAYOUT}:{{*}}:{name}", self.prefix)
    }

    /// Parses a key that the server returned; `None` if it does not belong to this key space.
    pub(crate) fn parse(&self, name: &str) -> Option<Key> {
        let rest = name.strip_prefix(&*self.prefix)?.strip_prefix(':')?.strip_prefix(LAYOUT)?.strip_prefix(":{")?;
        let (tag, _) = rest.split_once("}:")?;
        Some(Key { name: name.into(), slot: crc16(tag.as_bytes()) % SLOTS })
    }

    fn tagged(&self, tag: &str) -> HashTag {
        let start = [&*self.prefix, ":", LAYOUT, ":{", tag, "}:"].concat().into();
        HashTag { start, key: self.key, slot: crc16(tag.as_bytes()) % SLOTS }
    }
}

impl HashTag {
    /// Returns a key with a fixed name.
    pub fn key(&self, name: &'static str) -> Key {
        self.named(name)
    }

    /// Returns a key whose name ends with a keyed hash of `parts`.
    ///
    /// ```
    /// use llm_redis::Redis;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), llm_redis::Error> {
    /// let redis = Redis::builder("redis://127.0.0.1").spawn()?;
    /// let orders = redis.key_space().tag("orders");
    /// let (first, second) = (orders.hashed_key("lease", &[b"7"]), orders.hashed_key("lease", &[b"8"]));
    /// assert!(first != second && first.as_str().starts_with("llm:v1:{orders}:lease:"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn hashed_key(&self, name: &'static str, parts: &[&[u8]]) -> Key {
        self.named(&format!("{name}:{}", &digest(&self.key, parts).to_hex()[..DIGEST_DIGITS]))
    }

    fn named(&self, name: &str) -> Key {
        Key { name: [&*self.start, name].concat().into(), slot: self.slot }
    }
}

impl Key {
    /// Returns the complete name of the key, including prefix and hash tag.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns the complete name of the key without copying it.
    pub(crate) fn to_arc(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Returns the slot of the key in a Cluster, from 0 to 16,383.
    pub(crate) fn slot(&self) -> u16 {
        self.slot
    }
}

impl fmt::Debug for KeySpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySpace({})", self.prefix)
    }
}

impl fmt::Debug for HashTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashTag({}…)", self.start)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Number of hexadecimal digits of a digest in a name: 128 bits.
const DIGEST_DIGITS: usize = 32;

/// Returns a keyed hash of `parts`, which covers the boundaries of the parts too.
fn digest(key: &[u8; 32], parts: &[&[u8]]) -> blake3::Hash {
    // The parts are hashed in one piece, because an incremental hasher copies them in blocks.
    let mut text = Vec::with_capacity(parts.iter().map(|part| size_of::<u64>() + part.len()).sum());
    for part in parts {
        text.extend((part.len() as u64).to_le_bytes());
        text.extend(*part);
    }
    blake3::keyed_hash(key, &text)
}

/// Returns the CRC-16/XMODEM of `bytes`, by which a Cluster assigns keys to slots.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ CRC[usize::from((crc >> 8) as u8 ^ byte)])
}

/// Table of CRC-16 remainders by byte.
const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn key_space() -> KeySpace {
        KeySpace::new(None, None).unwrap()
    }

    #[test]
    fn key_holds_prefix_version_and_tag() {
        let tag = KeySpace::new(Some("shop"), None).unwrap().tag("books");
        assert_eq!(tag.key("spent").as_str(), "shop:v1:{books}:spent");
    }

    #[test]
    fn key_slot_matches_specification() {
        // The first value is the check value of the CRC's specification. The other values were confirmed by `CLUSTER
        // KEYSLOT` of a server.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(key_space().tag("foo").key("x").slot(), 12_182);
        assert_eq!(key_space().tag("user1000").key("x").slot(), 3_443);
    }

    #[test]
    fn probe_key_exists_for_every_slot() {
        for slot in [0, 1_024, 15_360, 16_383] {
            assert_eq!(key_space().probe_key(slot).slot(), slot);
        }
    }

    #[test]
    fn hashed_tag_hides_and_separates_parts() {
        let key_space = key_space();
        let key = |parts: &[&[u8]]| key_space.hashed_tag(parts).key("entry").as_str().to_owned();
        assert!(!key(&[b"acme"]).contains("acme"));
        assert_eq!(key(&[b"ab", b"c"]), key(&[b"ab", b"c"]));
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }

    #[test]
    fn key_round_trips_through_parse() {
        let key = key_space().hashed_tag(&[b"acme"]).key("entry");
        assert_eq!(key_space().parse(key.as_str()), Some(key));
        for other in ["llm:v1:entry", "llm:v2:{a}:entry", "shop:v1:{a}:entry", "llm:v1:{a"] {
            assert_eq!(key_space().parse(other), None, "{other}");
        }
    }

    #[test]
    fn hash_secret_changes_hashed_tags() {
        let name = |secret: &[u8]| KeySpace::new(None, Some(secret)).unwrap().hashed_tag(&[b"acme"]).key("x");
        assert_ne!(name(b"one"), name(b"two"));
    }

    #[test]
    fn prefix_with_special_characters_is_refused() {
        for prefix in ["", "a{b", "a:b", "a b", "ä"] {
            assert_eq!(KeySpace::new(Some(prefix), None).unwrap_err().kind(), ErrorKind::InvalidSetting, "{prefix}");
        }
    }
}
