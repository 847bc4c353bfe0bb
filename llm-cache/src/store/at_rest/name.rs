//! Names of stored entries.
//!
//! | bytes | content |
//! |---|---|
//! | 16 | keyed hash of the partition; the first bit is set for scopes |
//! | 32 | keyed hash of the request's digest |
//!
//! All names of a tenant have the same prefix, by which its entries are found and removed. Without the secret of the
//! store a name reveals neither the tenant nor the request.

use std::fmt;

use smallvec::SmallVec;

use super::Secret;
use crate::{Key, Partition, Tag};

/// Name of a stored entry: a keyed hash of its partition, followed by a keyed hash of its request. All names of a
/// partition have the same prefix. Names of tenants' entries sort before names of entries that a scope shares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name([u8; Name::BYTES]);

/// Number of bytes at the start of a name that are the hash of its partition.
pub(crate) const PARTITION_BYTES: usize = 16;

/// Bit of the first byte that is set in names of scopes.
const SHARED: u8 = 0x80;

/// Derives names from the store's secret.
pub(crate) struct Names(Secret);

impl Name {
    pub(crate) const BYTES: usize = PARTITION_BYTES + 32;

    /// Name that sorts after all tenants' entries, and before all entries that scopes share.
    pub(crate) const BEFORE_SHARED: Self = {
        let mut name = [u8::MAX; Self::BYTES];
        name[0] = !SHARED;
        Self(name)
    };

    pub(crate) fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Returns the name that has these bytes; `None` unless there are [`BYTES`](Self::BYTES) of them.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Parses a name of hexadecimal digits, as listings show it.
    pub(crate) fn from_hex(digits: &str) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
        (digits.len() == 2 * Self::BYTES).then_some(())?;
        Self::read(&digits.as_bytes().chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>()?)
    }
}

impl Names {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// Returns the name of the entry in this partition whose request has this digest.
    pub(crate) fn name(&self, partition: &Partition, digest: &[u8; 32]) -> Name {
        let mut name = [0; Name::BYTES];
        name[..PARTITION_BYTES].copy_from_slice(&self.partition(partition));
        name[PARTITION_BYTES..].copy_from_slice(self.hash(b'q', digest).as_bytes());
        Name(name)
    }

    /// Returns the prefix of the names of a partition's entries.
    pub(crate) fn partition(&self, partition: &Partition) -> [u8; PARTITION_BYTES] {
        let (kind, text, shared) = match partition {
            Partition::Tenant(name) => (b't', name, 0),
            Partition::Scope(name) => (b's', name, SHARED),
        };
        let mut name = [0; PARTITION_BYTES];
        name.copy_from_slice(&self.hash(kind, text.as_bytes()).as_bytes()[..PARTITION_BYTES]);
        name[0] = name[0] & !SHARED | shared;
        name
    }

    /// Returns the hash under which the invalidation of a tag is remembered.
    pub(crate) fn tag(&self, tag: &Tag) -> [u8; 32] {
        *self.hash(b'g', tag.to_string().as_bytes()).as_bytes()
    }

    fn hash(&self, kind: u8, bytes: &[u8]) -> blake3::Hash {
        // The text is hashed in one piece, because the state of an incremental hasher takes about two kilobytes.
        let mut text = SmallVec::<[u8; 64]>::new();
        text.push(kind);
        text.extend_from_slice(bytes);
        blake3::keyed_hash(self.0.expose(), &text)
    }
}

/// Returns the digest of a request, which is stored with its entry, so that a migration can derive a new name without
/// the request.
pub(crate) fn digest(key: &Key) -> [u8; 32] {
    key.digest()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}
