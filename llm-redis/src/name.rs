//! KeySpace of keys and channels.

use std::{fmt, sync::Arc};

use crate::{Error, ErrorKind};

/// The version of the layout under a prefix; another layout takes another one, and never meets this one's keys.
const LAYOUT: &str = "v1";
const DEFAULT_PREFIX: &str = "llm";
const CONTEXT: &str = "llm-redis 2026-11 names of keys";
/// Slots of a Cluster.
const SLOTS: u16 = 16_384;

/// Makes the names of keys: `{prefix}:v1:{<hash tag>}:<name>`.
///
/// What a user or a tenant wrote is never in a name: it goes in through [`KeySpace::hashed_tag`], by a hash that needs this
/// space's key. All processes of a fleet need the same prefix and secret.
#[derive(Clone)]
pub struct KeySpace {
    prefix: Arc<str>,
    key: [u8; 32],
}

/// The keys of one hash tag. They live in one slot of a Cluster, so one script may use them together.
#[derive(Clone)]
pub struct HashTag {
    /// With the colon before a name.
    start: Arc<str>,
    key: [u8; 32],
    slot: u16,
}

/// The name of a key, or of a channel.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    name: Arc<str>,
    slot: u16,
}

impl KeySpace {
    /// A place with a fixed hash tag.
    ///
    /// # Panics
    ///
    /// If the tag is empty or holds anything but letters, digits, `-`, `_` and `.`.
    pub fn tag(&self, tag: &'static str) -> HashTag {
        assert!(is_plain(tag), "a hash tag is made of letters, digits, `-`, `_` and `.`");
        self.tagged(tag)
    }

    /// A place whose hash tag is a keyed hash of these parts. Parts are told apart: `["ab", "c"]` is not `["a", "bc"]`.
    pub fn hashed_tag(&self, parts: &[&[u8]]) -> HashTag {
        self.tagged(&digest(&self.key, parts))
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn new(prefix: Option<&str>, secret: Option<&[u8]>) -> Result<Self, Error> {
        let prefix = prefix.unwrap_or(DEFAULT_PREFIX);
        if !is_plain(prefix) {
            let message = "the prefix of keys is made of letters, digits, `-`, `_` and `.`";
            return Err(Error::new(ErrorKind::InvalidSetting, message));
        }
        let key = blake3::derive_key(CONTEXT, secret.unwrap_or(prefix.as_bytes()));
        Ok(Self { prefix: prefix.into(), key })
    }

    /// A key in a slot, to ask for the node that serves it. It tries tags until one fits.
    pub(crate) fn in_slot(&self, slot: u16) -> Key {
        let place = (0u32..).map(|n| self.tagged(&n.to_string())).find(|place| place.slot == slot);
        place.expect("some number has every slot").named("probe")
    }

    /// What all keys of one name look like to the server.
    pub(crate) fn pattern(&self, name: &'static str) -> String {
        format!("{}:{LAYOUT}:{{*}}:{name}", self.prefix)
    }

    /// A key that the server named; `None` if it is none of these names.
    pub(crate) fn read(&self, name: &str) -> Option<Key> {
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
    /// A key with a fixed name.
    pub fn key(&self, name: &'static str) -> Key {
        self.named(name)
    }

    /// A key whose name ends with a keyed hash of these parts.
    pub fn hashed_key(&self, name: &'static str, parts: &[&[u8]]) -> Key {
        self.named(&format!("{name}:{}", digest(&self.key, parts)))
    }

    fn named(&self, name: &str) -> Key {
        Key { name: [&*self.start, name].concat().into(), slot: self.slot }
    }
}

impl Key {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Its slot in a Cluster, below 16,384.
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

/// 128 bits in hexadecimal.
fn digest(key: &[u8; 32], parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let digest = hasher.finalize().to_hex();
    digest[..32].to_owned()
}

/// CRC-16/XMODEM, by which Cluster assigns slots.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ CRC[usize::from((crc >> 8) as u8 ^ byte)])
}

/// What each byte does to a CRC.
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
    fn names_have_prefix_version_and_hash_tag() {
        let place = KeySpace::new(Some("shop"), None).unwrap().tag("books");
        assert_eq!(place.key("spent").as_str(), "shop:v1:{books}:spent");
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        // The specification's own example, and two that any server's `CLUSTER KEYSLOT` confirms.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(key_space().tag("foo").key("x").slot(), 12_182);
        assert_eq!(key_space().tag("user1000").key("x").slot(), 3_443);
    }

    #[test]
    fn every_slot_has_a_key_to_ask_for() {
        for slot in [0, 1_024, 15_360, 16_383] {
            assert_eq!(key_space().in_slot(slot).slot(), slot);
        }
    }

    #[test]
    fn hashed_names_show_nothing_and_tell_parts_apart() {
        let names = key_space();
        let key = |parts: &[&[u8]]| names.hashed_tag(parts).key("entry").as_str().to_owned();
        assert!(!key(&[b"acme"]).contains("acme"));
        assert_eq!(key(&[b"ab", b"c"]), key(&[b"ab", b"c"]));
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }

    #[test]
    fn a_key_that_was_named_reads_back() {
        let key = key_space().hashed_tag(&[b"acme"]).key("entry");
        assert_eq!(key_space().read(key.as_str()), Some(key));
        for other in ["llm:v1:entry", "llm:v2:{a}:entry", "shop:v1:{a}:entry", "llm:v1:{a"] {
            assert_eq!(key_space().read(other), None, "{other}");
        }
    }

    #[test]
    fn another_secret_makes_other_names() {
        let name = |secret: &[u8]| KeySpace::new(None, Some(secret)).unwrap().hashed_tag(&[b"acme"]).key("x");
        assert_ne!(name(b"one"), name(b"two"));
    }

    #[test]
    fn a_prefix_with_braces_is_refused() {
        for prefix in ["", "a{b", "a:b", "a b", "ä"] {
            assert_eq!(KeySpace::new(Some(prefix), None).unwrap_err().kind(), ErrorKind::InvalidSetting, "{prefix}");
        }
    }
}
