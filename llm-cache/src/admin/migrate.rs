//! Migration: copies entries from one store to another in batches, and can be continued after an interruption.

use std::num::NonZeroUsize;

use crate::{Cache, Cursor, StoreError, policy::Timestamp, store::Page};

/// Progress of a migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// Number of entries that were copied.
    pub copied: u64,
    /// Number of entries that were not copied, because they had expired or were invalidated.
    pub expired: u64,
    /// Number of entries that could not be read.
    pub unreadable: u64,
    /// Number of entries that the target did not accept, because it has them or newer ones, they are too large for it,
    /// or their tenant has no encryption key there.
    pub not_taken: u64,
    /// Cursor from which to continue after an interruption; `None` once all entries are copied.
    pub next: Option<Cursor>,
}

/// Copies the live entries from one cache's store to the store of another. The copies expire at the same time as the
/// originals.
///
/// Copies are named and sealed with the target's secret and keys, so that the two stores may have different ones. The
/// copies keep their namespaces. `progress` is called after each batch of at most `batch` entries is written. To
/// continue an interrupted migration, pass its last [`MigrationReport::next`] as `after`. A migration that begins again
/// skips entries that are copied already. Both caches can be used meanwhile. An entry that is stored in `from`
/// meanwhile at a position before the cursor is not copied.
///
/// ```
/// # #[cfg(feature = "file")]
/// # tokio_test::block_on(async {
/// use std::num::NonZeroUsize;
/// use llm_cache::{Cache, migrate};
///
/// # let directory = tempfile::tempdir()?;
/// # let url = |name: &str| format!("file://{}/{name}", directory.path().display());
/// let (from, to) = (Cache::builder("a").open(&url("old"))?, Cache::builder("a").open(&url("new"))?);
/// let batch = NonZeroUsize::new(256).expect("not zero");
/// let report = migrate(&from, &to, None, batch, |so_far| println!("{} copied", so_far.copied)).await?;
/// assert!(report.next.is_none());
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// # Errors
///
/// [`StoreError`] if one of the stores fails, or is in memory only.
pub async fn migrate(
    from: &Cache,
    to: &Cache,
    after: Option<Cursor>,
    batch: NonZeroUsize,
    mut progress: impl FnMut(&MigrationReport),
) -> Result<MigrationReport, StoreError> {
    from.close().await?;
    let mut done = MigrationReport { next: after, ..MigrationReport::default() };
    loop {
        let Page { found, corrupt, next } = from.0.entries.store.scan(done.next.take(), batch.get()).await?;
        let listed = found.len() as u64;
        let live: Vec<_> = found.into_iter().filter(|entry| entry.live).map(|entry| entry.record).collect();
        let wanted = live.len() as u64;
        let latest = live.iter().map(|record| record.provenance.started_at).max();
        // Later invalidations in the target must have later timestamps than the calls of the copied entries, because
        // otherwise they would not invalidate these entries. A store with a clock of its own ensures this itself.
        to.0.entries.advance(latest.unwrap_or(Timestamp::default()));
        let copied = to.0.entries.store.write_records(live).await?;
        done.copied += copied;
        done.not_taken += wanted - copied;
        done.expired += listed - wanted;
        done.unreadable += corrupt.len() as u64;
        done.next = next;
        progress(&done);
        if done.next.is_none() {
            return Ok(done);
        }
    }
}
