//! Keys of entries and of running calls.
//!
//! A key is an envelope (version, namespace, tenant or scope, variant, operation) and the canonical bytes of the
//! request. A lookup uses the bytes in the buffer in which they were written, and copies them only if a call follows.

use std::{
    cell::Cell,
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    sync::{Arc, LazyLock},
};

use equivalent::Equivalent;
use foldhash::quality::RandomState;
use llm_core::{
    Call, Operation,
    layer::{Fingerprinter, SerializeError},
};
use serde::Serialize;

use crate::Directive;
#[cfg(feature = "at-rest")]
use crate::Partition;

/// Key of an entry: the namespace, the tenant, the operation and the request.
///
/// A key holds the canonical bytes of all of these (see [`Fingerprinter`]). Two keys are equal only if all their bytes
/// are equal, so that a hash collision never returns the entry of another request.
///
/// For a request longer than 4 KiB (a photo, a document) the key holds its 256-bit BLAKE3 digest under a random key of
/// the process, so that the memory of a key does not grow with its request. Namespace, tenant and operation are held in
/// full.
///
/// Cheap to clone. `Debug` shows a digest, never the request.
#[derive(Clone)]
pub struct Key {
    hash: u64,
    bytes: Arc<[u8]>,
}

/// Key whose bytes are borrowed, for example from a thread's buffer.
#[derive(Clone, Copy)]
pub(crate) struct BorrowedKey<'a> {
    hash: u64,
    bytes: &'a [u8],
}

/// Keys of one request: the key of its entry, and the key of its running call.
#[derive(Clone)]
pub(crate) struct CallKeys {
    pub(crate) entry: Key,
    pub(crate) single_flight: Key,
}

/// Prefix of a key: namespace and partition of a request, and the variant of its response.
#[derive(Clone, Copy)]
pub(crate) struct KeyPrefix<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) tenant: &'a str,
    /// Scope in which calls share the entry; `None` for an entry of the tenant alone.
    pub(crate) scope: Option<&'a str>,
    /// Number of the variant; 0 for the first or only one.
    pub(crate) variant: u32,
    /// Directive of a call that is pinned or excludes fallback models; `None` for any other call. This routing is part
    /// of the running call's key, and not of the entry's key.
    pub(crate) routing: Option<&'a Directive>,
}

/// Hasher of keys in tables, with a random seed for each process.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// Key of the digests of long requests. It is random in each process, so that no attacker can prepare two requests with
/// one digest.
static DIGEST_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| {
    let seeded = std::hash::RandomState::new();
    let words = [0_u8, 1, 2, 3].map(|word| seeded.hash_one(word).to_le_bytes());
    *blake3::hash(words.as_flattened()).as_bytes()
});

/// Length of the longest request that a key contains completely, in canonical bytes.
const LONGEST_WHOLE: usize = 4 * 1024;

/// Tags of a text and of a byte string in canonical bytes. A tag precedes its value.
const TEXT: u8 = 7;
const BYTES: u8 = 8;

/// First byte of a key that contains only the digest of its request. All other keys begin with the tag of an integer.
const DIGESTED: u8 = 254;

/// Version of the layout of keys. A program with another version finds no entry of this version.
const VERSION: u8 = 1;

impl Key {
    /// Creates the key of a serializable request, for [`Cache::get_or_call`](crate::Cache::get_or_call).
    ///
    /// `name` is the kind of request, and may include a version of the prompt. `request` must hold everything on which
    /// the response depends, the model too.
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
    /// # Ok::<_, llm_core::layer::SerializeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The error that the request's own `Serialize` reports.
    pub fn of(
        namespace: &str,
        tenant: &str,
        name: &str,
        request: &(impl Serialize + ?Sized),
    ) -> Result<Self, SerializeError> {
        let mut h = Fingerprinter::new();
        KeyPrefix { namespace, tenant, scope: None, variant: 0, routing: None }.write(&mut h, name);
        let envelope = h.as_bytes().len();
        h.serialize(request)?;
        Ok(BorrowedKey::new(&shortened(h, envelope)).to_key())
    }

