use std::{fmt, future::Future, hash::BuildHasher, sync::Arc, time::Instant};

use llm_core::{
    Error, Priority, Tenant,
    layer::{CallDeadline, NoFallback, Pinned},
};

use crate::{
    KeyPool, Outcome, error,
    pool::Inner,
    running::{Course, Failed, Running},
    state::choice::{Turn, Want},
};

/// Request for a key: the model, and what else decides the choice.
///
/// ```
/// use llm_core::Priority;
/// use llm_keypool::LeaseRequest;
///
/// let request = LeaseRequest::new("gpt-4o").tokens(1_200, 500).priority(Priority::Background);
/// # let _ = request;
/// ```
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    model: Arc<str>,
    input: u64,
    output: u64,
    priority: Priority,
    deadline: Option<Instant>,
    tenant: Option<Tenant>,
    affinity: u64,
    pinned: Option<Pinned>,
    no_fallback: bool,
    repeatable: bool,
}

impl LeaseRequest {
    /// Creates a request for a model, of no tokens.
    pub fn new(model: impl Into<Arc<str>>) -> Self {
        Self {
            model: model.into(),
            input: 0,
            output: 0,
            priority: Priority::default(),
            deadline: None,
            tenant: None,
            affinity: 0,
            pinned: None,
            no_fallback: false,
            repeatable: true,
        }
    }

    /// Sets the input tokens and the largest number of output tokens.
    #[must_use]
    pub fn tokens(self, input: u64, output: u64) -> Self {
        Self { input, output, ..self }
    }

    /// Sets the priority, by which requests wait.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Sets the time until which the request may wait.
    #[must_use]
    pub fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Sets the tenant and a number that is equal for requests with the same beginning, if the pool has
    /// [`affinity`](crate::KeyPoolBuilder::affinity).
    #[must_use]
    pub fn affinity(self, tenant: impl Into<Tenant>, beginning: u64) -> Self {
        Self { tenant: Some(tenant.into()), affinity: beginning, ..self }
    }

    /// Pins the request to a group.
    #[must_use]
    pub fn pinned(self, group: Pinned) -> Self {
        Self { pinned: Some(group), ..self }
    }

    /// Refuses models that stand in.
    #[must_use]
    pub fn no_fallback(self, _: NoFallback) -> Self {
        Self { no_fallback: true, ..self }
    }

    /// States if the request may be sent again after a failure for which the vendor may have served it; it may by default.
    #[must_use]
    pub fn repeatable(self, repeatable: bool) -> Self {
        Self { repeatable, ..self }
    }
}

/// Key that is leased for one attempt. [Report](Self::report) the attempt's outcome; a lease that is dropped says nothing of
/// its key.
pub struct Lease<K> {
    key: Arc<K>,
    running: Running<K>,
}

impl<K> Lease<K> {
    /// Returns the key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Returns the name of the member.
    pub fn member(&self) -> &str {
        &self.running.attempt().member
    }

    /// Returns the member's own name for the model, if it has one.
    pub fn model(&self) -> Option<&str> {
        self.running.attempt().renamed.as_deref()
    }

    /// Returns `true` if the model stands in for the one that was requested.
    pub fn is_fallback(&self) -> bool {
        self.running.attempt().stand_in
    }

    /// Reports the outcome of the attempt.
    pub fn report(self, outcome: Outcome) {
        self.settle(outcome);
    }

    /// Reports the outcome, and returns what failed.
    fn settle(self, outcome: Outcome) -> Option<Failed> {
        let (error, usage, limits) = outcome.into_parts();
        let Some(error) = error else {
            self.running.succeed(limits.as_deref(), usage.as_ref());
            return None;
        };
        let error = match limits {
            Some(limits) => error.with_limits(limits),
            None => error,
        };
        let (member, stand_in) = (Arc::clone(&self.running.attempt().member), self.is_fallback());
        let (verdict, is_doubted) = self.running.fail(&error);
        Some(Failed { member, stand_in, verdict, is_doubted, error })
    }
}

impl<K> fmt::Debug for Lease<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("member", &self.member()).finish_non_exhaustive()
    }
}

