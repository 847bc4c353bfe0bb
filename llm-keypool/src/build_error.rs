use std::{collections::HashSet, sync::Arc};

use llm_core::{Error, ErrorKind};

use crate::{Group, GroupLimit, Member, member::MemberSpec, settings::Settings, time::nanos};

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
    /// Two members have the same name.
    #[error("two members have the name {0:?}: give each a name of its own")]
    SameName(Arc<str>),
    /// Two descriptions name the same group.
    #[error("the group {0:?} is described twice: put all of its limits into one Group")]
    SameGroup(Arc<str>),
    /// A limit, share, weight, timeout or number of attempts is 0. The text names the setting.
    #[error("{0} is 0, so that nothing could be sent: leave the setting out, or leave out the member or model")]
    Zero(String),
    /// The environment variable of this name contains no key, or is not set.
    #[error("the variable {0} holds no key: set it to one or more keys, separated by commas")]
    NoKeys(String),
    /// An entry of the environment variable has no key, or repeats a key with another group.
    #[error("entry {entry} of the variable {variable} {problem}: separate keys by commas, each as KEY or GROUP:KEY")]
    Entry {
        /// Name of the environment variable.
        variable: String,
        /// Position of the entry in the variable, from 1.
        entry: usize,
        /// Problem of the entry, in words that contain neither key nor group.
        problem: &'static str,
    },
    /// The service for a key could not be created.
    #[error("the service of member {member} could not be created")]
    Service {
        /// Name of the member.
        member: Arc<str>,
        /// Error from creating the service.
        source: Error,
    },
}

impl BuildError {
    /// Returns an error if there is no member, if two members have the same name, or if a weight or `max_in_flight` is
    /// 0.
    pub(crate) fn check<S>(members: &[Arc<Member<S>>]) -> Result<(), Self> {
        if members.is_empty() {
            return Err(Self::NoMembers);
        }
        let mut names = HashSet::new();
        for MemberSpec { name, weight, max_in_flight, .. } in members.iter().map(|member| &member.spec) {
            if !names.insert(name) {
                return Err(Self::SameName(Arc::clone(name)));
            }
            Self::check_zero(*weight, || format!("the weight of member {name:?}"))?;
            Self::check_zero(*max_in_flight, || format!("max_in_flight of member {name:?}"))?;
        }
        Ok(())
    }

    /// Returns an error if two groups have the same name, or if a limit or share is 0.
    fn check_groups(groups: &[Group]) -> Result<(), Self> {
        let mut names = HashSet::new();
        for Group { name, limits, share } in groups {
            if !names.insert(name) {
                return Err(Self::SameGroup(Arc::clone(name)));
            }
            Self::check_zero(*share, || format!("the share of group {name:?}"))?;
            for (model, GroupLimit { unit, amount }) in limits {
                let limit = ["requests", "tokens", "input_tokens", "output_tokens"][*unit as usize];
                Self::check_zero(*amount, || format!("{limit}_per_minute of group {name:?} for model {model:?}"))?;
            }
        }
        Ok(())
    }

    /// Returns an error for invalid groups, or for a timeout of 0.
    pub(crate) fn check_settings(settings: &Settings) -> Result<(), Self> {
        let Settings { groups, first_content_timeout, response_timeout, .. } = settings;
        Self::check_groups(groups)?;
        let timeouts = [("first_content_timeout", first_content_timeout), ("response_timeout", response_timeout)];
        timeouts
            .into_iter()
            .try_for_each(|(name, timeout)| Self::check_zero(timeout.map_or(1, nanos), || name.to_owned()))
    }

    fn check_zero(value: impl Into<u64>, setting: impl FnOnce() -> String) -> Result<(), Self> {
        if value.into() == 0 { Err(Self::Zero(setting())) } else { Ok(()) }
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
