//! The service of tower's `rate_limit` cannot be cloned.

use std::time::Duration;

use llm_providers::{OpenAi, llm_core::into_provider, retry::RetryLayer};

fn main() {
    let client = OpenAi::new("no-real-key").expect("a key");
    let stack =
        tower::ServiceBuilder::new().layer(RetryLayer::new()).rate_limit(5, Duration::from_secs(1)).service(client);
    into_provider(stack);
}
