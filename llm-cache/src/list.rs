//! Lists of items, of which most requests have one.

use smallvec::SmallVec;

/// List that allocates nothing for one element: most requests have one item.
pub(crate) type List<T> = SmallVec<[T; 1]>;
