use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use zeroize::Zeroizing;

use crate::Partition;

/// 32 secret bytes: a key. They are wiped from memory when the last copy goes, and `Debug` does not show them.
///
/// They must come of a good source of randomness or a key management service; a password is none.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

/// The keys under which answers are sealed at rest, one for each tenant and each scope in which answers are shared.
///
/// Whoever has no key has nothing stored outside the process, and nothing of his is read. So a key that is dropped erases
/// all that was sealed with it, wherever copies of it lie. Answers in memory stay until they are dropped there:
/// see [`Cache::forget`](crate::Cache::forget).
pub trait EncryptionKeys: fmt::Debug + Send + Sync + 'static {
    /// The key of a tenant or a scope. It is asked whenever an answer is stored, written or read, on threads that run
    /// other calls too, so whoever fetches keys from elsewhere must remember them.
    fn key(&self, partition: &Partition) -> Option<Secret>;
}

/// [`EncryptionKeys`] in memory. Clones share them.
///
/// ```
/// use llm_cache::{KeyRing, EncryptionKeys, Partition, Secret};
///
/// let keys = KeyRing::new();
/// let acme = Partition::tenant("acme");
/// keys.insert(acme.clone(), Secret::new([7; 32]));
/// assert!(keys.key(&acme).is_some() && keys.key(&Partition::scope("acme")).is_none());
/// keys.remove(&acme);
/// assert!(keys.key(&acme).is_none());
/// ```
#[derive(Clone, Default)]
pub struct KeyRing(Arc<RwLock<HashMap<Partition, Secret>>>);

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A secret of 64 hexadecimal digits.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let bytes = Zeroizing::new(blake3::Hash::from_hex(digits).ok()?.into());
        Some(Self(bytes))
    }

    /// The bytes.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Another secret, for one purpose.
    pub(crate) fn derive(&self, purpose: &str) -> Self {
        Self::new(blake3::derive_key(purpose, &*self.0))
    }
}

impl KeyRing {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key, or replaces it: what was sealed with the one before can then not be read.
    pub fn insert(&self, partition: Partition, key: Secret) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(partition, key);
    }

    /// Drops a key, and with it all that was sealed with it.
    pub fn remove(&self, partition: &Partition) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(partition);
    }
}

impl EncryptionKeys for KeyRing {
    fn key(&self, partition: &Partition) -> Option<Secret> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(partition).cloned()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("KeyRing").field("keys", &keys).finish()
    }
}
