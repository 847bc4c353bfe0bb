//! Reference to an account.

/// Reference to an account in an implementation of [`Accounts`](crate::accounts::Accounts). It stays the same while the
/// account has open reservations or calls wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AccountRef(u64);

impl AccountRef {
    /// Creates a reference to the account at the position `index` in a part of the accounts, such as a shard.
    pub(crate) fn new(part: usize, index: u32) -> Self {
        Self((part as u64) << 32 | u64::from(index))
    }

    /// Creates a reference from the hash of the account's name.
    #[cfg(feature = "redis")]
    pub(crate) fn from_hash(hash: u64) -> Self {
        Self(hash)
    }

    pub(crate) fn part(self) -> usize {
        usize::try_from(self.0 >> 32).expect("it was given as one")
    }

    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0 & u64::from(u32::MAX)).expect("it was given as 32 bits")
    }
}
