//! The error of a service in a stack becomes an `llm_core::Error`.

use llm_providers::{
    llm_core::{Call, ChatRequest, ChatResponse, Receipt, Reply, layer::oneshot},
    retry::RetryLayer,
};
use tower::Layer;

fn main() {
    let service = tower::service_fn(|call: Call<ChatRequest>| async move {
        Ok::<_, std::fmt::Error>(Reply::new(ChatResponse::new("1", call.body.model, vec![]), Receipt::default()))
    });
    let _ = oneshot(RetryLayer::new().layer(service), Call::new("acme", ChatRequest::new("m").user("hello")));
}
