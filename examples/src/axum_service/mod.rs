//! Somebody's web service, which asks with `async-openai` for test cases: before and after it has a cache, and with limits
//! for each organisation.
//!
//! The handlers [`before`] and [`after`] differ in three lines, and so do [`after`] and [`limited`]. None of this family's
//! types is in a question or an answer: the cache takes whatever can be serialized, the limiter what it is told.

mod error;
mod form;

use std::time::Duration;

use async_openai::{Client, config::OpenAIConfig};
use axum::{Json, Router, extract::State, routing::post};
use llm_cache::Cache;
use llm_core::BoxError;
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
    let key = cache.key(&question.organisation, "test-cases", &request)?;
    let ask = || async move { client.chat().create(request).await };
    let answer = cache.get_or_call(&key, ask).await?.value;
    Ok(Json(TestCases::of(&answer)))
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
    let mut reservation =
        limiter.try_reserve(&Demand::new(&*question.organisation, &*request.model).tokens(200, 800))?;
    reservation.mark_sent();
    let key = cache.key(&question.organisation, "test-cases", &request)?;
    let ask = || async move { client.chat().create(request).await };
    let answer = cache.get_or_call(&key, ask).await?.value;
    reservation.settle(Settlement::Used { usage: TestCases::usage(&answer), cost: None });
    Ok(Json(TestCases::of(&answer)))
}

#[cfg(test)]
mod tests;
