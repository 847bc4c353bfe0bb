use std::{fmt, sync::Arc};

use http::HeaderName;
use llm_core::{Provider, Tenant};

/// Layer that serves the client of `async-openai` by a provider. See [`ProviderService`](super::ProviderService).
#[derive(Clone)]
pub struct ProviderLayer {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) tenant: Tenant,
    pub(super) tenant_header: Option<HeaderName>,
}

impl ProviderLayer {
    /// Creates a layer that sends calls to this provider, for the tenant `default`.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self { provider, tenant: Tenant::from("default"), tenant_header: None }
    }

    /// Sets the tenant of requests that do not name one.
    pub fn tenant(mut self, tenant: impl Into<Tenant>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Sets the header from which the tenant of a request is read. `async-openai` sends it if it is among the request's
    /// own headers (`client.chat().header(..)`).
    pub fn tenant_header(mut self, name: HeaderName) -> Self {
        self.tenant_header = Some(name);
        self
    }
}

impl fmt::Debug for ProviderLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderLayer").field("tenant_header", &self.tenant_header).finish_non_exhaustive()
    }
}
