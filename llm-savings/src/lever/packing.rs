//! Lever that packs several prompts with the same frame into one request.

use std::collections::HashMap;

use llm_core::{Usage, Usd, price::PriceTable};

use super::call::{Call, NO_REQUESTS, NO_TIMES, share};
use crate::{
    digest,
    options::{self, Options},
    record::SegmentKind,
    report::{Effect, Finding, Lever, Row},
};

/// Number of open packs above which those whose window is over are removed.
const SWEEP: usize = 1_024;

#[derive(Debug)]
pub(super) struct Packing {
    size: u32,
    window: u64,
    all: Packs,
    misses: Packs,
    framed: u64,
    timed: u64,
    /// Number of calls whose logged texts only identify the content that was sent.
    without_texts: u64,
}

/// Packs of one sequence of calls, and the savings by them.
#[derive(Debug, Default)]
struct Packs {
    /// Time in milliseconds at which the open pack of each frame began, and the number of prompts in it, by the digest
    /// of the frame.
    open: HashMap<u64, (u64, u32)>,
    sweep_at: usize,
    calls: u64,
    tokens: u64,
    money: Usd,
}

impl Packing {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            size: options.pack.max(1),
            window: u64::try_from(options.pack_window.as_millis()).unwrap_or(u64::MAX),
            all: Packs::default(),
            misses: Packs::default(),
            framed: 0,
            timed: 0,
            without_texts: 0,
        }
    }

    pub(super) fn observe(&mut self, call: &Call<'_>, prices: &PriceTable) {
        let record = call.record;
        let Some(prompt) = &record.prompt else { return };
        let is_last_of_user = prompt.segments.last().is_some_and(|last| last.kind == SegmentKind::User);
        if !is_last_of_user || prompt.segments.iter().any(|segment| segment.kind == SegmentKind::Tools) {
            return;
        }
        self.framed += 1;
        let Some(now) = call.time else { return };
        self.timed += 1;
        let frame = digest::frame(&record.tenant, &record.model, prompt);
        let tokens = if prompt.is_whole {
            let own = prompt.segments.last().map_or(0, |last| last.text.len() as u64);
            share(call.usage.input, prompt.bytes() - own, prompt.bytes())
        } else {
            self.without_texts += 1;
            0
        };
        let money = record.usage.map_or(Usd::ZERO, |usage| saved(prices, &record.model, usage, tokens));
        for packs in [Some(&mut self.all), call.is_miss.then_some(&mut self.misses)].into_iter().flatten() {
            if packs.joins(frame, now, self.window, self.size) {
                packs.calls += 1;
                packs.tokens += tokens;
                packs.money += money;
            }
        }
    }

    pub(super) fn finish(self) -> Lever {
        let mut lever = Lever::new("packing", Effect::OtherResponses);
        lever.finding = match (self.framed, self.timed) {
            (0, _) => {
                Finding::NotProvable(format!("{NO_REQUESTS} that end with a user's message and have no tools").into())
            }
            (_, 0) => Finding::NotProvable(NO_TIMES.into()),
            _ => Finding::Rows(vec![self.all.row("all calls"), self.misses.row("after the cache")]),
        };
        let window = options::time(std::time::Duration::from_millis(self.window));
        lever.notes.push(format!(
            "Up to {} prompts that differ in the last message alone, of one tenant, within {window}. Tokens and money are those \
             of the shared frame; packed prompts influence one another, so measure the responses before you rely on it.",
            self.size
        ));
        if self.without_texts > 0 {
            lever.notes.push("Frame tokens: not provable from this log (it holds no texts).".into());
        }
        lever
    }
}

/// Returns the price of the first `tokens` tokens of the input. The cached tokens of the usage count as the foremost
/// tokens: first those that were read from the vendor's cache, then those that were written to it.
fn saved(prices: &PriceTable, model: &str, usage: Usage, tokens: u64) -> Usd {
    let read = tokens.min(usage.cache_read);
    let written = (tokens - read).min(usage.cache_write);
    let written_long = (tokens - read - written).min(usage.cache_write_long);
    let rest = Usage {
        input: usage.input.saturating_sub(tokens),
        cache_read: usage.cache_read - read,
        cache_write: usage.cache_write - written,
        cache_write_long: usage.cache_write_long - written_long,
        ..usage
    };
    let cost = |usage| prices.cost(model, usage).ok();
    cost(&usage).zip(cost(&rest)).map_or(Usd::ZERO, |(whole, rest)| whole - rest)
}

impl Packs {
    /// Returns `true` if the prompt joins an open pack. Otherwise opens a pack with it.
    fn joins(&mut self, frame: u64, now: u64, window: u64, size: u32) -> bool {
        if let Some((began, prompts)) = self.open.get_mut(&frame)
            && now - *began <= window
            && *prompts < size
        {
            *prompts += 1;
            return true;
        }
        if self.open.len() >= self.sweep_at.max(SWEEP) {
            self.open.retain(|_, (began, _)| now - *began <= window);
            self.sweep_at = 2 * self.open.len();
        }
        self.open.insert(frame, (now, 1));
        false
    }

    fn row(&self, setting: &str) -> Row {
        Row { calls: Some(self.calls), tokens: Some(self.tokens), money: Some(self.money), ..Row::new(setting) }
    }
}
