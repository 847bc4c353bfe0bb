use std::{fmt, sync::Arc};

/// Member of a pool: a service or a key, with its name and its settings.
///
/// | setting | default |
/// |---|---|
/// | [`group`](Self::group) | a group of its own |
/// | [`tier`](Self::tier) | 0, the first |
/// | [`weight`](Self::weight) | 1 |
/// | [`max_in_flight`](Self::max_in_flight) | no limit |
/// | [`serves`](Self::serves) | every model, by the requested name |
///
/// ```
/// use llm_keypool::Member;
///
/// let member = Member::new("acme-1", "sk-secret").group("acme").serves(["gpt-4o"]).weight(2);
/// assert!(!format!("{member:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct Member<S> {
    pub(crate) spec: MemberSpec,
    pub(crate) service: S,
}

/// Name and settings of a member.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberSpec {
    pub(crate) name: Arc<str>,
    /// Name of the member's group; `None` if the member forms a group of its own. The pool moves such a member to
    /// another group if the vendor's responses state the same group name for both.
    pub(crate) group: Option<Arc<str>>,
    pub(crate) tier: u32,
    pub(crate) weight: u32,
    pub(crate) max_in_flight: u32,
    /// Models that the member serves, with its own names for them; `None` if it serves every model under the requested
    /// name.
    names: Option<Vec<ModelName>>,
    pub(crate) fingerprint: Option<Arc<str>>,
}

/// Model that a member serves, with the member's own name for that model, or with the name of the fallback model that
/// answers in its place.
#[derive(Clone, Debug)]
struct ModelName {
    asked: Arc<str>,
    own: Arc<str>,
    stand_in: bool,
}

/// Largest weight of a member.
pub(crate) const MAX_WEIGHT: u32 = 100;

impl<S> Member<S> {
    /// Creates a member. Its name appears in statuses, snapshots, events, spans and errors, so it must not be the key.
    pub fn new(name: impl Into<Arc<str>>, service: S) -> Self {
        let spec = MemberSpec { name: name.into(), weight: 1, max_in_flight: u32::MAX, ..MemberSpec::default() };
        Self { spec, service }
    }

    /// Sets the group: the account, organisation or project whose quota, money and prompt cache the member shares.
    #[must_use]
    pub fn group(mut self, name: impl Into<Arc<str>>) -> Self {
        self.spec.group = Some(name.into());
        self
    }

    /// Sets the tier. Members of a tier are used if no member of an earlier tier can serve the call, or if the call
    /// would wait too long for such a member ([`overflow_after`](crate::KeyPoolBuilder::overflow_after)).
    #[must_use]
    pub fn tier(mut self, tier: u32) -> Self {
        self.spec.tier = tier;
        self
    }

