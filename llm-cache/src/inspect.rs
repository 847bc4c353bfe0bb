//! What lies in a store outside the process, for operators.

use std::{sync::Arc, time::SystemTime};

use llm_core::layer::Accounting;

use crate::{
    Cache, Cursor, Partition, StoreError, Tag,
    store::{Listed, Name},
};

/// An entry as it lies in a store, without its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredEntry {
    /// What it is stored under, in hexadecimal digits: it tells nothing of the question.
    pub name: String,
    /// Whose answer it is.
    pub partition: Partition,
    /// When it was stored.
    pub stored_at: SystemTime,
    /// Until when it is fresh; `None` for ever.
    pub fresh_until: Option<SystemTime>,
    /// What it can be dropped by.
    pub tags: Arc<[Tag]>,
    /// Usage, vendor, model and cost of the answer.
    pub accounting: Accounting,
    /// What it takes, in bytes.
    pub bytes: u64,
    /// True if it is of use yet: within its time, and not invalidated.
    pub live: bool,
}

/// Some entries of a store.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The entries that can be read.
    pub entries: Vec<StoredEntry>,
    /// How many could not be.
    pub unreadable: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// How many entries are looked at together.
const PAGE: usize = 256;

impl Cache {
    /// At most so many entries of the store outside the process, after a place in it. What has just been stored and is not
    /// written yet is not among them: see [`close`](Self::close).
    ///
    /// # Errors
    ///
    /// If the store fails, or there is none outside the process.
    pub async fn list(&self, after: Option<Cursor>, most: usize) -> Result<Listing, StoreError> {
        let page = self.0.store.scan(after, most).await?;
        let entries = page.found.into_iter().map(StoredEntry::from).collect();
        Ok(Listing { entries, unreadable: page.corrupt.len() as u64, next: page.next })
    }

    /// Removes the entry of this [name](StoredEntry::name) from the store outside the process, not from memory; tells
    /// whether there was one.
    ///
    /// # Errors
    ///
    /// If the store fails, or the name is none.
    pub async fn remove_stored(&self, name: &str) -> Result<bool, StoreError> {
        let name = Name::from_hex(name).ok_or_else(|| {
            StoreError::new(
                "stored",
                format!("a name has {} hexadecimal digits: take one from a listing", 2 * Name::BYTES),
            )
        })?;
        Ok(self.0.store.remove_named(vec![name]).await? > 0)
    }

    /// [Invalidates](Self::invalidate) a tag, and empties the room of all that cannot be served any more in the store
    /// outside the process. It looks at every entry; tells how many went. What it cannot read stays, for want of a key
    /// perhaps.
    ///
    /// # Errors
    ///
    /// If the store fails, or there is none outside the process.
    pub async fn purge(&self, tag: Tag) -> Result<u64, StoreError> {
        self.invalidate(tag).await?;
        let (mut gone, mut after) = (0, None);
        loop {
            let page = self.0.store.scan(after, PAGE).await?;
            let over = page.found.iter().filter(|entry| !entry.live).map(|entry| entry.name);
            gone += self.0.store.remove_named(over.collect()).await?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(gone),
            }
        }
    }
}

impl From<Listed> for StoredEntry {
    fn from(listed: Listed) -> Self {
        let Listed { name, record, bytes, live } = listed;
        Self {
            name: name.to_string(),
            partition: record.partition,
            stored_at: record.expiry.stored_at,
            fresh_until: record.expiry.fresh_until,
            tags: record.provenance.tags,
            accounting: record.facts,
            bytes,
            live,
        }
    }
}
