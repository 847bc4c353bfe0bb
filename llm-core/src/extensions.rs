use std::{
    any::Any,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::call::{CallOption, Unread};

/// Values that layers add to a call or a reply, at most one of each type.
///
/// The first value takes a single allocation, so that it costs little to a layer that answers at once, such as a cache.
///
/// ```
/// use llm_core::layer::Extensions;
///
/// let mut extensions = Extensions::new();
/// assert_eq!(extensions.insert("from the router"), None);
/// assert_eq!(extensions.insert("from the cache"), Some("from the router"));
/// assert_eq!(extensions.get(), Some(&"from the cache"));
/// ```
#[derive(Clone, Default)]
pub struct Extensions {
    first: Option<Box<dyn Value>>,
    others: Vec<Box<dyn Value>>,
}

/// Header fields of an HTTP response: names and values.
pub type HeaderFields = Vec<(String, String)>;

trait Value: Any + Send + Sync {
    fn cloned(&self) -> Box<dyn Value>;
    fn header_fields(&self) -> HeaderFields;
    fn unread(&self) -> Option<Unread>;
}

/// Value, with optional functions that return its header fields for an HTTP client and its effect if no layer reads it.
struct Entry<T> {
    value: T,
    /// Function that returns the header fields that state the value to an HTTP client.
    header_fields: Option<fn(&T) -> HeaderFields>,
    /// Function that returns the effect of the option if no layer reads it; `None` for a value that is not an option.
    unread: Option<fn(&T) -> Unread>,
    is_read: AtomicBool,
}

impl<T> Entry<T> {
    fn new(value: T) -> Self {
        Self { value, header_fields: None, unread: None, is_read: AtomicBool::new(false) }
    }
}

impl<T: Clone + Send + Sync + 'static> Value for Entry<T> {
    fn cloned(&self) -> Box<dyn Value> {
        let is_read = AtomicBool::new(self.is_read.load(Ordering::Relaxed));
        let Self { header_fields, unread, .. } = *self;
        Box::new(Self { value: self.value.clone(), header_fields, unread, is_read })
    }

    fn header_fields(&self) -> HeaderFields {
        self.header_fields.map(|fields| fields(&self.value)).unwrap_or_default()
    }

    fn unread(&self) -> Option<Unread> {
        self.unread.filter(|_| !self.is_read.load(Ordering::Relaxed)).map(|unread| unread(&self.value))
    }
}

impl Clone for Box<dyn Value> {
    fn clone(&self) -> Self {
        (**self).cloned()
    }
}

impl Extensions {
    /// Creates an empty set of values, without an allocation.
    pub const fn new() -> Self {
        Self { first: None, others: Vec::new() }
    }

