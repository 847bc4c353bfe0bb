//! Prompt caches of organisations, which hold the beginnings of chats.

use crate::openai::response_hash;
use crate::prng::mix;
use crate::tokens;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// Number of cached beginnings above which those that have expired are removed.
const SWEEP: usize = 1 << 16;

/// Beginnings of chats (runs of leading messages), by organisation.
#[derive(Debug)]
pub(crate) struct PromptCache {
    /// Smallest number of tokens of a cached beginning.
    pub(crate) least: u64,
    /// Time from the last use of a cached beginning to its expiry.
    pub(crate) ttl: Duration,
    used: HashMap<(String, u64), Duration>,
}

impl PromptCache {
    pub(crate) fn new(least: u64, ttl: Duration) -> Self {
        Self { least, ttl, used: HashMap::new() }
    }

    /// Returns the number of tokens in the longest beginning of a chat that an organisation has cached.
    pub(crate) fn cached(&self, now: Duration, organisation: &str, body: &Value) -> u64 {
        let is_fresh = |hash: u64| {
            let used = self.used.get(&(organisation.to_owned(), hash));
            used.is_some_and(|used| now.saturating_sub(*used) < self.ttl)
        };
        self.beginnings(body).filter(|(hash, _)| is_fresh(*hash)).map(|(_, tokens)| tokens).max().unwrap_or(0)
    }

    /// Caches the beginnings of a chat, or renews those that are cached already.
    pub(crate) fn keep(&mut self, now: Duration, organisation: &str, body: &Value) {
        if self.used.len() > SWEEP {
            let ttl = self.ttl;
            self.used.retain(|_, used| now.saturating_sub(*used) < ttl);
        }
        let kept: Vec<u64> = self.beginnings(body).map(|(hash, _)| hash).collect();
        self.used.extend(kept.into_iter().map(|hash| ((organisation.to_owned(), hash), now)));
    }

    /// Returns the hash and the number of tokens of each beginning of a chat that is long enough to be cached.
    fn beginnings<'a>(&self, body: &'a Value) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let least = self.least;
        let before = [&body["model"], &body["tools"]].into_iter().fold(0, |hash, part| mix(hash ^ response_hash(part)));
        let tools = serde_json::json!({"tools": body["tools"]});
        let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let add = |(hash, sum): &mut (u64, u64), message: &Value| {
            (*hash, *sum) = (mix(*hash ^ response_hash(message)), *sum + tokens::message(message));
            Some((*hash, *sum))
        };
        let all = messages.iter().scan((before, tokens::chat_input(&tools)), add);
        all.filter(move |(_, tokens)| *tokens >= least)
    }
}
