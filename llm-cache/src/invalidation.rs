//! Tags, and the times at which they were invalidated.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use llm_core::{Call, Operation};

use crate::Directive;

/// Tag of entries, by which they are invalidated together: [`Cache::invalidate`](crate::Cache::invalidate).
///
/// Every entry has the tags of its tenant, its model and the labels of the call that paid for it. A call can add more
/// ([`Directive::tag`]). A later call with other labels or tags gets the same entry, and adds none. Where labels must
/// separate entries, make the requests differ too: a new version of a prompt does.
///
/// ```
/// use llm_cache::{Directive, Tag};
/// use llm_core::{Call, ChatRequest};
///
/// let mut call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Summarize ticket 7."));
/// call.extensions.insert(Directive::new().tag(Tag::named("ticket-7")));
/// assert_eq!(Tag::named("ticket-7").to_string(), "tag:ticket-7");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag {
    kind: Kind,
    name: Arc<str>,
}

/// Kind of a tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Tenant,
    Model,
    Label,
    Named,
    /// A kind that another version wrote. The name is the whole text.
    #[cfg(feature = "at-rest")]
    Unknown,
}

impl Tag {
    /// Tags all entries of a tenant.
    pub fn tenant(name: &str) -> Self {
        Self::new(Kind::Tenant, name)
    }

    /// Tags all entries of a model, as the calls name it.
    pub fn model(name: &str) -> Self {
        Self::new(Kind::Model, name)
    }

    /// Tags all entries of calls with this label, such as a version of a prompt.
    pub fn label(name: &str, value: &str) -> Self {
        // The length keeps apart what a separator could not.
        Self::new(Kind::Label, format!("{}:{name}={value}", name.len()))
    }

    /// Tags all entries of calls that named this tag.
    pub fn named(name: &str) -> Self {
        Self::new(Kind::Named, name)
    }

    fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }

    /// Returns the tags of a call's response.
    pub(crate) fn of<T: Operation>(call: &Call<T>, directive: &Directive) -> Arc<[Self]> {
        let tenant = || Self::new(Kind::Tenant, &call.tenant);
        let model = (!call.body.model().is_empty()).then(|| Self::new(Kind::Model, call.body.shared_model()));
        let model = match model {
            // The most calls have these two only, which take one allocation.
            Some(model) if call.labels.iter().next().is_none() && directive.tags.is_empty() => {
                return Arc::new([tenant(), model]);
            }
            model => model,
        };
        let labels = call.labels.iter().map(|(name, value)| Self::label(name, value));
        [tenant()].into_iter().chain(model).chain(labels).chain(directive.tags.iter().cloned()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.name.len()
    }
}

impl Kind {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Tenant, "tenant:"), (Self::Model, "model:"), (Self::Label, "label:"), (Self::Named, "tag:")];

    /// Returns the text before the name.
    fn prefix(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, prefix)| *prefix)
    }
}

#[cfg(feature = "at-rest")]
impl Tag {
    /// Returns the tag as it is written at rest.
    pub(crate) fn text(&self) -> Arc<str> {
        self.to_string().into()
    }

    /// Reads a tag that was written.
    pub(crate) fn from_text(text: Arc<str>) -> Self {
        let known = |(kind, prefix): &(Kind, &str)| Some(Self::new(*kind, text.strip_prefix(prefix)?));
        Kind::ALL.iter().find_map(known).unwrap_or(Self { kind: Kind::Unknown, name: text })
    }
}

/// Kind of the tag, a colon, and its name.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.prefix())?;
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

/// Timestamp: nanoseconds since 1970, and later than every timestamp issued before, whatever the clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(u64);

#[cfg(feature = "at-rest")]
impl Timestamp {
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
}

/// Times of the last invalidations. An entry is valid if its call began after that of each of its tags.
#[derive(Default)]
pub(crate) struct InvalidationEpochs {
    last: AtomicU64,
    /// False until something is invalidated, so that hits need no lock.
    any: AtomicBool,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    /// Entries of calls that began before are invalid.
    floor: Timestamp,
    tags: HashMap<Tag, Timestamp>,
}