    /// Creates the key under which a [`Cached`](crate::Cached) service in this namespace stores the response to an
    /// operation, for [`Cache::remove`](crate::Cache::remove). A response that is shared by scope has another key, and
    /// so does every variant but the first.
    ///
    /// ```
    /// use llm_cache::{Cache, Key};
    /// use llm_core::ChatRequest;
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").build()?;
    /// let request = ChatRequest::new("gpt-4o-mini").user("Are you open?");
    /// cache.remove(&Key::of_operation("support", "acme", &request)).await?;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn of_operation<T: Operation>(namespace: &str, tenant: &str, request: &T) -> Self {
        Self::with_borrowed(&KeyPrefix { namespace, tenant, scope: None, variant: 0, routing: None }, request, |key| {
            key.to_key()
        })
    }

    /// Returns the tenant of the request; empty for a shared entry.
    pub(crate) fn tenant(&self) -> &str {
        self.text_behind(TEXT).unwrap_or_default()
    }

    /// Returns the scope in which the entry is shared.
    pub(crate) fn scope(&self) -> Option<&str> {
        self.text_behind(BYTES)
    }

    /// Returns the partition of the entry.
    #[cfg(feature = "at-rest")]
    pub(crate) fn partition(&self) -> Partition {
        self.scope().map_or_else(|| Partition::tenant(self.tenant()), Partition::scope)
    }

    /// Returns the text after the namespace in the envelope (the tenant or the scope), if that text has this tag.
    fn text_behind(&self, tag: u8) -> Option<&str> {
        // The envelope is a tag and 16 bytes of version, then the namespace and the tenant or scope, each after a tag
        // and 8 bytes of length.
        let after_text = |bytes: &[u8]| -> Option<usize> {
            let length: [u8; 8] = bytes.get(1..9)?.try_into().ok()?;
            usize::try_from(u64::from_le_bytes(length)).ok()?.checked_add(9)
        };
        let rest = self.bytes.get(17..)?;
        let rest = rest.get(after_text(rest)?..)?;
        let text = rest.get(9..after_text(rest)?)?;
        (rest[0] == tag).then(|| std::str::from_utf8(text).ok()).flatten()
    }

    /// Returns the key's bytes. For a request longer than 4 KiB, they are different in each process.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the BLAKE3 digest of all canonical bytes, which is the same in every process.
    #[cfg(feature = "at-rest")]
    pub(crate) fn digest(&self) -> [u8; 32] {
        match self.bytes.last_chunk().filter(|_| self.bytes[0] == DIGESTED) {
            Some(digest) => *digest,
            None => *blake3::hash(&self.bytes).as_bytes(),
        }
    }

    /// Calls `use_it` with the key of a request. The key is written into a buffer of the thread, so that usually
    /// nothing is allocated.
    pub(crate) fn with_borrowed<T: Operation, R>(
        prefix: &KeyPrefix<'_>,
        request: &T,
        use_it: impl FnOnce(BorrowedKey<'_>) -> R,
    ) -> R {
        Self::with_envelope(|h| prefix.write(h, T::NAME), request, use_it)
    }

    fn with_envelope<T: Operation, R>(
        envelope: impl FnOnce(&mut Fingerprinter),
        request: &T,
        use_it: impl FnOnce(BorrowedKey<'_>) -> R,
    ) -> R {
        thread_local! {
            static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        // The thread's buffer is taken out meanwhile, so that a key which is computed during the request's fingerprint
        // allocates a buffer of its own.
        let mut h = Fingerprinter::with_buffer(BUFFER.take());
        envelope(&mut h);
        let length = h.as_bytes().len();
        request.fingerprint(&mut h);
        let mut buffer = shortened(h, length);
        let result = use_it(BorrowedKey::new(&buffer));
        buffer.clear();
        buffer.shrink_to(LARGEST_BUFFER);
        BUFFER.set(buffer);
        result
    }
}

/// Returns the bytes of a key: the canonical bytes, or for a long request the envelope, which is their first `envelope`
/// bytes, and digests of all of them.
fn shortened(h: Fingerprinter, envelope: usize) -> Vec<u8> {
    let mut bytes = h.into_bytes();
    if bytes.len() - envelope <= LONGEST_WHOLE {
        return bytes;
    }
    let in_process = blake3::keyed_hash(&DIGEST_KEY, &bytes);
    // The digest for names outside the process, which is the same in every process.
    #[cfg(feature = "at-rest")]
    let at_rest = blake3::hash(&bytes);
    bytes.truncate(envelope);
    bytes[0] = DIGESTED;
    bytes.extend_from_slice(in_process.as_bytes());
    #[cfg(feature = "at-rest")]
    bytes.extend_from_slice(at_rest.as_bytes());
    bytes
}

/// Largest buffer that a thread keeps for its next key, in bytes. A larger one, for a request with images, is shrunk to
/// this size.
const LARGEST_BUFFER: usize = 64 * 1024;

impl<'a> KeyPrefix<'a> {
    /// Returns the prefix of the key of a call's first or only response.
    pub(crate) fn of<T>(namespace: &'a str, call: &'a Call<T>, directive: &'a Directive) -> Self {
        let routing = (directive.no_fallback || directive.pinned.is_some()).then_some(directive);
        Self { namespace, tenant: &call.tenant, scope: directive.shared.as_deref(), variant: 0, routing }
    }

    /// Returns the keys of a request, given the key of its entry. A shared entry has one key for all tenants, but its
    /// running calls have one for each tenant.
    pub(crate) fn keys<T: Operation>(&self, request: &T, entry: Key) -> CallKeys {
        let single_flight = match (self.scope, self.routing) {
            (None, None) => entry.clone(),
            _ => Key::with_envelope(|h| self.write_single_flight(h, T::NAME), request, |key| key.to_key()),
        };
        CallKeys { entry, single_flight }
    }

    /// Returns the keys of a request.
    pub(crate) fn keys_of<T: Operation>(&self, request: &T) -> CallKeys {
        self.keys(request, Key::with_borrowed(self, request, |key| key.to_key()))
    }

    fn write(&self, h: &mut Fingerprinter, name: &str) {
        h.integer(VERSION).text(self.namespace);
        match self.scope {
            None => h.text(self.tenant),
            Some(scope) => h.bytes(scope.as_bytes()),
        };
        self.write_name(h, name);
    }

    fn write_single_flight(&self, h: &mut Fingerprinter, name: &str) {
        h.integer(VERSION).text(self.namespace).bytes(self.scope.unwrap_or_default().as_bytes()).text(self.tenant);
        if let Some(Directive { no_fallback, pinned, .. }) = self.routing {
            h.boolean(*no_fallback).option(pinned.as_ref(), |h, pinned| h.text(pinned.group()));
        }
        self.write_name(h, name);
    }

    /// Writes the variant and the operation's name. The key of the first variant is that of a request with one
    /// response.
    fn write_name(&self, h: &mut Fingerprinter, name: &str) {
        if self.variant > 0 {
            h.integer(self.variant);
        }
        h.text(name);
    }
}

impl<'a> BorrowedKey<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { hash: HASHER.hash_one(bytes), bytes }
    }

    /// Returns the hash of the key's bytes, with the seed of this process.
    pub(crate) fn hash(self) -> u64 {
        self.hash
    }

    /// Copies the bytes to a key that owns them.
    pub(crate) fn to_key(self) -> Key {
        Key { hash: self.hash, bytes: self.bytes.into() }
    }
}

