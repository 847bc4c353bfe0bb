use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use llm_core::{Clock, Error, layer::RetryBudget};

use crate::{BuildError, Group, KeyPool, Member, Sink, Verdict, settings::Settings, time::nanos};

/// Builder of a [`KeyPool`].
///
/// | setting | default |
/// |---|---|
/// | [`max_moves`](Self::max_moves) | 32 |
/// | [`retry_budget`](Self::retry_budget) | 10 retries for each hundred calls, and 10 at the start |
/// | [`retry_charged`](Self::retry_charged) | on |
/// | [`first_content_timeout`](Self::first_content_timeout) | 60 s |
/// | [`response_timeout`](Self::response_timeout) | none |
/// | [`max_wait`](Self::max_wait) | 30 s |
/// | [`max_waiting`](Self::max_waiting) | 10,000 |
/// | [`overflow_after`](Self::overflow_after) | 1 s |
/// | [`affinity`](Self::affinity), [`round_robin`](Self::round_robin) | off |
///
/// ```
/// use std::time::Duration;
/// use llm_keypool::{Group, KeyPool, Member, requests_per_minute};
///
/// let pool = KeyPool::builder()
///     .member(Member::new("a", "sk-a").group("acme"))
///     .member(Member::new("b", "sk-b").group("acme"))
///     .group(Group::new("acme").limit("gpt-4o", requests_per_minute(2_000)))
///     .max_wait(Duration::from_secs(10))
///     .build()?;
/// # let _ = pool;
/// # Ok::<_, llm_keypool::BuildError>(())
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct KeyPoolBuilder<S> {
    members: Vec<Member<S>>,
    settings: Settings,
}

impl<S> KeyPool<S> {
    /// Creates a builder without members, with the default settings.
    pub fn builder() -> KeyPoolBuilder<S> {
        KeyPoolBuilder { members: Vec::new(), settings: Settings::default() }
    }

    /// Creates a builder with a member for each key in an environment variable: `key,key`, or `group:key,group:key`,
    /// separated by commas or line ends. The name of a member is the [`fingerprint`] of its key. White space, empty
    /// entries and repeated keys are ignored.
    ///
    /// The text before the first colon is the name of the group, which must not be secret, because statuses and events
    /// contain it. A key that contains a colon needs the name of a group before it, which may be empty, as in
    /// `:id:secret`.
    ///
    /// `lookup` returns the value of the variable, and `service` creates the service for a key.
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
    /// The variable is not set or has no key, a group has no key, a key is in two groups, or a service cannot be created.
    pub fn from_env(
        name: &str,
        lookup: impl FnOnce(&str) -> Option<String>,
        mut service: impl FnMut(&str) -> Result<S, Error>,
    ) -> Result<KeyPoolBuilder<S>, BuildError> {
        let text = lookup(name).unwrap_or_default();
        let (mut groups, mut builder) = (HashMap::new(), Self::builder());
        for (entry, text) in (1..).zip(text.split([',', '\n']).map(str::trim)).filter(|(_, text)| !text.is_empty()) {
            let (group, key) = text.split_once(':').unwrap_or(("", text));
            let (group, key) = (group.trim(), key.trim());
            let odd = |problem| Err(BuildError::Entry { variable: name.to_owned(), entry, problem });
            match groups.insert(key, group) {
                _ if key.is_empty() => return odd("has no key"),
                Some(before) if before != group => return odd("repeats a key with another group"),
                Some(_) => continue,
                None => {}
            }
            let member: Arc<str> = fingerprint(key).into();
            let service = service(key).map_err(|source| {
                let message = source.message().replace(key, "[key]");
                BuildError::Service { member: Arc::clone(&member), source: source.with_message(message) }
            })?;
            let mut made = Member::new(Arc::clone(&member), service).fingerprint(member);
            made.spec.group = Some(group).filter(|group| !group.is_empty()).map(Arc::from);
            builder = builder.member(made);
        }
        if builder.members.is_empty() {
            return Err(BuildError::NoKeys(name.to_owned()));
        }
        Ok(builder)
    }
}

impl<S> KeyPoolBuilder<S> {
    /// Adds a member. The names of all members must differ.
    pub fn member(mut self, member: Member<S>) -> Self {
        self.members.push(member);
        self
    }

    /// Adds members, as [`member`](Self::member) adds one.
    pub fn members(mut self, members: impl IntoIterator<Item = Member<S>>) -> Self {
        self.members.extend(members);
        self
    }

    /// Adds a group with its limits, and with the share of them that the pool may use.
    pub fn group(mut self, group: Group) -> Self {
        self.settings.groups.push(group);
        self
    }

    /// Makes calls use the groups in turn, regardless of their weights. By default the pool draws two groups by weight,
    /// and uses the group with the larger share of its limits left.
    pub fn round_robin(mut self, on: bool) -> Self {
        self.settings.round_robin = on;
        self
    }

