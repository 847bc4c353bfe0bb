//! Enforced limits, as vendors state them.

use crate::flavor::Format;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Limit that the vendor enforces in every window of a given length.
///
/// The window slides, because the vendor keeps a log of admitted calls.
///
/// # Example
///
/// ```
/// use llm_testkit::{Limit, Vendor};
/// use std::time::Duration;
///
/// let minute = Duration::from_secs(60);
/// let limits = [Limit::requests(60, minute).in_slices_of(Duration::from_secs(1)), Limit::tokens(10_000, minute)];
/// let vendor = Vendor::builder().limit_each_key(limits).build();
/// assert!(vendor.limited().is_empty());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub(crate) measure: Measure,
    pub(crate) most: u64,
    pub(crate) per: Duration,
    pub(crate) slice: Option<Duration>,
    pub(crate) model: Option<&'static str>,
}

/// Amount that a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Requests,
    /// Tokens of the prompt and the stated maximum of the response, when a call is admitted.
    Reserved,
    /// Tokens of the prompt when a call is admitted, and those of the response when it has ended.
    Used,
    /// Tokens of the prompt without those read from a cache, when a call is admitted.
    Input,
    /// Tokens of the response, when the call has ended.
    Output,
}

impl Limit {
    /// Allows at most `most` requests in any period of length `per`. Admitted requests count even if they fail, refused
    /// requests do not.
    pub fn requests(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Requests, most, per, slice: None, model: None }
    }

    /// Allows at most `most` tokens in any period of length `per`, counted when a call is admitted, as OpenAI does.
    ///
    /// The counted tokens are those of the prompt and, for each choice, the maximum that the request states, if any.
    pub fn tokens(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Reserved, ..Self::requests(most, per) }
    }

    /// Allows at most `most` tokens in any period of length `per`. Tokens of the prompt count when a call is admitted,
    /// tokens of the response when it has ended. A call is admitted if its prompt fits.
    pub fn used_tokens(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Used, ..Self::requests(most, per) }
    }

    /// Allows at most `most` tokens of prompts in any period of length `per`, without those read from a cache, as
    /// Anthropic and Gemini do.
    pub fn input_tokens(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Input, ..Self::requests(most, per) }
    }

    /// Allows at most `most` tokens of responses in any period of length `per`, counted when a call has ended, as
    /// Anthropic does.
    ///
    /// Calls are admitted while any tokens remain.
    pub fn output_tokens(most: u64, per: Duration) -> Self {
        Self { measure: Measure::Output, ..Self::requests(most, per) }
    }

    /// Enforces the limit in each `slice` of the window too, as vendors do.
    ///
    /// For example, 60 requests a minute in slices of a second admit one request in any second. A slice admits at least
    /// 1 request or token.
    #[must_use]
    pub fn in_slices_of(self, slice: Duration) -> Self {
        Self { slice: Some(slice.min(self.per)), ..self }
    }

    /// Limits requests for this model only. By default a limit counts the requests for all models together.
    #[must_use]
    pub fn of_model(self, model: &'static str) -> Self {
        Self { model: Some(model), ..self }
    }

    /// Returns `true` if the limit counts requests for a model.
    pub(super) fn counts(&self, model: &str) -> bool {
        self.model.is_none_or(|of| of == model)
    }

    /// Returns the error code of the limit in a format.
    pub(crate) fn code(&self, format: Format) -> &'static str {
        match (format, self.measure) {
            _ if self.per >= DAY => "requests_per_day",
            (Format::OpenAi, Measure::Requests) | (Format::Anthropic, _) => "rate_limit_exceeded",
            (Format::OpenAi, _) => "tokens",
            (Format::Gemini, Measure::Requests) => "GenerateRequestsPerMinutePerProjectPerModel",
            (Format::Gemini, _) => "GenerateContentPaidTierInputTokensPerModelPerMinute",
        }
    }

    /// Returns the windows of the limit, each with the largest amount that it admits.
    pub(super) fn windows(&self) -> impl Iterator<Item = (u64, Duration)> + use<> {
        let (most, per) = (self.most, self.per);
        let share = move |slice: Duration| {
            let share = u128::from(most) * slice.as_nanos() / per.as_nanos().max(1);
            (u64::try_from(share).unwrap_or(u64::MAX).max(1), slice)
        };
        [(most, per)].into_iter().chain(self.slice.map(share))
    }

    /// Returns the amount that a call counts when it is admitted.
    pub(super) fn admission(&self, demand: &super::Demand) -> u64 {
        match self.measure {
            Measure::Requests => 1,
            Measure::Reserved => demand.input.saturating_add(demand.most_output),
            Measure::Used => demand.input,
            Measure::Input => demand.input.saturating_sub(demand.cached),
            Measure::Output => 0,
        }
    }

    /// Returns the amount that a call counts when it has ended.
    pub(super) fn ending(&self, output: u64) -> u64 {
        if matches!(self.measure, Measure::Used | Measure::Output) { output } else { 0 }
    }
}
