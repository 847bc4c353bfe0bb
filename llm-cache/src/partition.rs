use std::{fmt, sync::Arc};

/// Whose a stored answer is. What seals it belongs to the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Partition {
    /// One tenant's.
    Tenant(Arc<str>),
    /// That of all who name a scope: see [`Directive::shared`](crate::Directive::shared).
    Scope(Arc<str>),
}

impl Partition {
    /// The tenant of this name.
    pub fn tenant(name: impl Into<Arc<str>>) -> Self {
        Self::Tenant(name.into())
    }

    /// The scope of this name.
    pub fn scope(name: impl Into<Arc<str>>) -> Self {
        Self::Scope(name.into())
    }
}

/// `tenant:` or `scope:`, and the name.
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(name) => write!(f, "tenant:{name}"),
            Self::Scope(name) => write!(f, "scope:{name}"),
        }
    }
}
