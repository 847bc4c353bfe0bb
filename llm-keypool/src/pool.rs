use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    BuildError, Member,
    settings::Settings,
    state::State,
    telemetry,
    time::{MINUTE, Time, nanos},
};

/// Pool of members: services of one vendor or several, or keys for any client. Clones share it.
///
/// As a tower service it sends each call to a member that has room, and to another one if that member refuses it.
/// Without tower, [`run`](Self::run) does the same with keys, and [`lease`](Self::lease) leases a key for a single
/// attempt.
///
/// ```
/// use llm_keypool::{KeyPool, Member};
///
/// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).member(Member::new("b", "sk-b")).build()?;
/// assert_eq!(pool.status().members.len(), 2);
/// # Ok::<_, llm_keypool::BuildError>(())
/// ```
pub struct KeyPool<S>(pub(crate) Arc<Inner<S>>);

/// Latest time to which a timer is set: thirty years after the pool's start, because an `Instant` cannot represent
/// every later time.
const FAR: Time = 30 * 365 * 24 * 60 * MINUTE;

pub(crate) struct Inner<S> {
    shared: Mutex<Shared<S>>,
    start: Instant,
    pub(crate) settings: Arc<Settings>,
}

/// State machine, and the members' services.
pub(crate) struct Shared<S> {
    pub(crate) state: State,
    /// Members by id; `None` for a removed member.
    pub(crate) members: Vec<Option<Arc<Member<S>>>>,
}

impl<S> KeyPool<S> {
    /// Creates a pool without members.
    pub(crate) fn empty(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let shared = Shared { state: State::new(Arc::clone(&settings)), members: Vec::new() };
        Self(Arc::new(Inner { shared: Mutex::new(shared), start: Instant::now(), settings }))
    }

    /// Replaces the members while the pool runs, by name.
    ///
    /// Running calls end normally. Added members take one call at a time for the first second. A member with a known
    /// name keeps its usage and its failures. It stays parked because of its key only if both fingerprints are known
    /// and equal ([`Member::fingerprint`]). Groups keep their quotas, and their parkings because of limits or a lack of
    /// money.
    ///
    /// ```
    /// use llm_keypool::{KeyPool, Member};
    ///
    /// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).member(Member::new("b", "sk-b")).build()?;
    /// pool.replace([Member::new("b", "sk-b"), Member::new("c", "sk-c")])?;
    /// let names: Vec<_> = pool.status().members.into_iter().map(|member| member.name).collect();
    /// assert!(names.contains(&"c".into()) && !names.contains(&"a".into()));
    /// # Ok::<_, llm_keypool::BuildError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`KeyPoolBuilder::build`](crate::KeyPoolBuilder::build). The pool then stays unchanged.
    pub fn replace(&self, members: impl IntoIterator<Item = Member<S>>) -> Result<(), BuildError> {
        let members: Vec<_> = members.into_iter().map(Arc::new).collect();
        BuildError::check(&members)?;
        let specs = members.iter().map(|member| member.spec.clone()).collect();
        // Dropping a service runs code of the application, so it must not happen inside the lock.
        let _before = self.0.with(|Shared { state, members: all }, now| {
            let before = std::mem::take(all);
            let ids = state.replace(specs, now);
            all.resize_with(state.members.len(), || None);
            ids.into_iter().zip(members).for_each(|(id, member)| all[id as usize] = Some(member));
            before
        });
        Ok(())
    }

    /// Makes a member take calls again. This ends all parkings of the member itself: for a rejected key, missing
    /// permissions, failures, a rate limit of the key, or by [`disable_for`](Self::disable_for). Parkings of its group
    /// remain. Returns `false` if there is no member of this name.
    ///
    /// ```
    /// use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};
    ///
    /// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).build()?;
    /// let request = LeaseRequest::new("gpt-4o");
    /// pool.try_lease(&request)?.report(Outcome::status(401, None));
    /// assert!(pool.try_lease(&request).is_err());
    /// // The vendor says that the key is valid again.
    /// assert!(pool.reset("a") && pool.try_lease(&request).is_ok());
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    pub fn reset(&self, member: &str) -> bool {
        self.with_member(member, State::reset)
    }

    /// Disables a member for a time. Its running attempts end normally. Returns `false` if there is no member of this
    /// name.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_keypool::{KeyPool, Member};
    ///
    /// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).build()?;
    /// assert!(pool.disable_for("a", Duration::from_secs(3_600)));
    /// assert!(pool.enable("a") && !pool.enable("b"));
    /// # Ok::<_, llm_keypool::BuildError>(())
    /// ```
    pub fn disable_for(&self, member: &str, time: Duration) -> bool {
        self.with_member(member, |state, id, now| state.disable(id, now.saturating_add(nanos(time)), now))
    }

    /// Enables a member that [`disable_for`](Self::disable_for) disabled. Returns `false` if there is no member of this
    /// name.
    pub fn enable(&self, member: &str) -> bool {
        self.with_member(member, State::enable)
    }

    fn with_member(&self, name: &str, change: impl FnOnce(&mut State, u32, Time)) -> bool {
        self.0.with(|Shared { state, .. }, now| {
            let id = state.member_ids.get(name).copied();
            id.map(|id| change(state, id, now)).is_some()
        })
    }
}

impl<S> Inner<S> {
    /// Changes the state, then emits events and wakes waiting calls outside of the lock.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut Shared<S>, Time) -> R) -> R {
        let now = nanos(self.start.elapsed());
        let mut shared = self.lock();
        let result = change(&mut shared, now);
        let effects = shared.state.take_effects();
        drop(shared);
        let Some((events, wakes)) = effects else { return result };
        for event in &events {
            telemetry::event(event);
            if let Some(sink) = &self.settings.sink {
                sink.emit(event);
            }
        }
        wakes.iter().for_each(|waiter| waiter.notify_one());
        result
    }

    /// Converts an instant to nanoseconds since the pool's start; 0 for an earlier instant.
    pub(crate) fn time_of(&self, instant: std::time::Instant) -> Time {
        nanos(instant.saturating_duration_since(self.start.into_std()))
    }

    /// Converts a time of the pool to an instant, at most [`FAR`] after the pool's start.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_nanos(time.min(FAR))
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        // No code of the application runs inside the state machine, and none of its statements panics midway, so the
        // state is consistent even if the lock is poisoned.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for KeyPool<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for KeyPool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPool").field("members", &self.0.lock().state.member_ids.len()).finish_non_exhaustive()
    }
}
