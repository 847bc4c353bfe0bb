//! Partitions of a store. The entries of a partition share an encryption key and a prefix of their names.

use std::{fmt, sync::Arc};

/// Partition of a store: the entries of one tenant, or of one sharing scope. Each has an encryption key of its own.
///
/// ```
/// use llm_cache::Partition;
///
/// assert_eq!(Partition::tenant("acme").to_string(), "tenant:acme");
/// assert_ne!(Partition::tenant("acme"), Partition::scope("acme"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Partition {
    /// Entries of one tenant.
    Tenant(Arc<str>),
    /// Entries of a sharing scope: see [`Directive::shared`](crate::Directive::shared).
    Scope(Arc<str>),
}

impl Partition {
    /// Returns the partition of this tenant.
    pub fn tenant(name: impl Into<Arc<str>>) -> Self {
        Self::Tenant(name.into())
    }

    /// Returns the partition of this scope.
    pub fn scope(name: impl Into<Arc<str>>) -> Self {
        Self::Scope(name.into())
    }
}

/// Writes `tenant:` or `scope:`, and the name.
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(name) => write!(f, "tenant:{name}"),
            Self::Scope(name) => write!(f, "scope:{name}"),
        }
    }
}
