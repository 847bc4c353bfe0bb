//! A limit as a vendor states it.

use crate::flavor::Format;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// A limit that the vendor enforces: no more than so much within any window of a length. The window slides: it is kept
/// as a log of what was admitted when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub(crate) measure: Measure,
    pub(crate) most: u64,
    pub(crate) per: Duration,
    pub(crate) slice: Option<Duration>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Requests,
    /// Prompt and the maximum of the answer, when a call is admitted.
    Reserved,
    /// The prompt when a call is admitted, the answer when it has ended.
    Used,
    /// The prompt without what is read from a cache, when a call is admitted.
    Input,
    /// The answer, when it has ended.
    Output,
}

impl Limit {
    /// At most `most` requests in any `per`. What is refused does not count; what fails after it was admitted does.
    pub fn requests(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Requests, most, per, slice: None }
    }

    /// At most `most` tokens in any `per`, counted when a call is admitted: those of the prompt, and of each choice the
    /// maximum that the request states, if it states one. So does OpenAI.
    pub fn tokens(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Reserved, ..Self::requests(most, per) }
    }

    /// At most `most` tokens in any `per`, those of the prompt when a call is admitted and those of the answer when it
    /// has ended. A call is admitted if its prompt fits.
    pub fn used_tokens(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Used, ..Self::requests(most, per) }
    }

    /// At most `most` tokens of prompts in any `per`, without those read from a cache. So do Anthropic and Gemini.
    pub fn input_tokens(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Input, ..Self::requests(most, per) }
    }

    /// At most `most` tokens of answers in any `per`, counted when a call has ended: calls are admitted while any are
    /// left. So does Anthropic.
    pub fn output_tokens(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Output, ..Self::requests(most, per) }
    }

    /// Also enforced in each `slice` of the window, as vendors do: 60 requests a minute in slices of a second let one
    /// through in any second. A slice lets at least 1 through.
    #[must_use]
    pub fn in_slices_of(self, slice: Duration) -> Self {
        Self { slice: Some(slice.min(self.per)), ..self }
    }

    /// What a format calls it.
    pub(crate) fn code(&self, format: Format) -> &'static str {
        match (format, self.measure) {
            _ if self.per >= DAY => "requests_per_day",
            (Format::OpenAi, Measure::Requests) | (Format::Anthropic, _) => "rate_limit_exceeded",
            (Format::OpenAi, _) => "tokens",
            (Format::Gemini, Measure::Requests) => "GenerateRequestsPerMinutePerProjectPerModel",
            (Format::Gemini, _) => "GenerateContentPaidTierInputTokensPerModelPerMinute",
        }
    }

    /// The windows that have to hold: each with the most that it lets through.
    pub(super) fn windows(&self) -> impl Iterator<Item = (u64, Duration)> + use<> {
        let (most, per) = (self.most, self.per);
        let share = move |slice: Duration| {
            let share = u128::from(most) * slice.as_nanos() / per.as_nanos().max(1);
            (u64::try_from(share).unwrap_or(u64::MAX).max(1), slice)
        };
        [(most, per)].into_iter().chain(self.slice.map(share))
    }

    /// What a call counts when it is admitted.
    pub(super) fn admission(&self, demand: &super::Demand) -> u64 {
        match self.measure {
            Measure::Requests => 1,
            Measure::Reserved => demand.input.saturating_add(demand.most_output),
            Measure::Used => demand.input,
            Measure::Input => demand.input.saturating_sub(demand.cached),
            Measure::Output => 0,
        }
    }

    /// What a call counts when it has ended.
    pub(super) fn ending(&self, output: u64) -> u64 {
        if matches!(self.measure, Measure::Used | Measure::Output) { output } else { 0 }
    }
}
