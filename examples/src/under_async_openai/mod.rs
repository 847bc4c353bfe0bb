//! Stack under `async-openai`'s own client: an application that has one changes how it is built, and nothing
//! else.

use std::{sync::Arc, time::Duration};

use async_openai::{Client, config::OpenAIConfig, middleware::ReqwestService};
use llm_cache::{Cache, CacheLayer};
use llm_core::{BoxError, Provider, into_provider};
use llm_providers::{Ledger, OpenAi, async_openai::ProviderLayer, prices};
use tower::{Layer, ServiceBuilder};

/// Client of an application, and the ledger of its calls.
#[derive(Clone, Debug)]
pub struct Application {
    /// `async-openai`'s own client.
    pub client: Client<OpenAIConfig>,
    /// Ledger of the cost and savings of its calls.
    pub ledger: Ledger,
}

impl Application {
    /// Creates an application that calls the vendor at this address.
    ///
    /// # Errors
    ///
    /// The address is invalid.
    pub fn new(address: &str) -> Result<Self, BoxError> {
        let ledger = Ledger::new(prices::openai());
        let cache = Cache::builder("application").ttl(Duration::from_secs(7 * 24 * 3600)).build()?;
        let provider = into_provider(
            ServiceBuilder::new()
                .layer(ledger.requests())
                .layer(CacheLayer::new(cache))
                .layer(ledger.attempts())
                .service(OpenAi::new("no-real-key")?.base_url(address)?),
        );
        Ok(Self { client: client(provider, address), ledger })
    }
}

/// Creates `async-openai`'s client with a provider under it. Requests for which the provider has no operation are sent
/// to the address.
pub fn client(provider: Arc<dyn Provider>, address: &str) -> Client<OpenAIConfig> {
    let config = OpenAIConfig::new().with_api_key("no-real-key").with_api_base(address);
    let http = ProviderLayer::new(provider).tenant("acme").layer(ReqwestService::default());
    Client::with_config(config).with_http_service(http)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unknown_words;
