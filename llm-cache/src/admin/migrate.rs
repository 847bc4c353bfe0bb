//! Migration: copies entries from one store to another, batch by batch, and can go on after an interruption.

use std::num::NonZeroUsize;

use crate::{Cache, Cursor, StoreError, policy::Timestamp, store::Page};

/// Progress of a migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// Entries that were copied.
    pub copied: u64,
    /// Entries that were left behind because they had expired or were invalidated.
    pub expired: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Entries that the other store did not accept: it has them or newer ones, they are too large for it, or their
    /// tenant has no key there.
    pub not_taken: u64,
    /// Cursor to go on from after an interruption; `None` when all is copied.
    pub next: Option<Cursor>,
}

/// Copies the live entries of one cache's store to another's, with the rest of their time to live.
///
/// Names and seals are those of the target, so that both stores may have different secrets and keys. Namespaces stay as
/// they are. `progress` is called after each batch of at most `batch` entries, which is then written. An interrupted
/// migration goes on `after` the last [`MigrationReport::next`]. One that begins anew skips what is copied already.
/// Both caches can be used meanwhile. Entries that are stored in the first one behind the cursor are not copied.
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
        // What is invalidated there from now on must be later than what comes; a store with its own time sees to that.
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
