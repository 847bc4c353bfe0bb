//! Lever that uses vendors' prompt caches. It computes the savings by prefixes that were sent before, and the cost of
//! writing prefixes.

use std::time::Duration;

use llm_core::{Usage, Usd, price::PriceTable};

use super::{
    breaks::Breaks,
    call::{Call, NO_TIMES},
    prefix::{Held, Prefix, Prefixes},
    priced::Priced,
};
use crate::{
    options,
    report::{Effect, Finding, Lever, Row, grouped},
};

/// Lifetimes of cached prefixes according to the vendors' documentation: five minutes, renewed by each read, and an
/// hour.
const SHORT: Duration = Duration::from_secs(5 * 60);
const LONG: Duration = Duration::from_secs(3_600);
const LIFETIMES: [Duration; 2] = [SHORT, LONG];

/// Number of segments before a breakpoint in which Anthropic looks for an earlier write. The lever counts each segment
/// as one content block.
const LOOKBACK: usize = 20;

/// Ways to use the cache of a vendor that charges more for writes than for plain input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// The whole prompt is written, as in automatic caching.
    Whole,
    /// Automatic caching with a further breakpoint, after tools and system prompt.
    Breakpoints,
}

#[derive(Debug)]
pub(super) struct PromptCache {
    /// Blocks of all prompts for vendors whose writes are free, and blocks of tools and system prompts for all vendors.
    blocks: Held,
    charged: Vec<Charged>,
    free: [Sum; 2],
    logged: Sum,
    breaks: Breaks,
    /// Number of calls with texts, times and a known price.
    priced: u64,
    calls: u64,
    timed: u64,
}

/// Simulated cache of a vendor that charges for writes.
#[derive(Debug)]
struct Charged {
    writes: Writes,
    lifetime: Duration,
    held: Held,
    sum: Sum,
}

/// Savings compared with no prompt caching.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    calls: u64,
    read: u64,
    written: u64,
    money: Usd,
}

impl Default for PromptCache {
    fn default() -> Self {
        let charged = [Writes::Whole, Writes::Breakpoints].into_iter().flat_map(|writes| {
            LIFETIMES.map(|lifetime| Charged { writes, lifetime, held: Held::new(lifetime), sum: Sum::default() })
        });
        Self {
            blocks: Held::new(LONG),
            charged: charged.collect(),
            free: Default::default(),
            logged: Sum::default(),
            breaks: Breaks::default(),
            priced: 0,
            calls: 0,
            timed: 0,
        }
    }
}

impl PromptCache {
    pub(super) fn observe(&mut self, call: &Call<'_>, prices: &PriceTable) {
        let record = call.record;
        let Some(prompt) = record.prompt.as_ref().filter(|prompt| prompt.is_whole) else { return };
        self.calls += 1;
        let Some(time) = call.time else { return };
        self.timed += 1;
        if record.usage.is_none() {
            return;
        }
        let plain = Usage { cache_read: 0, cache_write: 0, cache_write_long: 0, ..call.usage };
        let Ok(without) = prices.cost(&record.model, &plain) else { return };
        self.priced += 1;
        let priced = Priced { model: &record.model, plain, without, prompt, prices };
        self.logged.add(&priced, call.usage);
        let now = u32::try_from(time / 1_000).unwrap_or(u32::MAX);
        let prefixes = Prefixes::of(&record.model, prompt);
        self.breaks.observe(&priced, &prefixes, &self.blocks, now);
        if priced.charges_writes() {
            self.charged.iter_mut().for_each(|cache| cache.observe(&priced, &prefixes, now));
            prefixes.fixed_blocks().iter().for_each(|block| self.blocks.touch(block.digest, now));
        } else {
            for (lifetime, sum) in LIFETIMES.into_iter().zip(&mut self.free) {
                let lifetime = lifetime.as_secs() as u32;
                let held = |block: &&Prefix| self.blocks.has_within(block.digest, now, lifetime);
                let read = prefixes.blocks.iter().take_while(held).last().map_or(0, |block| priced.tokens(block.bytes));
                sum.add(&priced, Usage { cache_read: priced.worth_caching(read), ..plain });
            }
            prefixes.blocks.iter().for_each(|block| self.blocks.touch(block.digest, now));
        }
    }

