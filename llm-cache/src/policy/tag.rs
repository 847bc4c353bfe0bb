//! Tags of entries, by which they are invalidated together.

use std::{fmt, sync::Arc};

use llm_core::Tenant;

/// Tag of entries, by which they are invalidated together: [`Cache::invalidate`](crate::Cache::invalidate).
///
/// Every entry has the tags of its tenant, its model and the labels of the call that paid for it. A call can add more
/// ([`Directive::tag`](crate::Directive::tag)). A later call with other labels or tags gets the same entry, and adds no
/// tags to it. Labels do not separate entries; only different requests do, such as those of a new version of a prompt.
///
/// ```
/// use llm_cache::{Directive, Tag};
/// use llm_core::{Call, ChatRequest};
///
/// let call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Summarize ticket 7."))
///     .with_option(Directive::new().tag(Tag::named("ticket-7")));
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
    /// Kind that another version of this crate wrote. The name of the tag is then its whole text.
    #[cfg(feature = "at-rest")]
    Unknown,
}

impl Tag {
    /// Returns the tag of all entries of a tenant.
    pub fn tenant(name: &str) -> Self {
        Self::new(Kind::Tenant, name)
    }

    /// Returns the tag of all entries of a model. `name` is the name of the model in the calls.
    pub fn model(name: &str) -> Self {
        Self::new(Kind::Model, name)
    }

    /// Returns the tag of all entries of calls with this label, such as a version of a prompt.
    pub fn label(name: &str, value: &str) -> Self {
        // The length of the name separates it from the value, because either may contain any separator.
        Self::new(Kind::Label, format!("{}:{name}={value}", name.len()))
    }

    /// Returns the tag with this name, which calls add to their entries by [`Directive::tag`](crate::Directive::tag).
    pub fn named(name: &str) -> Self {
        Self::new(Kind::Named, name)
    }

    /// Returns the tag of a tenant, without a copy of its name.
    pub(crate) fn of_tenant(tenant: &Tenant) -> Self {
        Self::new(Kind::Tenant, tenant)
    }

    /// Returns the tag of a model, without a copy of its name.
    pub(crate) fn of_model(model: Arc<str>) -> Self {
        Self::new(Kind::Model, model)
    }

    fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }

    pub(crate) fn len(&self) -> usize {
        self.name.len()
    }
}

impl Kind {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Tenant, "tenant:"), (Self::Model, "model:"), (Self::Label, "label:"), (Self::Named, "tag:")];

    /// Returns the text before the name, such as `tenant:`.
    fn prefix(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, prefix)| *prefix)
    }
}

#[cfg(feature = "at-rest")]
impl Tag {
    /// Parses the text of a tag.
    pub(crate) fn from_text(text: &str) -> Self {
        let known = |(kind, prefix): &(Kind, &str)| Some(Self::new(*kind, text.strip_prefix(prefix)?));
        Kind::ALL.iter().find_map(known).unwrap_or_else(|| Self::new(Kind::Unknown, text))
    }
}

/// Writes the kind of the tag, a colon, and the name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "at-rest")]
    fn tag_written_and_read_is_equal() {
        let tags = [Tag::tenant("a:b"), Tag::model(""), Tag::label("k", "v"), Tag::named("tenant:a")];
        let unknown = Tag::from_text("other:x");
        for (tag, text) in
            tags.iter().chain([&unknown]).zip(["tenant:a:b", "model:", "label:1:k=v", "tag:tenant:a", "other:x"])
        {
            assert_eq!((tag.to_string().as_str(), &Tag::from_text(text)), (text, tag));
        }
    }

    #[test]
    fn tag_of_label_resists_forged_value() {
        assert_ne!(Tag::label("a", "b=c"), Tag::label("a=b", "c"));
        assert_ne!(Tag::named("x"), Tag::tenant("x"));
    }
}
