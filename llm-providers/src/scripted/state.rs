use super::rule::{Asked, Rule};

/// Numbers of calls, failed ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Chats in one piece.
    pub chat: u64,
    /// Streamed chats.
    pub streamed: u64,
    /// Embeddings.
    pub embed: u64,
}

impl Counts {
    /// Returns the sum.
    pub fn total(&self) -> u64 {
        self.chat + self.streamed + self.embed
    }
}

/// Rules, and the calls that arrived.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) counts: Counts,
    pub(super) rules: Vec<Rule>,
}

impl State {
    /// Returns the first rule that matches this call and applies. Matching rules before it count the call.
    pub(super) fn decide(&mut self, asked: &Asked<'_>) -> Option<Rule> {
        self.rules.iter_mut().find_map(|rule| rule.takes(asked).then(|| rule.clone()))
    }
}
