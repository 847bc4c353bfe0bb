//! A layer that sends a call again needs a service that can be cloned.

use std::task::{Context, Poll};

use llm_providers::{
    OpenAi,
    llm_core::{Call, ChatRequest, ChatResponse, Error, Reply, layer::oneshot},
    retry::RetryLayer,
};
use tower::{Layer, Service};

struct Counted {
    client: OpenAi,
    calls: u64,
}

impl Service<Call<ChatRequest>> for Counted {
    type Response = Reply<ChatResponse>;
    type Error = Error;
    type Future = <OpenAi as Service<Call<ChatRequest>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::<Call<ChatRequest>>::poll_ready(&mut self.client, cx)
    }

    fn call(&mut self, call: Call<ChatRequest>) -> Self::Future {
        self.calls += 1;
        self.client.call(call)
    }
}

fn main() {
    let service = Counted { client: OpenAi::new("no-real-key").expect("a key"), calls: 0 };
    let stack = RetryLayer::new().layer(service);
    let _ = oneshot(stack, Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello")));
}
