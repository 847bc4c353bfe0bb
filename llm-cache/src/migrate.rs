use std::num::NonZeroUsize;

use crate::{Cache, Cursor, StoreError, invalidation::Timestamp, store::Page};

/// How far a migration has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// Entries that were copied.
    pub copied: u64,
    /// Entries past their time, or invalidated, that were left behind.
    pub expired: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Entries that the other store did not take: it has them or newer ones, they are too large for it, or their tenant
    /// has no key there.
    pub not_taken: u64,
    /// Where to go on after an interruption; `None` when all is done.
    pub next: Option<Cursor>,
}

/// Copies the live entries of one cache's store to another's, with what is left of their time.
///
/// Names and seals are those of the store they come to, so both may have different secrets and keys; namespaces stay as
/// they are. `progress` is told after each batch of at most `batch` entries, which is then where it shall be. An
/// interrupted migration goes on `after` the last [`MigrationReport::next`]; begun anew, it skips what has been copied.
/// Both caches can be used meanwhile; what is stored in the first one after the walk has passed its place is not copied.
///
/// # Errors
///
/// If one of the stores fails, or lies in memory only.
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
        let Page { found, corrupt, next } = from.0.store.scan(done.next.take(), batch.get()).await?;
        let listed = found.len() as u64;
        let live: Vec<_> = found.into_iter().filter(|entry| entry.live).map(|entry| entry.record).collect();
        let wanted = live.len() as u64;
        let latest = live.iter().map(|record| record.provenance.started_at).max();
        // What is invalidated there from now on must be later than what comes; a store with its own time sees to that.
        if to.0.store.time().is_none() {
            to.0.epochs.advance(latest.unwrap_or(Timestamp::default()));
        }
        let copied = to.0.store.write_records(live).await?;
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
