use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Rate, sum::Sum};
use crate::{Usage, Usd};

/// Prices of one model's tokens, by kind.
///
/// ```
/// use llm_core::{Usage, price::{ModelPrice, Price, PriceTable, Rate}};
///
/// let dollars = |dollars: u64| Rate::from_nanos(dollars * 1_000_000_000);
/// let price = Price { input: dollars(2), output: dollars(8), ..Price::default() };
/// let table = PriceTable::new("2026-12-01").with("m", ModelPrice::flat(price))?;
/// assert_eq!(table.cost("m", &Usage::new(1_000, 100))?.to_string(), "$0.0028");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A kind of input whose field is `None` has the price of another kind. Cached tokens and audio cost as much as plain
/// input, tokens written for a longer lifetime as much as other written tokens, and cached audio as much as other
/// cached tokens. Output that is not text, and searches, have an unknown cost unless they have a price of their own.
///
/// ```
/// use llm_core::{Usage, price::{Price, Rate}};
///
/// let price = Price {
///     input: Rate::per_million("2.5".parse()?)?,
///     cache_read: Some(Rate::per_million("1.25".parse()?)?),
///     output: Rate::per_million("10".parse()?)?,
///     ..Price::default()
/// };
/// let usage = Usage { input: 1_000, cache_read: 600, output: 10, ..Usage::default() };
/// // 400 × $2.50 + 600 × $1.25 + 10 × $10, each per million
/// assert_eq!(price.cost(&usage).map(|cost| cost.to_string()).as_deref(), Some("$0.00185"));
/// let drawn = Usage { image_output: 5, ..usage };
/// assert_eq!(price.cost(&drawn), None);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Price of input tokens.
    pub input: Rate,
    /// Price of input tokens read from the vendor's prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Rate>,
    /// Price of input tokens written to the vendor's prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Rate>,
    /// Price of input tokens written to the vendor's prompt cache for a longer lifetime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<Rate>,
    /// Price of audio among the plain input tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<Rate>,
    /// Price of audio among the input tokens read from the vendor's prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_cache_read: Option<Rate>,
    /// Price of output tokens, reasoning included.
    pub output: Rate,
    /// Price of audio among the output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<Rate>,
    /// Price of images among the output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_output: Option<Rate>,
    /// Price of searches by the vendor's own tools, for a million searches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Rate>,
    /// True if `search` is the price of a request with one or more searches, instead of the price of each search.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub search_per_request: bool,
}

/// Kind of tokens, or searches, with a price of its own. Each token of a [`Usage`] is of exactly one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TokenKind {
    /// Input that is neither cached nor audio.
    Input,
    /// Audio input that is not cached.
    AudioInput,
    /// Input read from the vendor's prompt cache.
    CacheRead,
    /// Audio input read from the vendor's prompt cache.
    AudioCacheRead,
    /// Input written to the vendor's prompt cache.
    CacheWrite,
    /// Input written to the vendor's prompt cache for a longer lifetime.
    CacheWriteLong,
    /// Output, including reasoning.
    Output,
    /// Audio output.
    AudioOutput,
    /// Image output.
    ImageOutput,
    /// Searches by the vendor, which are charged in addition to tokens.
    Search,
}

impl TokenKind {
    /// Returns the name of the kind in a few words, for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::AudioInput => "audio input",
            Self::CacheRead => "cache read",
            Self::AudioCacheRead => "audio cache read",
            Self::CacheWrite => "cache write",
            Self::CacheWriteLong => "long cache write",
            Self::Output => "output",
            Self::AudioOutput => "audio output",
            Self::ImageOutput => "image output",
            Self::Search => "searches",
        }
    }

    /// Returns `true` for searches, to which surcharges on tokens do not apply.
    pub(super) fn is_search(self) -> bool {
        self == Self::Search
    }
}

impl Price {
    /// Returns the cost of `usage`: Σ tokens × rate ÷ 10⁶, computed exactly and rounded up to the next nano-dollar.
    /// `None` if the usage has a kind of tokens without a price.
    pub fn cost(&self, usage: &Usage) -> Option<Usd> {
        Some(self.sum(usage, 1_000, &[]).ok()?.rounded_up())
    }

    /// Returns the largest cost of `input` and `output` tokens, whatever kinds they are.
    ///
    /// Prices of audio input and of searches are ignored, because a request that may hold audio, or lets the vendor
    /// search, has no [`input_bound`](crate::Estimate::input_bound).
    pub fn bound(&self, input: u64, output: u64) -> Usd {
        self.bound_sum(input, output, 1_000).rounded_up()
    }

