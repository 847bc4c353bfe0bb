//! Cache hit in memory through the whole cache layer, with a prompt of 2 KB and a response of 2 KB.

use futures_util::FutureExt;
use llm_cache::{Cache, Cached};
use llm_core::{Call, ChatRequest, ChatResponse, Operation, Reply, layer::Fingerprinter};
use tower::Service;

use crate::vendor::AtOnce;

/// Warm cache, and a request whose response it holds.
#[derive(Clone, Debug)]
pub struct Warm {
    /// Cache layer over a vendor that responds at once.
    pub service: Cached<AtOnce>,
    /// Request that the cache can serve.
    pub call: Call<ChatRequest>,
    /// Cached response to the request.
    pub response: ChatResponse,
}

impl Warm {
    /// Creates a cache that holds one response of 2 KB to a prompt of 2 KB.
    pub fn new() -> Self {
        let vendor = AtOnce::saying(&of_2_kb("given a user when "));
        let response = vendor.response().clone();
        let cache = Cache::builder("bench").build().expect("the defaults are right");
        let mut warm = Self { service: Cached::new(vendor, cache), call: call_of("acme"), response };
        drop(warm.send(warm.call.clone()));
        warm
    }

    /// Sends `call` through the cache. The caller creates the call, so that its allocations do not count as those of
    /// the layer.
    pub fn send(&mut self, call: Call<ChatRequest>) -> Reply<ChatResponse> {
        at_once(&mut self.service, call)
    }

    /// Returns the canonical bytes of the request, appended to `buffer`.
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
pub fn call_of(tenant: &str) -> Call<ChatRequest> {
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
