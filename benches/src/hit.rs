//! A memory hit through the whole cache layer: a prompt of 2 KB, an answer of 2 KB.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use futures_util::FutureExt;
use llm_cache::{Cache, Cached};
use llm_core::{
    Call, ChatRequest, ChatResponse, Choice, Error, Facts, Fingerprinter, FinishReason, Operation, Part, Receipt,
    Reply, Usage, Usd,
};
use tower::Service;

/// A client that answers at once.
#[derive(Clone, Debug)]
pub struct AtOnce(ChatResponse);

impl AtOnce {
    /// Gives this answer.
    pub fn new(answer: ChatResponse) -> Self {
        Self(answer)
    }
}

/// A warm cache and a question that it knows.
#[derive(Debug)]
pub struct Warm {
    service: Cached<AtOnce>,
    /// The question.
    pub call: Call<ChatRequest>,
    /// Its answer.
    pub answer: ChatResponse,
}

impl Warm {
    /// A cache that holds one answer of 2 KB to a prompt of 2 KB.
    pub fn new() -> Self {
        let text = |words: &str| words.repeat(2_048 / words.len());
        let call =
            Call::new("acme", ChatRequest::new("gpt-4o-mini").system("Write test cases.").user(text("a login form ")));
        let choice = Choice::new(0, vec![Part::text(text("given a user when "))], FinishReason::Stop);
        let answer = ChatResponse::new("chatcmpl-1", "gpt-4o-mini", vec![choice]);
        let cache = Cache::builder("bench").build().expect("the defaults are right");
        let mut warm = Self { service: Cached::new(AtOnce(answer.clone()), cache), call, answer };
        drop(warm.ask(warm.call.clone()));
        warm
    }

    /// Asks, and takes the answer. The call is made by the caller: its allocations are not the layer's.
    pub fn ask(&mut self, call: Call<ChatRequest>) -> Reply<ChatResponse> {
        let reply = self.service.call(call).now_or_never().expect("nothing here waits");
        reply.expect("nothing here fails")
    }

    /// The canonical bytes of the question.
    pub fn encode(&self, buffer: Vec<u8>) -> Vec<u8> {
        let mut h = Fingerprinter::with_buffer(buffer);
        self.call.body.fingerprint(&mut h);
        h.into_bytes()
    }
}

impl Default for Warm {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<Call<ChatRequest>> for AtOnce {
    type Response = Reply<ChatResponse>;
    type Error = Error;
    type Future = Ready<Result<Reply<ChatResponse>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call<ChatRequest>) -> Self::Future {
        let mut facts = Facts::default();
        facts.usage = Some(Usage::new(512, 512));
        facts.cost = Some(Usd::from_nanos(1));
        ready(Ok(Reply::new(self.0.clone(), Receipt::new(facts))))
    }
}
