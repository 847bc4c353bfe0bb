//! A service of a program's own requests is no LLM service.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use llm_cache::{Cache, CacheLayer};
use llm_providers::llm_core::into_provider;
use tower::{Service, ServiceBuilder};

#[derive(Clone)]
struct Echo;

impl Service<String> for Echo {
    type Response = String;
    type Error = Infallible;
    type Future = Ready<Result<String, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, text: String) -> Self::Future {
        ready(Ok(text))
    }
}

fn main() {
    let cache = Cache::builder("products").build().expect("the settings agree");
    into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache)).service(Echo));
}
