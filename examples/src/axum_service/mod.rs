//! Somebody's web service, which asks with `async-openai` for test cases, before and after it has a cache.
//!
//! The handlers [`before`] and [`after`] differ in three lines. None of this family's types is in a question, an answer or
//! an error: the cache takes whatever can be serialized.

mod error;
mod form;

use std::time::Duration;

use async_openai::{Client, config::OpenAIConfig};
use axum::{Json, Router, extract::State, routing::post};
use llm_cache::{BuildError, Cache};

pub use self::error::Failure;
pub use self::form::{Question, TestCases};

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Service {
    client: Client<OpenAIConfig>,
    cache: Cache,
}

impl Service {
    /// A service that asks the vendor at this address, and keeps answers for a week.
    ///
    /// # Errors
    ///
    /// None in practice: the settings are fixed.
    pub fn new(address: &str) -> Result<Self, BuildError> {
        let config = OpenAIConfig::new().with_api_key("no-real-key").with_api_base(address);
        let cache = Cache::builder("test-cases").ttl(Duration::from_secs(7 * 24 * 3600)).build()?;
        Ok(Self { client: Client::with_config(config), cache })
    }

    /// The cache, for its counts.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// `POST /before` and `POST /test-cases`, which is the same with a cache.
    pub fn router(self) -> Router {
        Router::new().route("/before", post(before)).route("/test-cases", post(after)).with_state(self)
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
    State(Service { client, cache }): State<Service>,
    Json(question): Json<Question>,
) -> Result<Json<TestCases>, Failure> {
    let request = question.request()?;
    let key = cache.key(&question.organisation, "test-cases", &request)?;
    let ask = || async move { client.chat().create(request).await };
    let answer = cache.get_or_call(&key, ask).await?.value;
    Ok(Json(TestCases::of(&answer)))
}

#[cfg(test)]
mod tests;
