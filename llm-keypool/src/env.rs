use std::{collections::HashSet, sync::Arc};

use llm_core::Error;

use crate::{BuildError, KeyPool, KeyPoolBuilder, Member};

/// Returns the fingerprint of a key: the first eight hexadecimal digits of its BLAKE3 hash, which tells keys apart and
/// reveals none.
///
/// ```
/// assert_eq!(llm_keypool::fingerprint("sk-a").len(), 8);
/// assert_ne!(llm_keypool::fingerprint("sk-a"), llm_keypool::fingerprint("sk-b"));
/// ```
pub fn fingerprint(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex()[..8].to_owned()
}

impl<S> KeyPool<S> {
    /// Creates a builder with a member for each key in a variable: `key,key`, or `group:key,group:key`. Members are named by
    /// the [`fingerprint`] of their key. White space and repeated keys are left out.
    ///
    /// `lookup` reads the variable, and `service` makes the service of a key.
    ///
    /// ```
    /// use llm_keypool::KeyPool;
    ///
    /// let lookup = |_: &str| Some("acme:sk-a, acme:sk-b, sk-c".to_owned());
    /// let pool = KeyPool::from_env("OPENAI_API_KEYS", lookup, |key| Ok(key.to_owned()))?.build()?;
    /// assert_eq!(pool.status().groups.len(), 2);
    /// # Ok::<_, llm_keypool::BuildError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The variable is not set or has no key, or a service cannot be created.
    pub fn from_env(
        name: &str,
        lookup: impl FnOnce(&str) -> Option<String>,
        mut service: impl FnMut(&str) -> Result<S, Error>,
    ) -> Result<KeyPoolBuilder<S>, BuildError> {
        let text = lookup(name).unwrap_or_default();
        let (mut seen, mut builder) = (HashSet::new(), KeyPoolBuilder::new());
        for entry in text.split(',') {
            let (group, key) = match entry.split_once(':') {
                Some((group, key)) => (Some(group.trim()).filter(|group| !group.is_empty()), key.trim()),
                None => (None, entry.trim()),
            };
            if key.is_empty() || !seen.insert(key) {
                continue;
            }
            let member: Arc<str> = fingerprint(key).into();
            let service = service(key)
                .map_err(|source| BuildError::Service { member: Arc::clone(&member), source: without(source, key) })?;
            let mut made = Member::new(Arc::clone(&member), service).fingerprint(member);
            made.spec.group = group.map(Arc::from);
            builder = builder.member(made);
        }
        if builder.members.is_empty() {
            return Err(BuildError::NoKeys(name.to_owned()));
        }
        Ok(builder)
    }
}

/// Removes a key from an error's message.
fn without(error: Error, key: &str) -> Error {
    match error.message().contains(key) {
        true => error.clone().with_message(error.message().replace(key, "[key]")),
        false => error,
    }
}
