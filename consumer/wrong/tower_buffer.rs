//! The service of tower's `buffer` serves requests of one type.

use llm_providers::{
    OpenAi,
    llm_core::{Call, ChatRequest, into_provider},
    retry::RetryLayer,
};

fn main() {
    let client = OpenAi::new("no-real-key").expect("a key");
    let stack = tower::ServiceBuilder::new().layer(RetryLayer::new()).buffer::<Call<ChatRequest>>(8).service(client);
    into_provider(stack);
}
