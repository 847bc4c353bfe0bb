//! Contents of a store outside the process, for operators.

use std::{sync::Arc, time::SystemTime};

use llm_core::layer::Accounting;

use crate::{
    Cache, Cursor, Partition, StoreError, Tag,
    store::{Listed, Name},
};

/// Entry of a store outside the process, without its response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredEntry {
    /// Name of the entry, in hexadecimal digits. It reveals nothing about the request.
    pub name: String,
    /// Partition that the entry belongs to.
    pub partition: Partition,
    /// Time at which the entry was stored.
    pub stored_at: SystemTime,
    /// Time at which the entry expires; `None` for an entry that does not expire.
    pub fresh_until: Option<SystemTime>,
    /// Tags by which the entry can be invalidated.
    pub tags: Arc<[Tag]>,
    /// Usage, vendor, model and cost of the response.
    pub accounting: Accounting,
    /// Size of the entry in the store, in bytes.
    pub bytes: u64,
    /// True if a cache may still serve the entry, because it is fresh, or stale but still usable, and not invalidated.
    pub live: bool,
}

/// Page of a store's entries.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// Entries that can be read.
    pub entries: Vec<StoredEntry>,
    /// Number of entries on this page that cannot be read.
    pub unreadable: u64,
    /// Cursor of the next page; `None` on the last page.
    pub next: Option<Cursor>,
}

/// Number of entries that are read at a time.
const PAGE: usize = 256;

impl Cache {
    /// Lists at most `most` entries of the store outside the process, from the beginning or after a cursor. Entries
    /// that are not written yet are not listed; [`close`](Self::close) waits until they are written.
    ///
    /// ```
    /// # #[cfg(feature = "file")]
    /// # tokio_test::block_on(async {
    /// use llm_cache::Cache;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let url = format!("file://{}/answers", directory.path().display());
    /// let cache = Cache::builder("support").open(&url)?;
    /// let mut next = None;
    /// loop {
    ///     let page = cache.list(next, 100).await?;
    ///     page.entries.iter().for_each(|entry| println!("{} {} {} bytes", entry.name, entry.partition, entry.bytes));
    ///     next = page.next;
    ///     if next.is_none() {
    ///         break;
    ///     }
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails, or if there is none outside the process.
    pub async fn list(&self, after: Option<Cursor>, most: usize) -> Result<Listing, StoreError> {
        let page = self.0.entries.store.scan(after, most).await?;
        let entries = page.found.into_iter().map(StoredEntry::from).collect();
        Ok(Listing { entries, unreadable: page.corrupt.len() as u64, next: page.next })
    }

    /// Removes the entry with this [name](StoredEntry::name) from the store outside the process, but not from memory.
    /// Returns `true` if there was such an entry.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails, or if `name` is not the name of an entry (96 hexadecimal digits).
    ///
    /// ```
    /// # #[cfg(feature = "file")]
    /// # tokio_test::block_on(async {
    /// use llm_cache::Cache;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let url = format!("file://{}/answers", directory.path().display());
    /// let cache = Cache::builder("support").open(&url)?;
    /// let key = cache.key("acme", "greet", "Hello!")?;
    /// cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
    /// cache.close().await?;
    /// let name = cache.list(None, 1).await?.entries[0].name.clone();
    /// assert!(cache.remove_stored(&name).await? && !cache.remove_stored(&name).await?);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn remove_stored(&self, name: &str) -> Result<bool, StoreError> {
        let name = Name::from_hex(name).ok_or_else(|| {
            StoreError::new(
                "stored",
                format!("a name has {} hexadecimal digits: take one from a listing", 2 * Name::BYTES),
            )
        })?;
        Ok(self.0.entries.store.remove_named(vec![name]).await? > 0)
    }

    /// [Invalidates](Self::invalidate) a tag, and removes all entries that can no longer be served from the store
    /// outside the process, whatever their tags. Returns the number of removed entries. The method visits every entry.
    /// Entries that cannot be read are kept, because this process may merely lack their encryption keys.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails, or if there is none outside the process.
    ///
    /// ```
    /// # #[cfg(feature = "file")]
    /// # tokio_test::block_on(async {
    /// use llm_cache::{Cache, Tag};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let url = format!("file://{}/answers", directory.path().display());
    /// let cache = Cache::builder("support").open(&url)?;
    /// let key = cache.key("acme", "greet", "Hello!")?;
    /// cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
    /// cache.close().await?;
    /// assert_eq!(cache.purge(Tag::tenant("acme")).await?, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn purge(&self, tag: Tag) -> Result<u64, StoreError> {
        self.invalidate(tag).await?;
        let (mut gone, mut after) = (0, None);
        loop {
            let page = self.0.entries.store.scan(after, PAGE).await?;
            let over = page.found.iter().filter(|entry| !entry.live).map(|entry| entry.name);
            gone += self.0.entries.store.remove_named(over.collect()).await?;
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
            accounting: record.accounting,
            bytes,
            live,
        }
    }
}
