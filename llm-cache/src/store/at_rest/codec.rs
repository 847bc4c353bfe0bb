//! Encoding of records as names and bytes, and decoding.

use std::sync::Arc;

use super::{
    EncryptionKeys, Name, PARTITION_BYTES, Record, Secret,
    corrupt_entry::CorruptEntry,
    frame::Framing,
    name::{Names, digest},
};
#[cfg(any(feature = "file", test))]
use crate::store::Entry;
use crate::{Key, Partition, Tag};

/// Codec of entries outside the process.
pub(crate) struct AtRest {
    names: Names,
    framing: Framing,
    keys: Option<Arc<dyn EncryptionKeys>>,
}

/// Secret of stores for which the application sets no secret. With this known secret, a reader can confirm a guess of a
/// request by its name, and checksums detect damage but not forgery.
const NO_SECRET: [u8; 32] = [0; 32];

impl AtRest {
    /// Creates a codec. `secret` is used for names and checksums. With `keys`, each entry is sealed with the key of its
    /// partition.
    pub(crate) fn new(secret: Option<&Secret>, keys: Option<Arc<dyn EncryptionKeys>>) -> Self {
        let secret = secret.cloned().unwrap_or_else(|| Secret::new(NO_SECRET));
        let names = Names::new(secret.derive("llm-cache 2026-11 stored names v1"));
        let check = secret.derive("llm-cache 2026-11 check of stored entries v1");
        let owners = secret.derive("llm-cache 2026-11 owners of sealed entries v1");
        Self { names, framing: Framing::new(check, owners), keys }
    }

    /// Returns the name of a request's entry.
    pub(crate) fn name(&self, key: &Key) -> Name {
        self.names.name(&key.partition(), &digest(key))
    }

    /// Returns the prefix of the names of a partition's entries.
    pub(crate) fn partition(&self, partition: &Partition) -> [u8; PARTITION_BYTES] {
        self.names.partition(partition)
    }

    /// Returns the hash under which the invalidation of a tag is remembered.
    pub(crate) fn tag(&self, tag: &Tag) -> [u8; 32] {
        self.names.tag(tag)
    }

    /// Returns `true` if entries of a partition may be stored outside the process, because there are no encryption
    /// keys, or because the partition has one.
    pub(crate) fn can_store(&self, partition: &Partition) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.key(partition).is_some())
    }

    /// Encodes a record as its name and bytes. Returns `None` if the partition of the record has no key, or if the
    /// record is too large.
    pub(crate) fn write(&self, record: &Record) -> Option<(Name, Vec<u8>)> {
        let key = match &self.keys {
            Some(keys) => Some(keys.key(&record.partition)?),
            None => None,
        };
        let name = self.names.name(&record.partition, &record.digest);
        Some((name, self.framing.close(&name, &record.partition, &record.digest, &record.body()?, key.as_ref())?))
    }

    /// Encodes an entry: see [`write`](Self::write).
    #[cfg(any(feature = "file", test))]
    pub(crate) fn write_entry(&self, key: &Key, entry: &Entry) -> Option<(Name, Vec<u8>)> {
        self.write(&Record::of(key, entry)?)
    }

    /// Decodes the bytes that are stored under a name. The checksum covers the name, so that an entry stored under
    /// another name counts as damaged.
    pub(crate) fn read(&self, name: &Name, bytes: &[u8]) -> Result<Record, CorruptEntry> {
        Record::read(self.framing.open(name, bytes, self.keys.as_deref())?)
    }
}