    /// Adds a value. Returns the value of this type that it replaces.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) -> Option<T> {
        self.put(Box::new(Entry::new(value))).and_then(into_value)
    }

    /// Adds a value to a reply, with a function that returns the header fields which state it to an HTTP client.
    /// Returns the value of this type that it replaces.
    ///
    /// ```
    /// use llm_core::layer::Extensions;
    ///
    /// #[derive(Clone)]
    /// struct Region(&'static str);
    ///
    /// let mut extensions = Extensions::new();
    /// extensions.insert_with_headers(Region("eu"), |region| vec![("x-region".into(), region.0.into())]);
    /// assert_eq!(extensions.header_fields(), [("x-region".to_owned(), "eu".to_owned())]);
    /// ```
    pub fn insert_with_headers<T: Clone + Send + Sync + 'static>(
        &mut self,
        value: T,
        header_fields: fn(&T) -> HeaderFields,
    ) -> Option<T> {
        self.put(Box::new(Entry { header_fields: Some(header_fields), ..Entry::new(value) })).and_then(into_value)
    }

    /// Adds an option to a call. The option counts as unread until a layer [gets](Self::get) it. Returns the option of
    /// this type that it replaces.
    pub fn insert_option<T: CallOption>(&mut self, option: T) -> Option<T> {
        self.put(Box::new(Entry { unread: Some(T::unread), ..Entry::new(option) })).and_then(into_value)
    }

    /// Returns the effects of the options that no layer has read. A client calls this, because it is below all layers.
    ///
    /// ```
    /// use llm_core::layer::{Extensions, Pinned, Unread};
    ///
    /// let mut extensions = Extensions::new();
    /// extensions.insert_option(Pinned::to("openai-eu"));
    /// assert!(matches!(extensions.unread_options().next(), Some(Unread::Refused { .. })));
    /// assert!(extensions.get::<Pinned>().is_some());
    /// assert_eq!(extensions.unread_options().next(), None);
    /// ```
    pub fn unread_options(&self) -> impl Iterator<Item = Unread> {
        self.first.iter().chain(&self.others).filter_map(|value| value.unread())
    }

    /// Returns the header fields of all values.
    pub fn header_fields(&self) -> HeaderFields {
        self.first.iter().chain(&self.others).flat_map(|value| value.header_fields()).collect()
    }

    /// Returns the value of type `T`; `None` if there is none. An [option](Self::insert_option) counts as read from
    /// then on.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let entry: &Entry<T> = self.iter().find_map(|value| value.downcast_ref())?;
        if entry.unread.is_some() {
            entry.is_read.store(true, Ordering::Relaxed);
        }
        Some(&entry.value)
    }

    /// Returns a mutable reference to the value of type `T`; `None` if there is none. Does not mark an option as read.
    pub fn get_mut<T: Send + Sync + 'static>(&mut self) -> Option<&mut T> {
        let values = self.first.iter_mut().chain(&mut self.others);
        let mut values = values.map(|value| -> &mut dyn Any { &mut **value });
        values.find_map(<dyn Any>::downcast_mut).map(|entry: &mut Entry<T>| &mut entry.value)
    }

    /// Removes and returns the value of type `T`; `None` if there is none.
    pub fn remove<T: Send + Sync + 'static>(&mut self) -> Option<T> {
        let at = self.iter().position(<dyn Any>::is::<Entry<T>>)?;
        let others = &mut self.others;
        let removed = match at.checked_sub(usize::from(self.first.is_some())) {
            Some(at) => others.swap_remove(at),
            None => self.first.take()?,
        };
        into_value(removed)
    }

    /// Adds all values of another set. Each replaces the value of the same type in this set.
    pub fn extend(&mut self, other: Self) {
        other.first.into_iter().chain(other.others).for_each(|value| drop(self.put(value)));
    }

    /// Returns the number of values, each of another type.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns `true` if there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = &dyn Any> {
        self.first.iter().chain(&self.others).map(|value| -> &dyn Any { &**value })
    }

    fn put(&mut self, value: Box<dyn Value>) -> Option<Box<dyn Value>> {
        let wanted = (*value).type_id();
        if let Some(known) = self.first.iter_mut().chain(&mut self.others).find(|known| (***known).type_id() == wanted)
        {
            return Some(std::mem::replace(known, value));
        }
        match &self.first {
            None => self.first = Some(value),
            Some(_) => self.others.push(value),
        }
        None
    }
}

/// Takes the value, which has type `T`, out of its box.
fn into_value<T: 'static>(value: Box<dyn Value>) -> Option<T> {
    let value: Box<dyn Any> = value;
    value.downcast::<Entry<T>>().ok().map(|entry| entry.value)
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_hold_one_value_per_type() {
        let mut extensions = Extensions::new();
        assert!(extensions.is_empty());
        assert_eq!((extensions.insert(1_u8), extensions.insert("a"), extensions.insert('x')), (None, None, None));
        assert_eq!((extensions.insert(2_u8), extensions.insert("b"), extensions.len()), (Some(1), Some("a"), 3));
        *extensions.get_mut::<char>().unwrap() = 'y';
        assert_eq!(
            (extensions.remove::<u8>(), extensions.remove::<u8>(), extensions.get::<u8>()),
            (Some(2), None, None)
        );
        assert_eq!((extensions.remove(), extensions.get(), extensions.len()), (Some("b"), Some(&'y'), 1));
    }

    #[test]
    fn extensions_extend_replaces_equal_types() {
        let (mut to, mut from) = (Extensions::new(), Extensions::new());
        to.insert(1_u8);
        to.insert("kept");
        from.insert('c');
        from.insert(2_u8);
        to.extend(from.clone());
        assert_eq!((to.get(), to.get(), to.get(), to.len()), (Some(&2_u8), Some(&"kept"), Some(&'c'), 3));
        assert_eq!((from.len(), from.get::<u8>()), (2, Some(&2)), "a clone is another set");
    }
}
