//! Layer that creates [`Cached`] services.

use tower_layer::Layer;

use crate::{Cache, Cached};

/// Layer that puts a [`Cache`] in front of a service.
///
/// Services of one layer or its clones share entries and running calls. So do services of layers over clones of one
/// cache.
///
/// ```
/// use llm_cache::{Cache, CacheLayer};
/// use llm_core::into_provider;
/// # use llm_providers::scripted::Scripted;
///
/// # let client = Scripted::new();
/// let cache = Cache::builder("support").build()?;
/// let provider = into_provider(tower::ServiceBuilder::new().layer(CacheLayer::new(cache)).service(client));
/// # Ok::<_, llm_cache::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CacheLayer {
    cache: Cache,
}

impl CacheLayer {
    /// Creates a layer over a cache.
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
