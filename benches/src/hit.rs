//! Cache hit in memory through the whole cache layer, with a prompt of 2 KB and an answer of 2 KB.

use futures_util::FutureExt;
use llm_cache::{Cache, Cached};
use llm_core::{Call, ChatRequest, ChatResponse, Operation, Reply, layer::Fingerprinter};
use tower::Service;

use crate::vendor::AtOnce;

/// Warm cache, and a question whose answer it holds.
#[derive(Clone, Debug)]
pub struct Warm {
    /// Cache layer over a vendor that answers at once.
    pub service: Cached<AtOnce>,
    /// Question that the cache can answer.
    pub call: Call<ChatRequest>,
    /// Cached answer to the question.
    pub answer: ChatResponse,
}

impl Warm {
    /// Creates a cache that holds one answer of 2 KB to a prompt of 2 KB.
    pub fn new() -> Self {
        let vendor = AtOnce::saying(&of_2_kb("given a user when "));
        let answer = vendor.answer().clone();
        let cache = Cache::builder("bench").build().expect("the defaults are right");
        let mut warm = Self { service: Cached::new(vendor, cache), call: question("acme"), answer };
        drop(warm.ask(warm.call.clone()));
        warm
    }

    /// Sends `call` through the cache. The caller creates the call, so that its allocations do not count as those of
    /// the layer.
    pub fn ask(&mut self, call: Call<ChatRequest>) -> Reply<ChatResponse> {
        at_once(&mut self.service, call)
    }

    /// Returns the canonical bytes of the question, appended to `buffer`.
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

/// Creates a call of `tenant` with a prompt of 2 KB.
pub fn question(tenant: &str) -> Call<ChatRequest> {
    Call::new(tenant, ChatRequest::new("gpt-4o-mini").system("Write test cases.").user(of_2_kb("a login form ")))
}

/// Repeats `words` up to a length of 2 KB.
pub fn of_2_kb(words: &str) -> String {
    words.repeat(2_048 / words.len())
}

/// Sends a call through a service that never waits, and returns the reply.
pub fn at_once<O, S, C>(service: &mut S, call: C) -> Reply<O>
where
    S: Service<C, Response = Reply<O>, Error = llm_core::Error>,
{
    service.call(call).now_or_never().expect("nothing here waits").expect("nothing here fails")
}
