//! Web service that requests test cases with `async-openai`: without a cache, with a cache, and with limits for each
//! organisation.
//!
//! The handlers [`before`] and [`after`] differ in three lines, and so do [`after`] and [`limited`]. Requests and
//! responses hold none of this family's types: the cache takes whatever can be serialized, and the limiter takes
//! amounts.

mod error;
mod form;

use std::{sync::Arc, time::Duration};

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{CreateChatCompletionRequest, CreateChatCompletionResponse},
};
use axum::{Json, Router, extract::State, routing::post};
use llm_cache::Cache;
use llm_core::{BoxError, Error, ErrorKind};
use llm_ratelimit::{Demand, Limiter, Plans, Settlement};

pub use self::error::Failure;
pub use self::form::{Form, TestCases};

/// State that the handlers share.
#[derive(Clone, Debug)]
pub struct Service {
    client: Client<OpenAIConfig>,
    cache: Cache,
    limiter: Limiter,
}

impl Service {
    /// Creates a service that calls the vendor at this address, stores responses for a week, and limits each
    /// organisation
    /// by these quotas.
    ///
    /// # Errors
    ///
    /// A quota cannot be read, or counts a unit that does not exist here.
    pub fn new(address: &str, quotas: &[&str]) -> Result<Self, BoxError> {
        let config = OpenAIConfig::new().with_api_key("no-real-key").with_api_base(address);
        let cache = Cache::builder("test-cases").ttl(Duration::from_secs(7 * 24 * 3600)).build()?;
        let limiter = Limiter::builder(Plans::uniform(quotas.iter().copied())?).build()?;
        Ok(Self { client: Client::with_config(config), cache, limiter })
    }

    /// Returns the cache, for its statistics.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the routes: `POST /before`, `POST /test-cases` with a cache, and `POST /limited` with a limiter above
    /// it.
    pub fn router(self) -> Router {
        Router::new()
            .route("/before", post(before))
            .route("/test-cases", post(after))
            .route("/limited", post(limited))
            .with_state(self)
    }
}

/// Returns test cases, each from a call of its own.
///
/// # Errors
///
/// The error of the vendor.
pub async fn before(
    State(Service { client, .. }): State<Service>,
    Json(form): Json<Form>,
) -> Result<Json<TestCases>, Failure> {
    let request = form.request()?;
    let response = client.chat().create(request).await?;
    Ok(Json(TestCases::of(&response)))
}

/// Returns test cases, through a cache.
///
/// # Errors
///
/// The error of the vendor.
pub async fn after(
    State(Service { client, cache, .. }): State<Service>,
    Json(form): Json<Form>,
) -> Result<Json<TestCases>, Failure> {
    let request = form.request()?;
    let response = cached(&cache, &form, client, request).await?;
    Ok(Json(TestCases::of(&response)))
}

async fn cached(
    cache: &Cache,
    form: &Form,
    client: Client<OpenAIConfig>,
    request: CreateChatCompletionRequest,
) -> Result<Arc<CreateChatCompletionResponse>, Error> {
    let key = cache.key(&form.organisation, "test-cases", &request)?;
    let call = || async move {
        client.chat().create(request).await.map_err(|error| Error::from_cause(ErrorKind::Server, error))
    };
    Ok(cache.get_or_call(&key, call).await?.value)
}

/// Returns test cases, through a limiter above a cache. A stored response counts as well.
///
/// # Errors
///
/// The error of the vendor, or status 429 for an organisation that has used up its limit.
pub async fn limited(
    State(Service { client, cache, limiter }): State<Service>,
    Json(form): Json<Form>,
) -> Result<Json<TestCases>, Failure> {
    let request = form.request()?;
    let demand = Demand::new(&*form.organisation, &*request.model).tokens(200, 800);
    let call = || async {
        let response = cached(&cache, &form, client, request).await?;
        let usage = TestCases::usage(&response);
        Ok::<_, Error>((TestCases::of(&response), Settlement::Used { usage, cost: None }))
    };
    Ok(Json(limiter.run(&demand, call).await?))
}

#[cfg(test)]
mod tests;
