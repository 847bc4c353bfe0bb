//! A service of chats alone cannot serve the streams and embeddings of a provider.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use llm_providers::llm_core::{Call, ChatRequest, ChatResponse, Error, Receipt, Reply, into_provider};
use tower::Service;

#[derive(Clone)]
struct Chats;

impl Service<Call<ChatRequest>> for Chats {
    type Response = Reply<ChatResponse>;
    type Error = Error;
    type Future = Ready<Result<Reply<ChatResponse>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<ChatRequest>) -> Self::Future {
        ready(Ok(Reply::new(ChatResponse::new("1", call.body.model, vec![]), Receipt::default())))
    }
}

fn main() {
    into_provider(Chats);
}
