//! Times of the tokens of a stream.

use super::chat::ChatResponse;
use super::choice::Choice;
use crate::tokens;
use std::time::Duration;

/// Times of a response's tokens, and the number of tokens in one event.
#[derive(Debug)]
pub(crate) struct Timeline<'a> {
    pub(crate) per_delta: usize,
    pub(crate) moments: &'a [Duration],
}

impl Timeline<'_> {
    /// Returns the time of the first token.
    pub(crate) fn first(&self) -> Duration {
        self.moments.first().copied().unwrap_or_default()
    }

    /// Returns the time of the last token.
    pub(crate) fn last(&self) -> Duration {
        self.moments.last().copied().unwrap_or_default()
    }

    fn at(&self, token: usize) -> Duration {
        self.moments.get(token).copied().unwrap_or(self.last())
    }
}

/// Part of a choice's content that one event of a stream contains.
#[derive(Debug)]
pub(crate) struct Delta<'a> {
    /// Index of the choice.
    pub(crate) index: usize,
    pub(crate) choice: &'a Choice,
    /// Time of the delta's last token.
    pub(crate) at: Duration,
    pub(crate) text: String,
    pub(crate) tokens: u64,
}

impl ChatResponse {
    /// Returns the parts of all choices, one for each event, in the order of time.
    pub(crate) fn deltas(&self, timeline: &Timeline<'_>) -> Vec<Delta<'_>> {
        let mut deltas = Vec::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let pieces: Vec<_> = tokens::pieces(choice.content.generated()).collect();
            for (nth, group) in pieces.chunks(timeline.per_delta).enumerate() {
                let at = timeline.at(nth * timeline.per_delta + group.len() - 1);
                deltas.push((nth, Delta { index, choice, at, text: group.concat(), tokens: group.len() as u64 }));
            }
        }
        deltas.sort_by_key(|(nth, delta)| (delta.at, *nth, delta.index));
        deltas.into_iter().map(|(_, delta)| delta).collect()
    }
}