    /// Sets the largest sum of moves and retries of one call. A move sends the call to another member after a refusal.
    /// A retry sends the call again after a failure.
    pub fn max_moves(mut self, moves: u32) -> Self {
        self.settings.max_moves = moves;
        self
    }

    /// Sets the retry budget, which may be shared with other services. Moves do not use the budget.
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.settings.budget = budget;
        self
    }

    /// Sets whether calls are also retried after failures that the vendor may charge for: a 5xx, a timeout, or a
    /// connection that broke off.
    pub fn retry_charged(mut self, on: bool) -> Self {
        self.settings.retry_charged = on;
        self
    }

    /// Sets the time within which the first content of a stream must arrive. If it does not, the attempt counts as a
    /// timeout of its member, and the call may be retried. With `None`, only the deadline of the call limits this time.
    pub fn first_content_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.first_content_timeout = timeout.into();
        self
    }

    /// Sets the time within which a response that is not streamed must arrive, as
    /// [`first_content_timeout`](Self::first_content_timeout) does for streams.
    pub fn response_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.response_timeout = timeout.into();
        self
    }

    /// Sets the longest time that a call waits for a member, even if its deadline is later.
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.settings.max_wait = nanos(time);
        self
    }

    /// Sets the largest number of calls that wait at the same time. A further call fails at once with `Overloaded`.
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.settings.max_waiting = calls;
        self
    }

    /// Sets the time for which a call waits for members of a tier before it also uses the next tier.
    pub fn overflow_after(mut self, time: Duration) -> Self {
        self.settings.overflow_after = nanos(time);
        self
    }

    /// Makes each call prefer the group that last served a call of the same tenant with the same beginning of the
    /// prompt, because the vendor's prompt cache of that group may hold the beginning. See
    /// [`Operation::affinity`](llm_core::Operation::affinity).
    pub fn affinity(mut self, on: bool) -> Self {
        self.settings.affinity = on;
        self
    }

    /// Sets a function that classifies errors in place of [`Verdict::of`]. If the function returns `None`,
    /// [`Verdict::of`] classifies the error.
    ///
    /// ```
    /// use llm_keypool::{KeyPool, Member, Verdict};
    ///
    /// // This proxy sends a 400 with a code of its own when a key is exhausted.
    /// let builder = KeyPool::builder()
    ///     .member(Member::new("a", "sk-a"))
    ///     .verdict(|error| (error.code() == Some("KEY_EXHAUSTED")).then_some(Verdict::RateLimited));
    /// # let _ = builder;
    /// ```
    pub fn verdict(mut self, read: impl Fn(&Error) -> Option<Verdict> + Send + Sync + 'static) -> Self {
        self.settings.verdict = Some(Box::new(read));
        self
    }

    /// Sets the receiver of the pool's [`Event`](crate::Event)s; none by default.
    pub fn on_event(mut self, sink: impl Sink) -> Self {
        self.settings.sink = Some(Box::new(sink));
        self
    }

    /// Sets the wall clock for the times in snapshots; the system's clock by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Sets the seed of random choices and pauses, so that tests are reproducible. The default seed is random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self.settings.backoff = self.settings.backoff.seeded(seed);
        self.settings.parking_backoff = self.settings.parking_backoff.seeded(seed);
        self
    }

    /// Creates the pool.
    ///
    /// # Errors
    ///
    /// There is no member, two members have the same name, a group is described twice, or a limit, share, weight,
    /// timeout or number of attempts is 0.
    ///
    /// ```
    /// use llm_keypool::{BuildError, Group, KeyPool, Member, requests_per_minute};
    ///
    /// let none = Group::new("acme").limit("gpt-4o", requests_per_minute(0));
    /// let refused = KeyPool::builder().member(Member::new("a", "sk-a").group("acme")).group(none).build();
    /// assert!(matches!(refused, Err(BuildError::Zero(_))));
    /// ```
    pub fn build(self) -> Result<KeyPool<S>, BuildError> {
        BuildError::check_settings(&self.settings)?;
        let pool = KeyPool::empty(self.settings);
        pool.replace(self.members)?;
        Ok(pool)
    }
}

impl<S> fmt::Debug for KeyPoolBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPoolBuilder").field("members", &self.members).finish_non_exhaustive()
    }
}

/// Returns the fingerprint of a key: the first eight hexadecimal digits of its BLAKE3 hash, which distinguishes keys
/// and does not reveal them.
///
/// ```
/// assert_eq!(llm_keypool::fingerprint("sk-a").len(), 8);
/// assert_ne!(llm_keypool::fingerprint("sk-a"), llm_keypool::fingerprint("sk-b"));
/// ```
pub fn fingerprint(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex()[..8].to_owned()
}
