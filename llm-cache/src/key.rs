use std::{
    cell::Cell,
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    sync::{Arc, LazyLock},
};

use equivalent::Equivalent;
use foldhash::quality::RandomState;
use llm_core::{Fingerprinter, Operation, SerializeError};
use serde::Serialize;

/// What an answer is stored under: the namespace, the tenant, the operation and the question, whole.
///
/// It holds the canonical bytes of these (see [`Fingerprinter`]), not a digest of them, and two keys are equal only if
/// all their bytes are: no collision can hand one tenant another's answer, whatever the hash of the table does. Cheap to
/// clone. `Debug` shows a digest, never the question.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    hash: u64,
    bytes: Arc<[u8]>,
}

/// A key that is lent: bytes that lie somewhere else.
#[derive(Clone, Copy)]
pub(crate) struct Lent<'a> {
    hash: u64,
    bytes: &'a [u8],
}

/// Keyed at random for each process. It finds a key's place in a table; what is found there is compared whole.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// Counts up when the meaning of the bytes changes, so that no version reads another's entries.
const VERSION: u8 = 1;

impl Key {
    /// The key of a question of any serializable type, for clients other than ours.
    ///
    /// `name` says what kind of question it is (and which version of the prompt); `question` must hold everything that
    /// decides the answer, the model too.
    ///
    /// ```
    /// use llm_cache::Key;
    /// use serde_json::json;
    ///
    /// let a = Key::of("my-service", "acme", "score", &json!({"model": "gpt-4o-mini", "photo": 7}))?;
    /// let b = Key::of("my-service", "acme", "score", &json!({"photo": 7, "model": "gpt-4o-mini"}))?;
    /// let other_tenant = Key::of("my-service", "umbrella", "score", &json!({"model": "gpt-4o-mini", "photo": 7}))?;
    /// assert_eq!(a, b);
    /// assert_ne!(a, other_tenant);
    /// # Ok::<_, llm_core::SerializeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the question's own `Serialize` reports.
    pub fn of(
        namespace: &str,
        tenant: &str,
        name: &str,
        question: &(impl Serialize + ?Sized),
    ) -> Result<Self, SerializeError> {
        let mut h = Fingerprinter::new();
        envelope(&mut h, namespace, tenant, name);
        h.serialize(question)?;
        Ok(Lent::new(h.as_bytes()).to_key())
    }

    /// The tenant whose question it is.
    pub(crate) fn tenant(&self) -> &str {
        // The envelope: a tag byte and 16 bytes of version, then namespace and tenant, each behind a tag byte and 8 bytes
        // of length.
        let after_text = |bytes: &[u8]| -> Option<usize> {
            let length: [u8; 8] = bytes.get(1..9)?.try_into().ok()?;
            usize::try_from(u64::from_le_bytes(length)).ok()?.checked_add(9)
        };
        let tenant = || {
            let rest = self.bytes.get(17..)?;
            let rest = rest.get(after_text(rest)?..)?;
            std::str::from_utf8(rest.get(9..after_text(rest)?)?).ok()
        };
        tenant().unwrap_or_default()
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key of an operation, lent to `use_it` without an allocation of its own.
    pub(crate) fn lend<T: Operation, R>(
        namespace: &str,
        tenant: &str,
        question: &T,
        use_it: impl FnOnce(Lent<'_>) -> R,
    ) -> R {
        thread_local! {
            static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        // A question written inside another one's finds no buffer and makes one.
        let mut h = Fingerprinter::with_buffer(BUFFER.take());
        envelope(&mut h, namespace, tenant, T::NAME);
        question.fingerprint(&mut h);
        let result = use_it(Lent::new(h.as_bytes()));
        let mut buffer = h.into_bytes();
        buffer.clear();
        buffer.shrink_to(LARGEST_BUFFER);
        BUFFER.set(buffer);
        result
    }
}

/// What a thread keeps for its next key, in bytes; longer questions (images) give their memory back.
const LARGEST_BUFFER: usize = 64 * 1024;

fn envelope(h: &mut Fingerprinter, namespace: &str, tenant: &str, name: &str) {
    h.integer(VERSION).text(namespace).text(tenant).text(name);
}

impl<'a> Lent<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { hash: HASHER.hash_one(bytes), bytes }
    }

    /// A key of its own.
    pub(crate) fn to_key(self) -> Key {
        Key { hash: self.hash, bytes: self.bytes.into() }
    }
}

impl Key {
    pub(crate) fn lent(&self) -> Lent<'_> {
        Lent { hash: self.hash, bytes: &self.bytes }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Lent<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for Lent<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.hash == key.hash && *self.bytes == *key.bytes
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = blake3::hash(&self.bytes);
        write!(f, "Key({})", &digest.to_hex()[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_knows_its_tenant() {
        for (namespace, tenant) in [("ns", "acme"), ("", ""), ("a longer namespace", "Ω")] {
            assert_eq!(Key::of(namespace, tenant, "n", "q").unwrap().tenant(), tenant);
        }
    }
}
