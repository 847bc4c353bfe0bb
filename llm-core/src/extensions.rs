use std::{any::Any, fmt};

/// Values that layers add to a call or a reply, at most one of each type.
///
/// The first value takes one allocation, so a layer that answers at once can afford one.
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

trait Value: Any + Send + Sync {
    fn cloned(&self) -> Box<dyn Value>;
}

impl<T: Clone + Send + Sync + 'static> Value for T {
    fn cloned(&self) -> Box<dyn Value> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Value> {
    fn clone(&self) -> Self {
        (**self).cloned()
    }
}

impl Extensions {
    /// Makes an empty set of values, without an allocation.
    pub const fn new() -> Self {
        Self { first: None, others: Vec::new() }
    }

    /// Adds a value. Returns the value of this type that it replaces.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) -> Option<T> {
        let replaced: Box<dyn Any> = self.put(Box::new(value))?;
        replaced.downcast().ok().map(|value| *value)
    }

    /// Returns the value of a type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.iter().find_map(|value| value.downcast_ref())
    }

    /// Returns the value of a type, to be changed.
    pub fn get_mut<T: Send + Sync + 'static>(&mut self) -> Option<&mut T> {
        let values = self.first.iter_mut().chain(&mut self.others);
        values.map(|value| -> &mut dyn Any { &mut **value }).find_map(<dyn Any>::downcast_mut)
    }

    /// Takes the value of a type out.
    pub fn remove<T: Send + Sync + 'static>(&mut self) -> Option<T> {
        let at = self.iter().position(<dyn Any>::is::<T>)?;
        let others = &mut self.others;
        let removed: Box<dyn Any> = match at.checked_sub(usize::from(self.first.is_some())) {
            Some(at) => others.swap_remove(at),
            None => self.first.take()?,
        };
        removed.downcast().ok().map(|value| *value)
    }

    /// Adds all values of another set, each in place of the value of its type.
    pub fn extend(&mut self, other: Self) {
        other.first.into_iter().chain(other.others).for_each(|value| drop(self.put(value)));
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

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
