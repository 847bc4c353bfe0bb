//! Metrics of attempts, if the feature `metrics` is on.

#[cfg(feature = "metrics")]
pub(super) use self::recorded::Meter;
#[cfg(not(feature = "metrics"))]
pub(super) use self::silent::Meter;

#[cfg(feature = "metrics")]
mod recorded {
    use std::sync::Arc;

    use llm_core::{ErrorKind, Usd};
    use metrics::{Gauge, Label, SharedString, counter, gauge, histogram};
    use tokio::time::Instant;

    use crate::{
        ledger::{Attempt, Charged, Outcome},
        telemetry::word,
    };

    /// Metrics of one attempt, while it runs.
    pub(in crate::ledger) struct Meter {
        began: Instant,
        operation: &'static str,
        model: SharedString,
        is_streamed: bool,
        in_flight: Gauge,
    }

    impl Meter {
        /// Begins an attempt. Models that the price table does not list share one series, so that the number of series
        /// is bounded.
        pub(in crate::ledger) fn begin(
            operation: &'static str,
            is_streamed: bool,
            model: &Arc<str>,
            is_listed: bool,
        ) -> Self {
            let model = if is_listed { SharedString::from(Arc::clone(model)) } else { "other".into() };
            let in_flight = gauge!("llm_providers_calls_in_flight", "operation" => operation, "model" => model.clone());
            in_flight.increment(1);
            Self { began: Instant::now(), operation, model, is_streamed, in_flight }
        }

        /// Records the time from the start of a streamed attempt to its reply. That is the time to the first content,
        /// because the client returns a stream once its first content has arrived, unless that takes longer than the
        /// client holds the stream back. Replies that are not streamed are not recorded.
        pub(in crate::ledger) fn replied(&self, provider: Option<&Arc<str>>) {
            if self.is_streamed {
                histogram!("llm_providers_first_content_seconds", self.labels(provider)).record(self.began.elapsed());
            }
        }

        pub(in crate::ledger) fn failed(&self, provider: Option<&Arc<str>>, kind: ErrorKind) {
            counter!("llm_providers_errors_total", self.with(provider, "kind", word(kind))).increment(1);
        }

        pub(in crate::ledger) fn ended(&self, attempt: &Attempt) {
            let provider = attempt.provider.as_ref();
            let outcome = match attempt.outcome {
                Outcome::Complete => "complete",
                Outcome::Failed => "failed",
                Outcome::Abandoned => "abandoned",
            };
            let outcome = self.with(provider, "outcome", outcome);
            counter!("llm_providers_calls_total", outcome.clone()).increment(1);
            histogram!("llm_providers_call_seconds", outcome.clone()).record(self.began.elapsed());
            if let Some(usage) = attempt.usage {
                counter!("llm_providers_tokens_total", self.with(provider, "kind", "input")).increment(usage.input);
                counter!("llm_providers_tokens_total", self.with(provider, "kind", "output")).increment(usage.output);
            }
            match attempt.charged {
                Charged::Nothing => {}
                Charged::Paid(cost) => counter!("llm_providers_cost_nano_usd_total", outcome).increment(nanos(cost)),
                Charged::Unconfirmed(Some(bound)) => {
                    counter!("llm_providers_unconfirmed_nano_usd_total", self.labels(provider)).increment(nanos(bound));
                }
                Charged::Unpriced(_) | Charged::Unconfirmed(None) => {
                    counter!("llm_providers_unknown_cost_total", self.labels(provider)).increment(1);
                }
            }
        }

        /// Returns the labels that all metrics of an ended attempt have. The client, not the caller, decides the
        /// provider's name.
        fn labels(&self, provider: Option<&Arc<str>>) -> Vec<Label> {
            let provider = provider.map_or("unknown".into(), |name| SharedString::from(Arc::clone(name)));
            vec![
                Label::new("provider", provider),
                Label::new("operation", self.operation),
                Label::new("model", self.model.clone()),
            ]
        }

        fn with(&self, provider: Option<&Arc<str>>, name: &'static str, value: &'static str) -> Vec<Label> {
            let mut labels = self.labels(provider);
            labels.push(Label::new(name, value));
            labels
        }
    }

    /// Converts a cost, which is never negative, to nano-dollars.
    fn nanos(amount: Usd) -> u64 {
        u64::try_from(amount.nanos()).unwrap_or_default()
    }

    impl Drop for Meter {
        fn drop(&mut self) {
            self.in_flight.decrement(1);
        }
    }

    impl std::fmt::Debug for Meter {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Meter").field("model", &self.model).finish_non_exhaustive()
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod silent {
    use std::sync::Arc;

    use llm_core::ErrorKind;

    use crate::ledger::Attempt;

    /// Replacement without the feature `metrics`, which records nothing.
    #[derive(Debug)]
    pub(in crate::ledger) struct Meter;

    impl Meter {
        pub(in crate::ledger) fn begin(_: &'static str, _: bool, _: &Arc<str>, _: bool) -> Self {
            Self
        }

        pub(in crate::ledger) fn replied(&self, _: Option<&Arc<str>>) {}

        pub(in crate::ledger) fn failed(&self, _: Option<&Arc<str>>, _: ErrorKind) {}

        pub(in crate::ledger) fn ended(&self, _: &Attempt) {}
    }
}
