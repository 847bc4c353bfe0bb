//! Finds the places at which tools or a system prompt differ from call to call, so that the vendor's prompt cache
//! cannot be used after them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use llm_core::{Usage, Usd};

use super::{
    prefix::{BLOCK, Held, Prefixes, is_fixed},
    priced::Priced,
};
use crate::{record::Prompt, report::grouped};

/// Longest time between two calls of one template that are compared, in seconds.
const WITHIN: u32 = 3_600;
/// Largest number of places for which the lost savings are counted.
const MAX_PLACES: usize = 256;
/// Largest number of templates that are known at the same time.
const MAX_TEMPLATES: usize = 1 << 16;
/// Largest number of places in the report.
const REPORTED: usize = 5;

#[derive(Debug)]
pub(super) struct Breaks {
    /// Digests of templates. A template consists of the words without a digit in tools and system prompt.
    templates: Held,
    places: BTreeMap<Place, Lost>,
}

impl Default for Breaks {
    fn default() -> Self {
        let templates = Held::with_most(Duration::from_secs(WITHIN.into()), MAX_TEMPLATES);
        Self { templates, places: BTreeMap::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    model: Arc<str>,
    segment: &'static str,
    /// Position in the segment of the first byte of the first block that differs.
    from: u64,
    cause: &'static str,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    calls: u64,
    tokens: u64,
    money: Usd,
}

impl Breaks {
    /// Compares a call with earlier calls of its template, whose blocks are in `blocks`, and counts the lost savings at
    /// the place of the first difference.
    pub(super) fn observe(&mut self, priced: &Priced<'_>, prefixes: &Prefixes, blocks: &Held, now: u32) {
        let fixed = priced.worth_caching(priced.tokens(prefixes.fixed));
        if fixed == 0 {
            return;
        }
        let template = template(priced.model, priced.prompt);
        let is_known = self.templates.has(template, now);
        self.templates.touch(template, now);
        let fixed_blocks = prefixes.fixed_blocks();
        let same = fixed_blocks.iter().take_while(|block| blocks.has_within(block.digest, now, WITHIN)).count();
        if !is_known || same == fixed_blocks.len() {
            return;
        }
        let tokens = fixed - priced.worth_caching(priced.tokens((same * BLOCK) as u64));
        let read = Usage { cache_read: tokens, ..priced.plain };
        let money = priced.without - priced.prices.cost(priced.model, &read).unwrap_or(priced.without);
        let Some((segment, from, cause)) = locate(priced.prompt, same * BLOCK) else { return };
        let place = Place { model: priced.model.into(), segment, from, cause };
        if self.places.len() < MAX_PLACES || self.places.contains_key(&place) {
            let lost = self.places.entry(place).or_default();
            lost.calls += 1;
            lost.tokens += tokens;
            lost.money += money;
        }
    }

    /// Returns a note for each of the [`REPORTED`] places with the largest lost savings.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut places: Vec<_> = self.places.iter().collect();
        places.sort_by_key(|(_, lost)| std::cmp::Reverse(lost.money));
        let note = |(place, lost): &(&Place, &Lost)| {
            format!(
                "{}: the {} differs from call to call from about byte {} ({}), so {} tokens in {} calls could not be read from \
                 the vendor's cache: {:.2}. Put it behind what stays equal.",
                place.model,
                place.segment,
                place.from,
                place.cause,
                grouped(lost.tokens),
                grouped(lost.calls),
                lost.money
            )
        };
        places.iter().take(REPORTED).map(note).collect()
    }
}

/// Returns the digest of a prompt's template. The template omits words with a digit, so that dates, times and
/// identifiers do not change it.
fn template(model: &str, prompt: &Prompt) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(model.as_bytes());
    for segment in prompt.segments.iter().take_while(|segment| is_fixed(segment.kind)) {
        let words =
            segment.text.split_ascii_whitespace().filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()));
        words.for_each(|word| {
            hasher.update(word.as_bytes()).update(b" ");
        });
    }
    let bytes: [u8; 8] = hasher.finalize().as_bytes()[..8].try_into().unwrap_or_default();
    u64::from_le_bytes(bytes)
}

/// Returns the segment that contains byte `at` of the prompt, the position in that segment, and the likely cause in the
/// block that begins there.
fn locate(prompt: &Prompt, mut at: usize) -> Option<(&'static str, u64, &'static str)> {
    for segment in &prompt.segments {
        if at < segment.text.len() {
            let end = (at + BLOCK).min(segment.text.len());
            let block = String::from_utf8_lossy(&segment.text.as_bytes()[at..end]);
            return Some((segment.kind.name(), at as u64, cause(&block)));
        }
        at -= segment.text.len();
    }
    None
}

/// Returns the likely kind of the changing value in a text.
fn cause(text: &str) -> &'static str {
    let words = || text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != ':');
    let digits = |word: &str| word.bytes().filter(u8::is_ascii_digit).count();
    let is_id = |word: &str| word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
    let is_date = |word: &str| word.len() >= 10 && word.as_bytes()[4] == b'-' && digits(&word[..10]) == 8;
    if words().any(is_id) {
        "an identifier"
    } else if words().any(is_date) {
        "a date"
    } else if words().any(|word| word.contains(':') && digits(word) >= 3) {
        "a time of day"
    } else if words().any(|word| digits(word) >= 4) {
        "a number"
    } else {
        "its words"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Segment, SegmentKind};

    #[test]
    fn cause_names_what_changes() {
        for (text, expected) in [
            ("Today is 2026-11-29.", "a date"),
            ("It is 2026-11-29T10:15:00Z", "a date"),
            ("request 0f8fad5b-d9cb-469f-a165-70867728950e", "an identifier"),
            ("now: 10:15:07 in Paris", "a time of day"),
            ("customer 4711002", "a number"),
            ("You help Élodie", "its words"),
            ("", "its words"),
        ] {
            assert_eq!(cause(text), expected, "{text}");
        }
    }

    #[test]
    fn template_ignores_words_with_digits() {
        let prompt = |text: &str| Prompt::whole(vec![Segment::new(SegmentKind::System, text)]);
        assert_eq!(template("m", &prompt("At 10:15 help")), template("m", &prompt("At 10:16 help")));
        assert_ne!(template("m", &prompt("At 10:15 help")), template("m", &prompt("At 10:15 wait")));
    }

    #[test]
    fn place_is_within_its_segment() {
        let segment = |kind, text: &str| Segment::new(kind, text);
        let prompt = Prompt::whole(vec![
            segment(SegmentKind::Tools, &"t".repeat(600)),
            segment(SegmentKind::System, "Today is 2026-11-29, Élodie."),
        ]);
        assert_eq!(locate(&prompt, 512), Some(("tools", 512, "its words")));
        assert_eq!(locate(&prompt, 600), Some(("system prompt", 0, "a date")));
        assert_eq!(locate(&prompt, 6_000), None);
    }
}