    /// Sets the weight, from 1 to 100; more counts as 100, and 0 is an error of the build. Groups are drawn in
    /// proportion to the sum of their members' weights. In a group, the member with the fewest attempts in flight for
    /// its weight is chosen.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.spec.weight = weight.min(MAX_WEIGHT);
        self
    }

    /// Sets the largest number of attempts that run at the same time. The attempt of a stream runs until the stream
    /// ends. 0 is an error of the build. To stop calls to the member for a time, use
    /// [`KeyPool::disable_for`](crate::KeyPool::disable_for).
    #[must_use]
    pub fn max_in_flight(mut self, attempts: u32) -> Self {
        self.spec.max_in_flight = attempts;
        self
    }

    /// Adds models that the member serves under the requested names. The member then serves only the models that this
    /// method, [`serves_as`](Self::serves_as) or [`stands_in`](Self::stands_in) states.
    #[must_use]
    pub fn serves<M: Into<Arc<str>>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        let models = models.into_iter().map(Into::into);
        let names = models.map(|model: Arc<str>| ModelName { asked: Arc::clone(&model), own: model, stand_in: false });
        self.spec.names.get_or_insert_default().extend(names);
        self
    }

    /// States the member's own name for a model, such as the name of a deployment. The member then serves only the
    /// models that this method, [`serves`](Self::serves) or [`stands_in`](Self::stands_in) states.
    ///
    /// ```
    /// use llm_keypool::{KeyPool, LeaseRequest, Member};
    ///
    /// let member = Member::new("azure", "key").serves_as("gpt-4o", "our-deployment");
    /// let pool = KeyPool::builder().member(member).build()?;
    /// assert_eq!(pool.try_lease(&LeaseRequest::new("gpt-4o"))?.model(), Some("our-deployment"));
    /// assert!(pool.try_lease(&LeaseRequest::new("gpt-4o-mini")).is_err());
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    #[must_use]
    pub fn serves_as(self, asked: impl Into<Arc<str>>, own: impl Into<Arc<str>>) -> Self {
        self.named(asked.into(), own.into(), false)
    }

    /// States a fallback: the member's model `own` may answer calls for the model `asked`. Replies are marked as
    /// fallbacks, and a call with [`NoFallback`](llm_core::layer::NoFallback) in its extensions is not sent to the
    /// fallback.
    ///
    /// ```
    /// use llm_keypool::{KeyPool, LeaseRequest, Member};
    ///
    /// let main = Member::new("openai", "sk-a").serves(["gpt-4o-mini"]);
    /// let spare = Member::new("anthropic", "sk-b").tier(1).stands_in("gpt-4o-mini", "claude-haiku-4-5");
    /// let pool = KeyPool::builder().member(main).member(spare).build()?;
    /// pool.disable_for("openai", std::time::Duration::from_secs(60));
    /// let lease = pool.try_lease(&LeaseRequest::new("gpt-4o-mini"))?;
    /// assert_eq!((lease.model(), lease.is_fallback()), (Some("claude-haiku-4-5"), true));
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    #[must_use]
    pub fn stands_in(self, asked: impl Into<Arc<str>>, own: impl Into<Arc<str>>) -> Self {
        self.named(asked.into(), own.into(), true)
    }

    /// Sets the fingerprint of the member's key ([`fingerprint`](crate::fingerprint)). The pool compares fingerprints
    /// to find out if a later member of the same name has the same key.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: impl Into<Arc<str>>) -> Self {
        self.spec.fingerprint = Some(fingerprint.into());
        self
    }

    fn named(mut self, asked: Arc<str>, own: Arc<str>, stand_in: bool) -> Self {
        self.spec.names.get_or_insert_default().push(ModelName { asked, own, stand_in });
        self
    }
}

impl MemberSpec {
    /// Returns the name of the member's group, or the member's own name if it forms a group of its own.
    pub(crate) fn group_name(&self) -> &Arc<str> {
        self.group.as_ref().unwrap_or(&self.name)
    }

    /// Returns the member's own name for the model that answers calls for `model`, and `true` if that is a fallback
    /// model; `None` if the member does not serve the model.
    pub(crate) fn serves(&self, model: &Arc<str>) -> Option<(Arc<str>, bool)> {
        let Some(names) = &self.names else { return Some((Arc::clone(model), false)) };
        match names.iter().find(|name| name.asked == *model) {
            Some(name) => Some((Arc::clone(&name.own), name.stand_in)),
            None => names.iter().any(|name| name.own == *model).then(|| (Arc::clone(model), false)),
        }
    }

    /// Returns the requested names and the own names of the models in the member's settings.
    pub(crate) fn models(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter().flatten().flat_map(|name| [&name.asked, &name.own])
    }
}

impl<S> fmt::Debug for Member<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_serves_named_models_by_their_names() {
        let serves = |member: &Member<()>, model: &str| {
            member.spec.serves(&model.into()).map(|(own, stand_in)| (own.to_string(), stand_in))
        };
        let any = Member::new("a", ());
        assert_eq!(serves(&any, "m"), Some(("m".into(), false)));
        let some = any.serves(["m"]).serves_as("n", "our-n").stands_in("o", "p");
        assert_eq!(serves(&some, "m"), Some(("m".into(), false)));
        assert_eq!(serves(&some, "n"), Some(("our-n".into(), false)));
        assert_eq!(serves(&some, "o"), Some(("p".into(), true)));
        assert_eq!(serves(&some, "p"), Some(("p".into(), false)));
        assert_eq!(serves(&some, "q"), None);
        assert_eq!(serves(&Member::new("a", ()).stands_in("o", "p"), "q"), None);
    }
}