    /// Returns each kind of tokens in `usage` with its count and its rate (`None` if unknown), in the order of a bill.
    ///
    /// Not every vendor states how many of the cached tokens were audio. Audio tokens that the vendor does not state as
    /// cached therefore count as not cached as far as the numbers permit, which is the dearer reading.
    pub fn items(&self, usage: &Usage) -> [(TokenKind, u64, Option<Rate>); 10] {
        let plain = usage.uncached_input();
        let forced = usage.audio_input.saturating_sub(plain);
        let audio_read = usage.audio_cache_read.min(usage.audio_input).max(forced).min(usage.cache_read);
        let audio = (usage.audio_input - audio_read).min(plain);
        let audio_output = usage.audio_output.min(usage.output);
        let image_output = usage.image_output.min(usage.output - audio_output);
        let searches = if self.search_per_request { usage.searches.min(1) } else { usage.searches };
        let or_input = |rate: Option<Rate>| Some(rate.unwrap_or(self.input));
        [
            (TokenKind::Input, plain - audio, Some(self.input)),
            (TokenKind::AudioInput, audio, or_input(self.audio_input)),
            (TokenKind::CacheRead, usage.cache_read - audio_read, or_input(self.cache_read)),
            (
                TokenKind::AudioCacheRead,
                audio_read,
                or_input(self.audio_cache_read.or(self.cache_read).or(self.audio_input)),
            ),
            (TokenKind::CacheWrite, usage.cache_write, or_input(self.cache_write)),
            (TokenKind::CacheWriteLong, usage.cache_write_long, or_input(self.cache_write_long.or(self.cache_write))),
            (TokenKind::Output, usage.output - audio_output - image_output, Some(self.output)),
            (TokenKind::AudioOutput, audio_output, self.audio_output),
            (TokenKind::ImageOutput, image_output, self.image_output),
            (TokenKind::Search, searches, self.search),
        ]
    }

    /// Returns the rates by kind; `None` for a kind without a rate.
    pub(super) fn rates(&self) -> [Option<Rate>; 10] {
        let Self {
            input,
            cache_read,
            cache_write,
            cache_write_long,
            audio_input,
            audio_cache_read,
            output,
            audio_output,
            image_output,
            search,
            search_per_request: _,
        } = *self;
        [
            Some(input),
            cache_read,
            cache_write,
            cache_write_long,
            audio_input,
            audio_cache_read,
            Some(output),
            audio_output,
            image_output,
            search,
        ]
    }

    /// Returns the exact cost times the factor `per_mille`, in thousandths. The cost of all kinds except searches is
    /// also multiplied by the factors of the surcharges.
    ///
    /// # Errors
    ///
    /// Returns the first kind of tokens without a price.
    pub(super) fn sum(&self, usage: &Usage, per_mille: u32, factors: &[u32]) -> Result<Sum, TokenKind> {
        let mut sum = Sum::new(per_mille);
        let used = self.items(usage).into_iter().filter(|(_, tokens, _)| *tokens > 0);
        let priced = used.map(|(kind, tokens, rate)| Ok((kind, tokens, rate.ok_or(kind)?)));
        let priced = priced.collect::<Result<Vec<_>, TokenKind>>()?;
        let (searches, tokens): (Vec<_>, Vec<_>) = priced.into_iter().partition(|(kind, ..)| kind.is_search());
        tokens.into_iter().for_each(|(_, tokens, rate)| sum.add(tokens, rate));
        factors.iter().for_each(|factor| sum.times(*factor));
        searches.into_iter().for_each(|(_, searches, rate)| sum.add(searches, rate));
        Ok(sum)
    }