    pub(super) fn finish(self) -> Lever {
        let mut lever = Lever::new("prompt caching", Effect::SameResponses);
        lever.finding = match (self.calls, self.timed, self.priced) {
            (0, ..) => Finding::NotProvable("the log holds no texts of requests".into()),
            (_, 0, _) => Finding::NotProvable(NO_TIMES.into()),
            (.., 0) => Finding::NotProvable("no call has a usage and a known price".into()),
            _ => Finding::Rows(self.rows()),
        };
        if self.priced > 0 {
            lever.notes.push(format!(
                "Money is against no prompt caching, for {} calls of known price.",
                grouped(self.priced)
            ));
            lever.notes.extend(self.breaks.notes());
        }
        if self.blocks.dropped > 0 {
            lever.notes.push("More prefixes within an hour than are kept: the figures are lower bounds.".into());
        }
        lever
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = vec![self.logged.row("as logged".into())];
        for (lifetime, sum) in LIFETIMES.into_iter().zip(&self.free) {
            if sum.calls > 0 {
                rows.push(sum.row(format!("writes free, kept {}", options::time(lifetime))));
            }
        }
        for Charged { writes, lifetime, sum, .. } in self.charged.iter().filter(|cache| cache.sum.calls > 0) {
            let writes = match writes {
                Writes::Whole => "automatic",
                Writes::Breakpoints => "breakpoints after system prompt and messages",
            };
            rows.push(sum.row(format!("{writes}, writes charged, kept {}", options::time(*lifetime))));
        }
        rows
    }
}

impl Charged {
    fn observe(&mut self, priced: &Priced<'_>, prefixes: &Prefixes, now: u32) {
        let Some(whole) = prefixes.segments.last() else { return };
        let within = prefixes.segments.len().saturating_sub(LOOKBACK);
        let fixed = prefixes.fixed_segments.checked_sub(1).filter(|_| self.writes == Writes::Breakpoints);
        let near = prefixes.segments[within..].iter().rev();
        let candidates = near.chain(fixed.map(|last| &prefixes.segments[last]));
        let found = candidates.copied().find(|prefix| self.held.has(prefix.digest, now));
        let read = found.map_or(0, |prefix| priced.worth_caching(priced.tokens(prefix.bytes)));
        if let Some(found) = found.filter(|_| read > 0) {
            self.held.touch(found.digest, now);
        }
        let all = priced.worth_caching(priced.tokens(whole.bytes));
        let written = all.saturating_sub(read);
        if written > 0 {
            self.held.touch(whole.digest, now);
            if let Some(last) = fixed {
                self.held.touch(prefixes.segments[last].digest, now);
            }
        }
        let usage = Usage { cache_read: read, ..priced.plain };
        self.sum.add(
            priced,
            match self.lifetime {
                LONG => Usage { cache_write_long: written, ..usage },
                _ => Usage { cache_write: written, ..usage },
            },
        );
    }
}

impl Sum {
    fn add(&mut self, priced: &Priced<'_>, usage: Usage) {
        let cost = priced.prices.cost(priced.model, &usage).unwrap_or(priced.without);
        self.calls += 1;
        self.read = self.read.saturating_add(usage.cache_read);
        self.written = self.written.saturating_add(usage.cache_write).saturating_add(usage.cache_write_long);
        self.money += priced.without - cost;
    }

    fn row(&self, setting: String) -> Row {
        let detail = format!("{} tokens read, {} written", grouped(self.read), grouped(self.written));
        Row { money: Some(self.money), detail: Some(detail), ..Row::new(setting) }
    }
}