impl Key {
    pub(crate) fn borrowed(&self) -> BorrowedKey<'_> {
        BorrowedKey { hash: self.hash, bytes: &self.bytes }
    }

    /// Returns the same key with another hash, so that tests can make hashes collide.
    #[cfg(test)]
    pub(crate) fn with_hash(self, hash: u64) -> Self {
        Self { hash, ..self }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        // Keys that share their bytes are equal, so the bytes need not be compared.
        Arc::ptr_eq(&self.bytes, &other.bytes) || self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for BorrowedKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for BorrowedKey<'_> {
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
    fn key_returns_its_tenant() {
        for (namespace, tenant) in [("ns", "acme"), ("", ""), ("a longer namespace", "Ω")] {
            let key = Key::of(namespace, tenant, "n", "q").unwrap();
            assert_eq!((key.tenant(), key.scope()), (tenant, None));
        }
    }

    /// Other processes would not find an entry whose digest depends on the random key of this process.
    #[cfg(feature = "at-rest")]
    #[test]
    fn key_digest_at_rest_covers_all_bytes() {
        for length in [0, 1, LONGEST_WHOLE - 9, LONGEST_WHOLE - 8, 10 * LONGEST_WHOLE] {
            let text = "x".repeat(length);
            let key = Key::of("ns", "acme", "op", &text).unwrap();
            let mut h = Fingerprinter::new();
            h.integer(VERSION).text("ns").text("acme").text("op").text(&text);
            assert_eq!(key.digest(), h.digest(), "{length} bytes");
            assert_eq!(key.as_bytes() == h.as_bytes(), length + 9 <= LONGEST_WHOLE, "{length} bytes");
            assert_eq!(key.tenant(), "acme");
        }
    }

    #[test]
    fn key_of_shared_entry_returns_scope() {
        let request = llm_core::ChatRequest::new("m").user("x");
        let of = |tenant, scope, variant| {
            let prefix = KeyPrefix { namespace: "ns", tenant, scope, variant, routing: None };
            prefix.keys_of(&request)
        };
        let (a, b, own) = (of("a", Some("s"), 0), of("b", Some("s"), 0), of("s", None, 0));
        assert_eq!((a.entry.tenant(), a.entry.scope()), ("", Some("s")));
        assert!(a.entry == b.entry && a.entry != own.entry && a.entry != of("a", Some("t"), 0).entry);
        assert!(a.single_flight != b.single_flight && a.single_flight != of("a", None, 0).single_flight);
        assert!(own.entry == own.single_flight && own.entry != of("s", None, 1).entry);
        assert!(of("a", Some("s"), 1).entry != a.entry && of("a", Some("s"), 1).single_flight != a.single_flight);
    }
}
