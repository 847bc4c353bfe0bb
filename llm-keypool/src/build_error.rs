use std::{collections::HashSet, sync::Arc};

use llm_core::{Error, ErrorKind};

use crate::Member;

/// Error of building a pool from invalid members or keys.
///
/// ```
/// use llm_keypool::{BuildError, KeyPool, Member};
///
/// let twice = KeyPool::builder().member(Member::new("a", "sk-1")).member(Member::new("a", "sk-2")).build();
/// assert!(matches!(twice, Err(BuildError::SameName(name)) if &*name == "a"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The pool has no member.
    #[error("a pool needs at least one member: add one with .member(…)")]
    NoMembers,
    /// Two members have one name.
    #[error("two members have the name {0:?}: give each a name of its own")]
    SameName(Arc<str>),
    /// The environment has no keys.
    #[error("the variable {0} holds no key: set it to one or more keys, separated by commas")]
    NoKeys(String),
    /// The service of a key could not be created.
    #[error("the service of member {member} could not be created")]
    Service {
        /// Name of the member.
        member: Arc<str>,
        /// Error of its creation.
        source: Error,
    },
}

impl BuildError {
    /// Checks the members of a pool.
    pub(crate) fn check<S>(members: &[Arc<Member<S>>]) -> Result<(), Self> {
        if members.is_empty() {
            return Err(Self::NoMembers);
        }
        let mut names = HashSet::new();
        match members.iter().find(|member| !names.insert(&member.spec.name)) {
            Some(member) => Err(Self::SameName(Arc::clone(&member.spec.name))),
            None => Ok(()),
        }
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Service { member, source } => {
                let message = format!("the service of member {member} could not be created: {}", source.message());
                source.with_message(message)
            }
            other => Self::new(ErrorKind::InvalidRequest, other.to_string()).with_source(other),
        }
    }
}
