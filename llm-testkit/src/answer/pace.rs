//! When each token of a stream is there.

use super::chat::Answer;
use super::choice::Choice;
use crate::tokens;
use std::time::Duration;

/// The moments of an answer's tokens, and how many of them one event carries.
#[derive(Debug)]
pub(crate) struct Pace<'a> {
    pub(crate) per_delta: usize,
    pub(crate) moments: &'a [Duration],
}

impl Pace<'_> {
    /// When the first token is there.
    pub(crate) fn first(&self) -> Duration {
        self.moments.first().copied().unwrap_or_default()
    }

    /// When the last one is.
    pub(crate) fn last(&self) -> Duration {
        self.moments.last().copied().unwrap_or_default()
    }

    fn at(&self, token: usize) -> Duration {
        self.moments.get(token).copied().unwrap_or(self.last())
    }
}

/// What one event says.
#[derive(Debug)]
pub(crate) struct Delta<'a> {
    /// Which choice says it.
    pub(crate) index: usize,
    pub(crate) choice: &'a Choice,
    /// When its last token is there.
    pub(crate) at: Duration,
    pub(crate) text: String,
    pub(crate) tokens: u64,
}

impl Answer {
    /// What each event says, in the order of time.
    pub(crate) fn deltas(&self, pace: &Pace<'_>) -> Vec<Delta<'_>> {
        let mut deltas = Vec::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let pieces: Vec<_> = tokens::pieces(choice.content.generated()).collect();
            for (nth, group) in pieces.chunks(pace.per_delta).enumerate() {
                let at = pace.at(nth * pace.per_delta + group.len() - 1);
                deltas.push((nth, Delta { index, choice, at, text: group.concat(), tokens: group.len() as u64 }));
            }
        }
        deltas.sort_by_key(|(nth, delta)| (delta.at, *nth, delta.index));
        deltas.into_iter().map(|(_, delta)| delta).collect()
    }
}