impl InvalidationEpochs {
    /// Largest number of tags that are remembered one by one. One more invalidates all entries before it.
    const MOST: usize = 10_000;

    /// Issues a timestamp.
    pub(crate) fn timestamp(&self, now: SystemTime) -> Timestamp {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX - 1);
        let next = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).unwrap_or_default();
        Timestamp(now.max(last.saturating_add(1)))
    }

    /// Makes all later timestamps later than this one, which a store remembers.
    pub(crate) fn advance(&self, to: Timestamp) {
        self.last.fetch_max(to.0, Ordering::AcqRel);
    }

    /// Invalidates the entries with this tag whose calls began before now.
    pub(crate) fn invalidate(&self, tag: Tag, now: SystemTime) -> Timestamp {
        let timestamp = self.timestamp(now);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.tags.len() >= Self::MOST && !table.tags.contains_key(&tag) {
            table.tags.clear();
            table.floor = timestamp;
        }
        table.tags.insert(tag, timestamp);
        self.any.store(true, Ordering::Release);
        timestamp
    }

    /// Invalidates all entries whose calls began before now.
    pub(crate) fn invalidate_all(&self, now: SystemTime) -> Timestamp {
        let timestamp = self.timestamp(now);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.tags.clear();
        table.floor = timestamp;
        self.any.store(true, Ordering::Release);
        timestamp
    }

    /// True if an entry with these tags, of a call that began at this timestamp, is still valid.
    pub(crate) fn allow(&self, tags: &[Tag], started_at: Timestamp) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return true;
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        started_at > table.floor
            && tags.iter().filter_map(|tag| table.tags.get(tag)).all(|dropped| started_at > *dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    #[test]
    fn invalidation_orders_calls_even_if_clock_stands() {
        let epochs = InvalidationEpochs::default();
        let tags = [Tag::tenant("a"), Tag::model("m")];
        let before = epochs.timestamp(NOW);
        assert!(epochs.allow(&tags, before));
        epochs.invalidate(Tag::model("m"), NOW);
        let after = epochs.timestamp(NOW);
        assert!(!epochs.allow(&tags, before) && epochs.allow(&tags, after));
        assert!(epochs.allow(&[Tag::tenant("a")], before), "other tags are not touched");
        epochs.invalidate_all(NOW);
        assert!(!epochs.allow(&[], after));
    }

    #[test]
    fn invalidation_with_too_many_tags_drops_everything() {
        let epochs = InvalidationEpochs::default();
        let old = epochs.timestamp(NOW);
        epochs.invalidate(Tag::named("mine"), NOW);
        for n in 0..2 * InvalidationEpochs::MOST {
            epochs.invalidate(Tag::named(&n.to_string()), NOW);
        }
        assert!(!epochs.allow(&[Tag::named("mine")], old));
        assert!(epochs.table.read().unwrap().tags.len() <= InvalidationEpochs::MOST);
    }

    #[test]
    #[cfg(feature = "at-rest")]
    fn tag_written_and_read_is_equal() {
        let tags = [Tag::tenant("a:b"), Tag::model(""), Tag::label("k", "v"), Tag::named("tenant:a")];
        let unknown = Tag::from_text("other:x".into());
        for (tag, text) in
            tags.iter().chain([&unknown]).zip(["tenant:a:b", "model:", "label:1:k=v", "tag:tenant:a", "other:x"])
        {
            assert_eq!((tag.to_string().as_str(), &Tag::from_text(text.into())), (text, tag));
        }
    }

    #[test]
    fn tag_of_label_cannot_be_forged_by_value() {
        assert_ne!(Tag::label("a", "b=c"), Tag::label("a=b", "c"));
        assert_ne!(Tag::named("x"), Tag::tenant("x"));
    }
}
