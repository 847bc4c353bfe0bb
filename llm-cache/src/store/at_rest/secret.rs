//! Secrets and encryption keys.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use zeroize::Zeroizing;

use crate::Partition;

/// Secret key of 32 bytes. Dropping a copy wipes its bytes from memory, and `Debug` does not show them.
///
/// The bytes must come from a cryptographic random number generator or a key management service. A password is not
/// random enough.
///
/// ```
/// use llm_cache::Secret;
///
/// let secret = Secret::from_hex("0f0e0d0c0b0a090807060504030201000f0e0d0c0b0a09080706050403020100");
/// assert!(secret.is_some() && Secret::from_hex("a password").is_none());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

/// Encryption keys of entries at rest, one for each partition: each tenant, and each scope in which entries are shared.
///
/// Entries of a partition without a key are neither stored outside the process nor read from there. Deleting a key
/// therefore erases all entries that it sealed, in backups too. Entries in memory stay until
/// [`Cache::forget`](crate::Cache::forget).
///
/// ```
/// use llm_cache::{Cache, EncryptionKeys, Partition, Secret};
///
/// /// One tenant has a key. Nothing of other partitions is stored outside the process.
/// #[derive(Debug)]
/// struct OneTenant(Secret);
///
/// impl EncryptionKeys for OneTenant {
///     fn key(&self, partition: &Partition) -> Option<Secret> {
///         (*partition == Partition::tenant("acme")).then(|| self.0.clone())
///     }
/// }
///
/// let cache = Cache::builder("support").encryption_keys(OneTenant(Secret::new([7; 32]))).build()?;
/// # Ok::<_, llm_cache::BuildError>(())
/// ```
pub trait EncryptionKeys: fmt::Debug + Send + Sync + 'static {
    /// Returns the key of a tenant or a scope. The method is called for each entry that is stored, written or read, on
    /// threads that run other calls too, so an implementation that fetches keys from elsewhere must cache them.
    fn key(&self, partition: &Partition) -> Option<Secret>;
}

/// [`EncryptionKeys`] in memory. Clones share the keys.
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
    /// Creates a secret from these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Parses a secret from 64 hexadecimal digits. Returns `None` for any other text.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let bytes = Zeroizing::new(blake3::Hash::from_hex(digits).ok()?.into());
        Some(Self(bytes))
    }

    /// Returns the bytes of the secret.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives another secret for this purpose.
    pub(crate) fn derive(&self, purpose: &str) -> Self {
        Self::new(blake3::derive_key(purpose, &*self.0))
    }
}

impl KeyRing {
    /// Creates an empty key ring.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces the key of a partition. Entries that were sealed with the replaced key are no longer readable.
    pub fn insert(&self, partition: Partition, key: Secret) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(partition, key);
    }

    /// Removes the key of a partition. Entries that were sealed with it are no longer readable.
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