    pub(super) fn bound_sum(&self, input: u64, output: u64, per_mille: u32) -> Sum {
        let cached = [self.cache_read, self.cache_write, self.cache_write_long];
        let dearest = cached.into_iter().flatten().fold(self.input, Rate::max);
        let shown = [self.audio_output, self.image_output].into_iter().flatten().fold(self.output, Rate::max);
        let mut sum = Sum::new(per_mille);
        sum.add(input, dearest);
        sum.add(output, shown);
        sum
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(nanos: u64) -> Rate {
        Rate::from_nanos(nanos)
    }

    #[test]
    fn price_cost_rounds_up() {
        let price = Price { input: rate(1), ..Price::default() };
        assert_eq!(price.cost(&Usage::new(1, 0)).unwrap().nanos(), 1);
        assert_eq!(price.cost(&Usage::new(1_000_001, 0)).unwrap().nanos(), 2);
        assert_eq!(price.cost(&Usage::default()).unwrap().nanos(), 0);
    }

    #[test]
    fn price_cached_tokens_are_input() {
        let price = Price { input: rate(1_000_000), cache_read: Some(rate(100_000)), ..Price::default() };
        let usage = Usage { input: 100, cache_read: 90, ..Usage::default() };
        assert_eq!(price.cost(&usage).unwrap().nanos(), 10 + 9);
    }

    #[test]
    fn price_audio_counts_as_uncached_first() {
        let price = Price {
            input: rate(1_000_000),
            cache_read: Some(rate(100_000)),
            audio_input: Some(rate(5_000_000)),
            audio_cache_read: Some(rate(300_000)),
            audio_output: Some(rate(7_000_000)),
            ..Price::default()
        };
        let of = |audio_input, audio_cache_read| Usage {
            cache_read: 90,
            audio_input,
            audio_cache_read,
            ..Usage::new(100, 0)
        };
        let cost = |audio_input| price.cost(&of(audio_input, 0)).unwrap().nanos();
        assert_eq!(cost(4), 6 + 4 * 5 + 9, "four of the ten plain tokens");
        assert_eq!(cost(30), 10 * 5 + 20 * 3 / 10 + 70 / 10, "all ten plain tokens, twenty of the cached ones");
        assert_eq!(price.cost(&of(4, 4)).unwrap().nanos(), 20, "all four are stated as cached: 10 + 8.6 + 1.2");
        assert_eq!(price.cost(&of(4, 90)).unwrap().nanos(), 20, "no more than there was audio");
        let spoken = Usage { audio_output: 3, ..Usage::new(0, 10) };
        assert_eq!(price.cost(&spoken).unwrap().nanos(), 3 * 7);
    }

    #[test]
    fn price_of_unlisted_kind_is_unknown() {
        let text = Price { input: rate(1_000_000), output: rate(2_000_000), ..Price::default() };
        let (drawn, spoken) =
            (Usage { image_output: 4, ..Usage::new(0, 10) }, Usage { audio_output: 4, ..Usage::new(0, 10) });
        let found = Usage { searches: 3, ..Usage::new(10, 0) };
        assert_eq!([drawn, spoken, found].map(|usage| text.cost(&usage)), [None; 3]);
        let (image_output, audio_output, search) =
            (Some(rate(5_000_000)), Some(rate(7_000_000)), Some(rate(9_000_000)));
        let listed = Price { image_output, audio_output, search, ..text };
        let costs = [drawn, spoken, found].map(|usage| listed.cost(&usage).unwrap().nanos());
        assert_eq!(costs, [6 * 2 + 4 * 5, 6 * 2 + 4 * 7, 10 + 3 * 9]);
    }

    #[test]
    fn price_of_absurd_amounts_saturates() {
        let price = Price { input: rate(u64::MAX), output: rate(u64::MAX), ..Price::default() };
        assert_eq!(price.sum(&Usage::new(u64::MAX, u64::MAX), u32::MAX, &[]).unwrap().rounded_up(), Usd::MAX);
    }

    proptest! {
        #[test]
        fn price_of_more_tokens_is_higher(a in 0u64..1 << 40, b in 0u64..1 << 20, i in 0u64..1 << 45, o in 0u64..1 << 45) {
            let price = Price { input: rate(i), output: rate(o), ..Price::default() };
            prop_assert!(price.cost(&Usage::new(a + b, a)) >= price.cost(&Usage::new(a, a)));
            prop_assert!(price.cost(&Usage::new(a, a)) >= Some(Usd::ZERO));
            let cached = Usage { cache_read: a / 2, ..Usage::new(a, b) };
            prop_assert!(Some(price.bound(a, b)) >= price.cost(&cached));
        }

        #[test]
        fn price_each_token_is_one_kind(
            parts in prop::array::uniform4(0u64..50), audio in prop::array::uniform2(0u64..300), shown in prop::array::uniform2(0u64..9),
        ) {
            let [plain, cache_read, cache_write, cache_write_long] = parts;
            let input = plain + cache_read + cache_write + cache_write_long;
            let usage = Usage {
                cache_read, cache_write, cache_write_long, audio_input: audio[0], audio_cache_read: audio[1],
                audio_output: shown[0], image_output: shown[1], ..Usage::new(input, 9)
            };
            let counted: u64 = Price::default().items(&usage).iter().map(|(_, tokens, _)| tokens).sum();
            prop_assert_eq!(counted, usage.total());
        }
    }
}
