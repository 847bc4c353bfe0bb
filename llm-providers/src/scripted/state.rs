use super::rule::{Rule, RuleInput};

/// Numbers of calls by kind, including failed ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Number of chat calls that were not streamed.
    pub chat: u64,
    /// Number of streamed chat calls.
    pub streamed: u64,
    /// Number of calls for embeddings.
    pub embed: u64,
}

impl Counts {
    /// Returns the number of all calls.
    pub fn total(&self) -> u64 {
        self.chat + self.streamed + self.embed
    }
}

/// Rules of a provider, and the numbers of calls that it got.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) counts: Counts,
    pub(super) rules: Vec<Rule>,
}

impl State {
    /// Returns the first rule that matches this call and applies. Matching rules before it only count the call.
    pub(super) fn decide(&mut self, input: &RuleInput<'_>) -> Option<Rule> {
        self.rules.iter_mut().find_map(|rule| rule.takes(input).then(|| rule.clone()))
    }
}
