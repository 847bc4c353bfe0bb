//! List that is optimized for requests with a single item.

use smallvec::SmallVec;

/// List that stores a single element without an allocation, because most requests have one item.
pub(crate) type List<T> = SmallVec<[T; 1]>;
