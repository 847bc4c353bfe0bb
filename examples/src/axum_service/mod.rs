//! A web service, which asks with `async-openai` for test cases: before and after it has a cache, and with limits
//! for each organisation.
//!
//! The handlers [`before`] and [`after`] differ in three lines, and so do [`after`] and [`limited`]. None of this family's
//! types is in a question or an answer: the cache takes whatever can be serialized, the limiter what it is told.

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
pub use self::form::{Question, TestCases};

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Service {
    client: Client<OpenAIConfig>,
    cache: Cache,
    limiter: Limiter,
}

impl Service {
    /// A service that asks the vendor at this address, keeps answers for a week, and gives each organisation as much as
    /// these quotas say.
    ///
    /// # Errors
    ///
    /// A quota cannot be read, or counts what nothing here counts.
    pub fn new(address: &str, quotas: &[&str]) -> Result<Self, BoxError> {
        let config = OpenAIConfig::new().with_api_key("no-real-key").with_api_base(address);
        let cache = Cache::builder("test-cases").ttl(Duration::from_secs(7 * 24 * 3600)).build()?;
        let limiter = Limiter::builder(Plans::uniform(quotas.iter().copied())?).build()?;
        Ok(Self { client: Client::with_config(config), cache, limiter })
    }

    /// The cache, for its counts.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// `POST /before`, `POST /test-cases`, which is the same with a cache, and `POST /limited`, with a limiter above that.
    pub fn router(self) -> Router {
        Router::new()
            .route("/before", post(before))
            .route("/test-cases", post(after))
            .route("/limited", post(limited))
            .with_state(self)
    }
}

/// Test cases, as the service had them made before.
///
/// # Errors
///
/// The vendor's.
pub async fn before(
    State(Service { client, .. }): State<Service>,
    Json(question): Json<Question>,
) -> Result<Json<TestCases>, Failure> {
    let request = question.request()?;
    let answer = client.chat().create(request).await?;
    Ok(Json(TestCases::of(&answer)))
}

/// Test cases, with a cache in between.
///
/// # Errors
///
/// The vendor's.
pub async fn after(
    State(Service { client, cache, .. }): State<Service>,
    Json(question): Json<Question>,
) -> Result<Json<TestCases>, Failure> {
    let request = question.request()?;
    let answer = cached(&cache, &question, client, request).await?;
    Ok(Json(TestCases::of(&answer)))
}

async fn cached(
    cache: &Cache,
    question: &Question,
    client: Client<OpenAIConfig>,
    request: CreateChatCompletionRequest,
) -> Result<Arc<CreateChatCompletionResponse>, Error> {
    let key = cache.key(&question.organisation, "test-cases", &request)?;
    let ask = || async move {
        client.chat().create(request).await.map_err(|error| Error::from_cause(ErrorKind::Server, error))
    };
    Ok(cache.get_or_call(&key, ask).await?.value)
}

/// Test cases, with a cache in between and a limiter above it: an answer that is stored counts as well.
///
/// # Errors
///
/// The vendor's; and 429 for an organisation that has used up what it may.
pub async fn limited(
    State(Service { client, cache, limiter }): State<Service>,
    Json(question): Json<Question>,
) -> Result<Json<TestCases>, Failure> {
    let request = question.request()?;
    let demand = Demand::new(&*question.organisation, &*request.model).tokens(200, 800);
    let ask = || async {
        let answer = cached(&cache, &question, client, request).await?;
        let usage = TestCases::usage(&answer);
        Ok::<_, Error>((TestCases::of(&answer), Settlement::Used { usage, cost: None }))
    };
    Ok(Json(limiter.run(&demand, ask).await?))
}

#[cfg(test)]
mod tests;
