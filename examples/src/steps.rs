//! Figures of an application in each step, and the table of the savings of each step.

use std::time::Duration;

use llm_core::{BoxError, Usd};
use llm_providers::Ledger;
use llm_testkit::Vendor;

use crate::{
    percentile::nearest_rank,
    report::{Cell, Report},
};

/// Results of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Number of calls of the application.
    pub calls: u64,
    /// Number of calls that got a response.
    pub answered: u64,
    /// Number of requests that vendors received.
    pub sent: u64,
    /// Number of requests that vendors refused because of their limits.
    pub limited: u64,
    /// Number of tokens that were paid.
    pub tokens: u64,
    /// Amount paid.
    pub paid: Usd,
    /// Time within which 95 of 100 responses arrived.
    pub p95: Duration,
}

impl Figures {
    /// Collects the results of a run. `calls` has the duration of each call, and `true` if it got a response.
    ///
    /// # Errors
    ///
    /// The ledger is not balanced, or disagrees with the vendors' bills by a nano-dollar or more.
    pub fn of(ledger: &Ledger, vendors: &[&Vendor], calls: &[(Duration, bool)]) -> Result<Self, BoxError> {
        let total = ledger.snapshot().total().clone();
        let billed: u64 = vendors.iter().map(|vendor| vendor.total_billed()).sum();
        let billed = Usd::from_nanos(billed.try_into()?);
        if total.paid != billed || !total.balance().is_balanced() {
            return Err(format!("the ledger paid {}, and the vendors billed {billed}", total.paid).into());
        }
        let mut times: Vec<Duration> = calls.iter().filter(|(_, answered)| *answered).map(|(took, _)| *took).collect();
        times.sort_unstable();
        Ok(Self {
            calls: calls.len() as u64,
            answered: times.len() as u64,
            sent: vendors.iter().map(|vendor| vendor.calls()).sum(),
            limited: vendors.iter().map(|vendor| vendor.limited().len() as u64).sum(),
            tokens: total.usage_paid.input + total.usage_paid.output,
            paid: total.paid,
            p95: nearest_rank(&times, 95).unwrap_or_default(),
        })
    }
}

/// Returns the table of the steps: the results of each, and what it saved compared with the step before it.
#[must_use]
pub fn report(title: impl Into<String>, steps: &[(&str, Figures)]) -> Report {
    let figures = ["step", "calls", "answered", "sent", "429s", "tokens", "paid", "p95"];
    let saved = ["saved requests", "saved tokens", "saved money", "saved p95"];
    let mut report = Report::new(title, [figures.as_slice(), &saved].concat());
    let before = [None].into_iter().chain(steps.iter().map(|(_, figures)| Some(figures)));
    for ((name, now), before) in steps.iter().zip(before) {
        let cells = [
            Cell::Count(now.calls),
            Cell::Count(now.answered),
            Cell::Count(now.sent),
            Cell::Count(now.limited),
            Cell::Count(now.tokens),
            Cell::Money(now.paid),
            Cell::Time(now.p95),
        ];
        let saved = before.map(|before| {
            [
                Cell::Change(before.sent.cast_signed() - now.sent.cast_signed()),
                Cell::Change(before.tokens.cast_signed() - now.tokens.cast_signed()),
                Cell::Money(before.paid - now.paid),
                Cell::TimeChange(millis(before.p95) - millis(now.p95)),
            ]
        });
        report.row(*name, cells.into_iter().chain(saved.into_iter().flatten()));
    }
    report.note("saved: less than in the step before it; a request that got no response saved nothing");
    report.note("in each step the ledger and the simulated vendors' bills are equal to the nano-dollar");
    report
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_show_savings_and_losses() {
        let step = |sent, nanos, seconds| Figures {
            sent,
            paid: Usd::from_nanos(nanos),
            p95: Duration::from_secs(seconds),
            ..Figures::default()
        };
        let steps = [("nothing", step(10, 2_000_000_000, 3)), ("+ packing", step(4, 2_500_000_000, 9))];
        let report = report("Test", &steps);
        assert_eq!(report.cell(0, "saved requests"), Some(&Cell::None));
        assert_eq!(report.cell(1, "saved requests"), Some(&Cell::Change(6)));
        assert_eq!(report.cell(1, "saved money"), Some(&Cell::Money(Usd::from_nanos(-500_000_000))));
        assert!(report.to_string().contains("-6.0 s"), "{report}");
    }
}
