//! Public handle of a store, which is opened by its address.

use std::sync::Arc;

use super::{
    StoreError,
    backend::{Backend, Changes, Name},
    memory::Memory,
    url::Address,
};
use crate::Balance;

/// Store of balances, so that a restart does not begin a new month for every tenant. A
/// [`BalancePersister`](crate::BalancePersister) writes a limiter's into it, and puts them back.
///
/// Everything here blocks for as long as the disk takes: in an asynchronous program, call it where blocking is allowed.
/// Clones are the same store.
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

/// Number of balances that are written at once.
const BATCH: usize = 1_024;

impl Store {
    /// Opens the store at a URL:
    ///
    /// | URL | store |
    /// |---|---|
    /// | `memory:` | [`Store::memory`] |
    /// | `file:///path/to/books` | `Store::file`; with escapes as in any URL; feature `file` |
    ///
    /// [`LimiterBuilder::open`](crate::LimiterBuilder::open) opens a limiter at such an address, or at that of a server.
    ///
    /// # Errors
    ///
    /// A URL that cannot be read, or that of a server ([`StoreError::Server`]), a store that is not there in this build, and those of `Store::file`. No error holds
    /// anything of the URL but its scheme and its path.
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

    /// A store in a file, which only its owner can read. It is created if there is none, or an empty one; its directory
    /// has to be there. One process at a time has it open. What has been written stays written, also if the process is killed or the power fails; a file of a
    /// process that was killed is checked when it is opened. Tenants' names are in it as they are.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`]; [`StoreError::Open`] for a file that cannot be opened, is damaged, or holds something else,
    /// such as a cache; [`StoreError::Newer`] for one that a later version wrote. Each names the file and the remedy.
    #[cfg(feature = "file")]
    pub fn file(path: impl AsRef<std::path::Path>) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(super::file::File::open(path.as_ref())?)))
    }

    /// Returns all balances, in the order of tenants; first those that belong to none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`].
    pub fn balances(&self) -> Result<Vec<Balance>, StoreError> {
        self.read(None)
    }

    /// Returns the balances of one tenant, as they were last written.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`].
    pub fn balances_of(&self, tenant: &str) -> Result<Vec<Balance>, StoreError> {
        self.read(Some(tenant))
    }

    /// Writes balances, all or none. A balance of the same name is replaced, or removed if the new one holds nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`]; then nothing has changed.
    pub fn put(&self, balances: impl IntoIterator<Item = Balance>) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        changes.put(balances);
        self.write(&changes)
    }

    /// Removes all balances that belong to a tenant, and returns their number. The removal is durable when this
    /// returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] and [`StoreError::Write`]; then nothing has changed.
    pub fn forget(&self, tenant: &str) -> Result<usize, StoreError> {
        self.remove(self.balances_of(tenant)?)
    }

    /// Removes the balances of windows that ended before `time`, in nanoseconds since 1970, and owe nothing. Returns
    /// their number.
    ///
    /// # Errors
    ///
    /// As [`Store::forget`].
    pub fn prune(&self, time: u64) -> Result<usize, StoreError> {
        let mut over = self.balances()?;
        over.retain(|balance| balance.until() < time && balance.debt() == 0);
        self.remove(over)
    }

    /// Copies all balances to another store, and returns their number. If the other store has one of the same name, the
    /// balance of the later window stays, and in one window the balance with more usage. So the copy can be repeated,
    /// and no spent amount is lost. No process should write to either store meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] and [`StoreError::Write`]; repeat it then.
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

/// Returns the rank of a balance: of two of one name, the greater one shows more usage.
fn rank(balance: &Balance) -> (u64, u64) {
    (balance.until(), balance.used())
}
