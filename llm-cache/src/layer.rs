use tower_layer::Layer;

use crate::{Cache, Cached};

/// Puts a [`Cache`] in front of a service.
///
/// Services made by clones of one layer, or by layers over clones of one cache, share its answers and running calls.
#[derive(Clone, Debug)]
pub struct CacheLayer {
    cache: Cache,
}

impl CacheLayer {
    /// A layer over a cache.
    pub fn new(cache: Cache) -> Self {
        Self { cache }
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cached<S>;

    fn layer(&self, inner: S) -> Cached<S> {
        Cached::new(inner, self.cache.clone())
    }
}
