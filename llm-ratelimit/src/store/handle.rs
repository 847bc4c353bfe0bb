//! Public handle of a store, which is opened by its URL.

use std::sync::Arc;

use super::{
    StoreError,
    backend::{Backend, Changes, Name},
    memory::Memory,
    url::Address,
};
use crate::Balance;

/// Store of balances, so that a restart does not begin a new month for every tenant. A
/// [`BalancePersister`](crate::BalancePersister) writes the balances of a limiter to the store, and restores them from
/// it.
///
/// All methods block until the disk has answered, so an asynchronous program must call them where blocking is allowed.
/// Clones share one store.
///
/// ```
/// use llm_ratelimit::Store;
///
/// let store = Store::open("memory:")?;
/// assert!(store.balances()?.is_empty());
/// # Ok::<_, llm_ratelimit::StoreError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Store(pub(crate) Arc<dyn Backend>);

/// Number of balances that are written in one transaction.
const BATCH: usize = 1_024;

impl Store {
    /// Opens the store at a URL:
    ///
    /// | URL | store |
    /// |---|---|
    /// | `memory:` | [`Store::memory`] |
    /// | `file:///path/to/balances` | `Store::file`; with escapes as in any URL; feature `file` |
    ///
    /// [`LimiterBuilder::open`](crate::LimiterBuilder::open) opens a limiter at such an address, or at that of a server.
    ///
    /// # Errors
    ///
    /// The URL is invalid or names a server ([`StoreError::Server`]), the build does not include the store, or
    /// `Store::file` fails. Of the URL, an error shows only the scheme and the path.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        match Address::read(url)? {
            Address::Memory => Ok(Self::memory()),
            #[cfg(feature = "file")]
            Address::File(path) => Self::file(path),
            #[cfg(not(feature = "file"))]
            Address::File(_) => Err(StoreError::Feature { scheme: "file", feature: "file" }),
            Address::Redis(_) => Err(StoreError::Server),
        }
    }

    /// Creates a store that lives as long as the process, for tests and for programs that take a URL.
    pub fn memory() -> Self {
        Self(Arc::new(Memory::default()))
    }

    /// Opens a store in a file, or creates the file if it does not exist or is empty. Its directory must exist. Only
    /// the owner can read the file, and only one process can open it at a time. Completed writes survive if the process
    /// is killed or the power fails. The file of a killed process is checked when it is opened. Files contain the names
    /// of tenants in plain text.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`]; [`StoreError::Open`] for a file that cannot be opened, is damaged, or holds something
    /// else, such as a cache; [`StoreError::Newer`] for one that a later version wrote. Each error names the file and
    /// the remedy.
    #[cfg(feature = "file")]
    pub fn file(path: impl AsRef<std::path::Path>) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(super::file::File::open(path.as_ref())?)))
    }

    /// Returns all balances in the order of tenants, beginning with the balances that belong to no tenant.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] if the store cannot be read.
    pub fn balances(&self) -> Result<Vec<Balance>, StoreError> {
        self.read(None)
    }

    /// Returns the balances of one tenant, as they were last written.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] if the store cannot be read.
    pub fn balances_of(&self, tenant: &str) -> Result<Vec<Balance>, StoreError> {
        self.read(Some(tenant))
    }

    /// Writes all of the balances or none. They replace balances with the same names. A balance without amounts removes
    /// the stored balance with its name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`], in which case nothing has changed.
    pub fn put(&self, balances: impl IntoIterator<Item = Balance>) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        changes.put(balances);
        self.write(&changes)
    }

    /// Removes all balances of a tenant, and returns their number. The removal is durable when the method returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] and [`StoreError::Write`]. In that case nothing has changed.
    pub fn forget(&self, tenant: &str) -> Result<usize, StoreError> {
        self.remove(self.balances_of(tenant)?)
    }

    /// Removes the balances of windows that ended before `time`, in nanoseconds since 1970, and have no debt. Returns
    /// their number.
    ///
    /// # Errors
    ///
    /// The errors of [`Store::forget`].
    pub fn prune(&self, time: u64) -> Result<usize, StoreError> {
        let mut over = self.balances()?;
        over.retain(|balance| balance.until() < time && balance.debt() == 0);
        self.remove(over)
    }

    /// Copies all balances to another store, and returns their number. If the other store has a balance of the same
    /// name, the one of the later window remains, or for the same window the one with more usage. So the copy can be
    /// repeated, and no spent amount is lost. No process should write to either store meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] and [`StoreError::Write`]. Repeat the copy in that case.
    pub fn migrate(&self, to: &Self) -> Result<usize, StoreError> {
        let mut known = std::collections::HashMap::new();
        to.0.read(None, &mut |balance| {
            known.insert(Name::of(&balance), rank(&balance));
        })?;
        let mut moved = self.balances()?;
        moved.retain(|balance| known.get(&Name::of(balance)).is_none_or(|there| *there < rank(balance)));
        for batch in moved.chunks(BATCH) {
            to.put(batch.iter().cloned())?;
        }
        Ok(moved.len())
    }

    pub(crate) fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        if changes.len() == 0 { Ok(()) } else { self.0.write(changes) }
    }

    fn read(&self, tenant: Option<&str>) -> Result<Vec<Balance>, StoreError> {
        let mut found = Vec::new();
        self.0.read(tenant, &mut |balance| found.push(balance))?;
        Ok(found)
    }

    fn remove(&self, balances: Vec<Balance>) -> Result<usize, StoreError> {
        let mut changes = Changes::default();
        changes.remove(balances);
        self.write(&changes)?;
        Ok(changes.len())
    }
}

/// Returns the rank of a balance. Of two balances with the same name, the one with the higher rank shows more usage.
fn rank(balance: &Balance) -> (u64, u64) {
    (balance.until(), balance.used())
}
