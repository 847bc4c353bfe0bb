//! Lever that sends no request while an equal request is running.

use std::collections::HashMap;

use super::call::{Call, NO_REQUESTS, Saved};
use crate::report::{Effect, Finding, Lever};

/// Number of entries in `running` at which the calls that have ended are removed.
const SWEEP: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Coalescing {
    /// Time in milliseconds at which the latest sent call ends, by the digest of its request.
    running: HashMap<u64, u64>,
    saved: Saved,
    keyed: u64,
    timed: u64,
    sweep_at: usize,
}

impl Coalescing {
    pub(super) fn observe(&mut self, call: &Call<'_>) {
        let Some(key) = call.key else { return };
        self.keyed += 1;
        let (Some(now), Some(latency)) = (call.time, call.record.latency) else { return };
        self.timed += 1;
        if self.running.get(&key).is_some_and(|end| now < *end) {
            self.saved.call(call);
            return;
        }
        if self.running.len() >= self.sweep_at.max(SWEEP) {
            self.running.retain(|_, end| now < *end);
            self.sweep_at = 2 * self.running.len();
        }
        let latency = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.running.insert(key, now.saturating_add(latency));
    }

    pub(super) fn finish(self) -> Lever {
        let mut lever = Lever::new("coalescing", Effect::SameResponses);
        lever.finding = match (self.keyed, self.timed) {
            (0, _) => Finding::NotProvable(NO_REQUESTS.into()),
            (_, 0) => Finding::NotProvable("the log does not state both when a call began and how long it took".into()),
            _ => Finding::Rows(vec![self.saved.row("equal requests while one runs")]),
        };
        if self.timed > 0 {
            lever.notes.push("The exact cache's rows include these calls.".into());
        }
        lever
    }
}
