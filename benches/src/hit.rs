//! A memory hit through the whole cache layer: a prompt of 2 KB, an answer of 2 KB.

use futures_util::FutureExt;
use llm_cache::{Cache, Cached};
use llm_core::{Call, ChatRequest, ChatResponse, Operation, Reply, layer::Fingerprinter};
use tower::Service;

use crate::vendor::AtOnce;

/// A warm cache and a question that it knows.
#[derive(Clone, Debug)]
pub struct Warm {
    /// The layer over a vendor that answers at once.
    pub service: Cached<AtOnce>,
    /// The question.
    pub call: Call<ChatRequest>,
    /// Its answer.
    pub answer: ChatResponse,
}

impl Warm {
    /// A cache that holds one answer of 2 KB to a prompt of 2 KB.
    pub fn new() -> Self {
        let vendor = AtOnce::saying(&of_2_kb("given a user when "));
        let answer = vendor.answer().clone();
        let cache = Cache::builder("bench").build().expect("the defaults are right");
        let mut warm = Self { service: Cached::new(vendor, cache), call: question("acme"), answer };
        drop(warm.ask(warm.call.clone()));
        warm
    }

    /// Asks, and takes the answer. The call is made by the caller: its allocations are not the layer's.
    pub fn ask(&mut self, call: Call<ChatRequest>) -> Reply<ChatResponse> {
        at_once(&mut self.service, call)
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

/// A prompt of 2 KB, from a tenant.
pub fn question(tenant: &str) -> Call<ChatRequest> {
    Call::new(tenant, ChatRequest::new("gpt-4o-mini").system("Write test cases.").user(of_2_kb("a login form ")))
}

/// Words, as often as 2 KB hold them.
pub fn of_2_kb(words: &str) -> String {
    words.repeat(2_048 / words.len())
}

/// Makes a call that nothing has to wait for.
pub fn at_once<O, S, C>(service: &mut S, call: C) -> Reply<O>
where
    S: Service<C, Response = Reply<O>, Error = llm_core::Error>,
{
    service.call(call).now_or_never().expect("nothing here waits").expect("nothing here fails")
}
