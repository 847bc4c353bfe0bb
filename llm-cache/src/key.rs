use std::{borrow::Borrow, cell::Cell, fmt, sync::Arc};

use llm_core::{Fingerprinter, Operation, SerializeError};
use serde::Serialize;

/// What an answer is stored under: the namespace, the tenant, the operation and the question, whole.
///
/// It holds the canonical bytes of these (see [`Fingerprinter`]), not a digest of them, and two keys are equal only if
/// all their bytes are: no collision can hand one tenant another's answer, whatever the hash of the table does. Cheap to
/// clone. `Debug` shows a digest, never the question.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<[u8]>);

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
        Ok(Self(h.into_bytes().into()))
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key of its own from bytes that were lent.
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The key of an operation, lent to `use_it` without an allocation of its own.
    pub(crate) fn lend<T: Operation, R>(
        namespace: &str,
        tenant: &str,
        question: &T,
        use_it: impl FnOnce(&[u8]) -> R,
    ) -> R {
        thread_local! {
            static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        // A question written inside another one's finds no buffer and makes one.
        let mut h = Fingerprinter::with_buffer(BUFFER.take());
        envelope(&mut h, namespace, tenant, T::NAME);
        question.fingerprint(&mut h);
        let result = use_it(h.as_bytes());
        let mut buffer = h.into_bytes();
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

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = blake3::hash(&self.0);
        write!(f, "Key({})", &digest.to_hex()[..16])
    }
}
