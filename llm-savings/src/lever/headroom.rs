//! Busiest minutes in requests and tokens, and the number of keys that they need.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::call::{Call, NO_TIMES, of_model};
use crate::{
    options::Options,
    report::{Effect, Finding, Lever, Row, grouped},
};

/// Window of vendors' limits, in milliseconds.
const MINUTE: u64 = 60_000;

#[derive(Debug)]
pub(super) struct Headroom {
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    /// Peaks of all calls of each model, and peaks of the calls that the cache above does not serve.
    models: BTreeMap<Arc<str>, [Peak; 2]>,
}

/// Busiest minute of a model's calls.
#[derive(Debug, Default)]
struct Peak {
    /// Time in milliseconds and tokens of each call in the last minute.
    recent: VecDeque<(u64, u64)>,
    tokens: u64,
    most_requests: u64,
    most_tokens: u64,
}

impl Headroom {
    pub(super) fn new(options: &Options) -> Self {
        let Options { requests_per_minute, tokens_per_minute, .. } = *options;
        Self { requests_per_minute, tokens_per_minute, models: BTreeMap::new() }
    }

    pub(super) fn observe(&mut self, call: &Call<'_>) {
        let Some(now) = call.time else { return };
        let [all, misses] = of_model(&mut self.models, &call.record.model);
        all.observe(now, call.usage.total());
        if call.is_miss {
            misses.observe(now, call.usage.total());
        }
    }

    pub(super) fn finish(self) -> Lever {
        let mut lever = Lever::new("quota and keys", Effect::SameResponses);
        if self.models.is_empty() {
            lever.finding = Finding::NotProvable(NO_TIMES.into());
            return lever;
        }
        let mut rows = Vec::new();
        for (model, peaks) in &self.models {
            for (which, peak) in ["all calls", "after the cache"].into_iter().zip(peaks) {
                let (requests, tokens) = (peak.most_requests, peak.most_tokens);
                let mut detail = format!("busiest minute: {} requests, {} tokens", grouped(requests), grouped(tokens));
                let keys = [(requests, self.requests_per_minute), (tokens, self.tokens_per_minute)];
                let keys = keys.into_iter().filter_map(|(peak, limit)| Some(peak.div_ceil(limit?.max(1)))).max();
                if let Some(keys) = keys {
                    detail.push_str(&format!(", keys of separate quotas needed: {keys}"));
                }
                rows.push(Row {
                    detail: Some(detail),
                    ..Row::new(if model.is_empty() { which.to_owned() } else { format!("{model}, {which}") })
                });
            }
        }
        lever.finding = Finding::Rows(rows);
        lever
    }
}

impl Peak {
    fn observe(&mut self, now: u64, tokens: u64) {
        while let Some((time, old)) = self.recent.front().copied()
            && now - time >= MINUTE
        {
            self.recent.pop_front();
            self.tokens -= old;
        }
        self.recent.push_back((now, tokens));
        self.tokens = self.tokens.saturating_add(tokens);
        self.most_requests = self.most_requests.max(self.recent.len() as u64);
        self.most_tokens = self.most_tokens.max(self.tokens);
    }
}
