//! Lists of items.

use smallvec::SmallVec;

/// List that allocates nothing for a single element, because most requests have one item.
pub(crate) type List<T> = SmallVec<[T; 1]>;
