use std::sync::Arc;

use super::{
    EncryptionKeys, Name, PARTITION_BYTES, Record, Secret,
    frame::Framing,
    name::{Names, digest},
};
#[cfg(any(feature = "file", test))]
use crate::store::Entry;
use crate::{Key, Partition, Tag};

/// Writes entries for a place outside the process, and reads them there.
pub(crate) struct AtRest {
    names: Names,
    framing: Framing,
    keys: Option<Arc<dyn EncryptionKeys>>,
}

/// Why something stored is no entry: to whoever looks, a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorruptEntry {
    /// It is nothing of ours.
    Foreign,
    /// It is in a format that this version does not know.
    Newer,
    /// It was changed or cut off, or lies under another's name, or the store's secret is another.
    Damaged,
    /// There is no key for it, or another, or it is not sealed and should be.
    NoKey,
}

/// The secret of stores that have none: their names hide nothing from who guesses the question, and their checks find
/// damage, not malice.
const NO_SECRET: [u8; 32] = [0; 32];

impl AtRest {
    /// `secret` makes names and checks. With `keys`, each owner's entries are sealed with his.
    pub(crate) fn new(secret: Option<&Secret>, keys: Option<Arc<dyn EncryptionKeys>>) -> Self {
        let secret = secret.cloned().unwrap_or_else(|| Secret::new(NO_SECRET));
        let names = Names::new(secret.derive("llm-cache 2026-11 stored names v1"));
        let check = secret.derive("llm-cache 2026-11 check of stored entries v1");
        let owners = secret.derive("llm-cache 2026-11 owners of sealed entries v1");
        Self { names, framing: Framing::new(check, owners), keys }
    }

    /// What a question's entry is stored under.
    pub(crate) fn name(&self, key: &Key) -> Name {
        self.names.name(&key.partition(), &digest(key))
    }

    /// What a record is stored under.
    pub(crate) fn name_of(&self, record: &Record) -> Name {
        self.names.name(&record.partition, &record.digest)
    }

    /// What the names of an owner's entries begin with.
    pub(crate) fn partition(&self, partition: &Partition) -> [u8; PARTITION_BYTES] {
        self.names.partition(partition)
    }

    /// What a tag is remembered as.
    pub(crate) fn tag(&self, tag: &Tag) -> [u8; 32] {
        self.names.tag(tag)
    }

    /// True if anything of an owner may be stored.
    pub(crate) fn can_store(&self, partition: &Partition) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.key(partition).is_some())
    }

    /// A record's name and bytes. `None` if its owner has no key, or it is too large.
    pub(crate) fn write(&self, record: &Record) -> Option<(Name, Vec<u8>)> {
        let key = match &self.keys {
            Some(keys) => Some(keys.key(&record.partition)?),
            None => None,
        };
        let name = self.name_of(record);
        Some((name, self.framing.close(&name, &record.partition, &record.body()?, key.as_ref())?))
    }

    /// An entry's name and bytes, as of [`write`](Self::write).
    #[cfg(any(feature = "file", test))]
    pub(crate) fn write_entry(&self, key: &Key, entry: &Entry) -> Option<(Name, Vec<u8>)> {
        self.write(&Record::of(key, entry)?)
    }

    /// The record in some bytes that lie under a name.
    pub(crate) fn read(&self, name: &Name, bytes: &[u8]) -> Result<Record, CorruptEntry> {
        let opened = self.framing.open(name, bytes, self.keys.as_deref())?;
        let record = Record::read(opened.partition, opened.body)?;
        if self.name_of(&record) == *name { Ok(record) } else { Err(CorruptEntry::Damaged) }
    }
}
