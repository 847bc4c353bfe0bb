//! Cache with many small entries.

use llm_cache::{Cache, Cached, Ttl};
use llm_core::{Call, ChatRequest, ChatResponse, Reply};

use crate::{hit::at_once, vendor::AtOnce};

/// Cache that holds a given number of responses of about 60 bytes to prompts of about 60 bytes.
#[derive(Debug)]
pub struct Filled {
    service: Cached<AtOnce>,
    entries: u64,
}

impl Filled {
    /// Creates a cache, and fills it with `entries` responses.
    pub fn new(entries: u64) -> Self {
        let cache =
            Cache::builder("bench").max_bytes(u64::MAX).ttl(Ttl::unlimited()).build().expect("the settings are right");
        let vendor = AtOnce::saying("given a user when he opens the form then it is there, and so");
        let mut filled = Self { service: Cached::new(vendor, cache), entries };
        (0..entries).for_each(|number| drop(filled.send_number(number)));
        filled
    }

    /// Returns the request with this number.
    pub fn call(&self, number: u64) -> Call<ChatRequest> {
        let text = format!("Name a test case for the field of a login form: {number:012}");
        Call::new("acme", ChatRequest::new("gpt-4o-mini").user(text))
    }

    /// Sends the request with this number, and returns the reply.
    pub fn send_number(&mut self, number: u64) -> Reply<ChatResponse> {
        let call = self.call(number);
        self.send(call)
    }

    /// Sends a call through the cache, and returns the reply.
    pub fn send(&mut self, call: Call<ChatRequest>) -> Reply<ChatResponse> {
        at_once(&mut self.service, call)
    }

    /// Returns the number of responses that the cache holds.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Returns the mean size that the cache counts for an entry, in bytes.
    pub fn counted(&self) -> u64 {
        self.service.cache().stats().bytes / self.entries
    }
}