impl<K> KeyPool<K> {
    /// Leases a key, and waits for one if none has room.
    ///
    /// ```
    /// # tokio_test::block_on(async {
    /// use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};
    ///
    /// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).member(Member::new("b", "sk-b")).build()?;
    /// let lease = pool.lease(&LeaseRequest::new("gpt-4o")).await?;
    /// assert!(lease.key().starts_with("sk-"));
    /// // … the request, by any client …
    /// lease.report(Outcome::status(200, None));
    /// # Ok::<_, llm_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// `RateLimited` if no key returns in time, `Unavailable` if none returns by time.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Lease<K>, Error> {
        let (mut want, deadline) = self.0.want(request);
        let (running, key) = self.0.acquire(&mut want, &deadline).await?;
        Ok(Lease { key, running })
    }

    /// Leases a key if one has room now.
    ///
    /// # Errors
    ///
    /// `RateLimited` if none has room now, `Unavailable` if none returns by time.
    pub fn try_lease(&self, request: &LeaseRequest) -> Result<Lease<K>, Error> {
        let (mut want, deadline) = self.0.want(request);
        self.0.with(|shared, now| {
            want.arrived = now;
            shared.state.resolve(&mut want, now);
            let turn = match shared.state.queued(&want) {
                Some(first) => Turn::Wait(first),
                None => shared.state.choose(&want, 0, now),
            };
            match turn {
                Turn::Go(attempt) => {
                    let key = shared.service(&attempt);
                    Ok(Lease { key, running: Running::new(Arc::clone(&self.0), attempt, deadline) })
                }
                Turn::Never => Err(error::unavailable(&shared.state, want.model, want.pinned.as_ref())),
                Turn::Wait(at) | Turn::Prefer(at) => Err(error::limited_until(&shared.state, want.model, at, now)),
            }
        })
    }

    /// Runs an attempt with a leased key, and moves or retries it with others as long as that may help.
    ///
    /// ```
    /// # tokio_test::block_on(async {
    /// use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};
    ///
    /// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).member(Member::new("b", "sk-b")).build()?;
    /// let request = LeaseRequest::new("gpt-4o");
    /// let text = pool.run(&request, |key| async move {
    ///     // The request, by any client. This vendor knows one of the keys.
    ///     if key == "sk-b" { Ok("hello") } else { Err(Outcome::status(401, None)) }
    /// });
    /// assert_eq!(text.await?, "hello");
    /// # Ok::<_, llm_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// The attempt's error is an [`Outcome`], or an [`Error`] whose kind says what the vendor did.
    ///
    /// # Errors
    ///
    /// As [`lease`](Self::lease); or the error of the last attempt if another one would not help, with the charge of all.
    pub async fn run<T, E, F, A>(&self, request: &LeaseRequest, mut attempt: F) -> Result<T, Error>
    where
        K: Clone,
        E: Into<Outcome>,
        F: FnMut(K) -> A,
        A: Future<Output = Result<T, E>>,
    {
        let (mut want, deadline) = self.0.want(request);
        let mut course = Course::new(false, request.repeatable, None);
        self.0.settings.budget.deposit();
        loop {
            let (running, key) = match self.0.acquire(&mut want, &deadline).await {
                Ok(acquired) => acquired,
                Err(error) => return Err(course.ended(error)),
            };
            let lease = Lease { key, running };
            let outcome = match attempt(K::clone(&lease.key)).await {
                Ok(value) => {
                    lease.report(Outcome::success());
                    return Ok(value);
                }
                Err(outcome) => outcome.into(),
            };
            match lease.settle(outcome) {
                Some(failed) => course.next(&self.0, &mut want, failed).await?,
                // Reported as a success, and yet without a value: the caller knows better.
                None => return Err(Error::invalid("the attempt returned an outcome that is no error")),
            }
        }
    }
}

impl<K> Inner<K> {
    fn want(&self, request: &LeaseRequest) -> (Want, CallDeadline) {
        let LeaseRequest { input, output, .. } = *request;
        let tenant = request.tenant.as_ref().map_or("", Tenant::as_str);
        let want = self.want_of(&request.model, [1, input + output, input, output], tenant, request.affinity);
        let (pinned, no_fallback) = (request.pinned.clone(), request.no_fallback);
        let want = Want { priority: request.priority, pinned, no_fallback, ..want };
        (want, request.deadline.into())
    }

    /// Returns the demand of a call of default priority.
    pub(crate) fn want_of(&self, model: &Arc<str>, amounts: [u64; 4], tenant: &str, beginning: u64) -> Want {
        let affinity = match beginning {
            0 => 0,
            _ if !self.settings.affinity => 0,
            _ => foldhash::fast::FixedState::default().hash_one((tenant, &**model, beginning)) | 1,
        };
        Want {
            name: Arc::clone(model),
            model: Want::UNRESOLVED,
            amounts,
            priority: Priority::default(),
            arrived: 0,
            affinity,
            pinned: None,
            no_fallback: false,
            exclude: Vec::new(),
            avoid: None,
        }
    }
}
