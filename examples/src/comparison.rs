//! Comparison of the savings of a cache, of packing and of both, on one workload.

use std::{collections::BTreeSet, sync::Arc};

use llm_core::{BoxError, SystemClock};
use llm_testkit::Latency;

use crate::{
    run::{self, AT_ONCE},
    simulation::{CacheSettings, SavingLayers, Simulation},
    table::{aligned, count, dollars},
    workload::{Request, Source},
};

/// Calls that reached the vendor, their tokens and their price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Number of calls.
    pub calls: u64,
    /// Tokens of prompts.
    pub input: u64,
    /// Tokens of responses.
    pub output: u64,
    /// Price in nano-dollars.
    pub paid: i64,
}

/// Sends workloads through a stack that saves nothing, one with a cache, one with packs of so many `prompts`, and one with both.
///
/// Each stack has a vendor of its own that responds at once. As many calls run at one time as packs need, so the times
/// of requests do not count.
///
/// # Errors
///
/// The workload cannot be read, a call fails, or the ledger disagrees with the vendor's bills.
pub async fn compare(
    sources: Vec<Source>,
    models: &BTreeSet<Arc<str>>,
    cache_settings: CacheSettings,
    prompts: usize,
) -> Result<[(&'static str, Spent); 4], BoxError> {
    let requests: Vec<Request> = sources.into_iter().flatten().collect::<Result<_, _>>()?;
    let (cache, pack) = (Some(cache_settings), Some(prompts));
    let mut rows = Vec::new();
    for (name, saving_layers) in [
        ("neither", SavingLayers { cache: None, pack: None }),
        ("cache", SavingLayers { cache, pack: None }),
        ("packing", SavingLayers { cache: None, pack }),
        ("both", SavingLayers { cache, pack }),
    ] {
        let simulation = Simulation::start(SystemClock, Latency::zero(), saving_layers, models).await?;
        let source = Source::of(name, requests.clone());
        run::at_once(&simulation, source, AT_ONCE * saving_layers.pack.unwrap_or(1)).await?;
        if !run::agrees(&simulation) {
            return Err(format!("{name}: {}", run::check(&simulation)).into());
        }
        let (paid, calls) = simulation.bill();
        let usage = simulation.books().total().usage_paid;
        let paid = i64::try_from(paid)?;
        rows.push((name, Spent { calls: calls as u64, input: usage.input, output: usage.output, paid }));
    }
    rows.try_into().map_err(|_| "there are four stacks".into())
}

/// Renders a table of the costs of the stacks, each with its saving against the first one.
#[must_use]
pub fn render(rows: &[(&str, Spent)]) -> String {
    let heads = ["stack", "vendor calls", "saved", "tokens in", "saved", "tokens out", "saved", "paid", "saved"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    let Some((_, first)) = rows.first() else { return aligned(&lines, true) };
    for (name, spent) in rows {
        let paid = |spent: &Spent| u64::try_from(spent.paid).unwrap_or(0);
        lines.push(vec![
            (*name).to_owned(),
            count(spent.calls),
            saved(spent.calls, first.calls),
            count(spent.input),
            saved(spent.input, first.input),
            count(spent.output),
            saved(spent.output, first.output),
            dollars(spent.paid),
            saved(paid(spent), paid(first)),
        ]);
    }
    aligned(&lines, true)
}

/// Returns the saved share in per cent with one decimal, rounded down; negative if more is spent.
fn saved(spent: u64, of: u64) -> String {
    let permille = (i128::from(of) - i128::from(spent)) * 1_000 / i128::from(of.max(1));
    let sign = if permille < 0 { "-" } else { "" };
    format!("{sign}{}.{} %", permille.abs() / 10, permille.abs() % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo;

    /// Returns forty texts of each of two organisations, each text three times.
    fn texts() -> Source {
        let texts = (0..3).flat_map(|_| (0..80).map(|n| Request::new(["acme", "globex"][n % 2], format!("fn f{n}()"))));
        Source::of("texts", texts.collect())
    }

    #[tokio::test]
    async fn comparison_saves_calls_by_cache_and_packing() {
        let rows =
            compare(vec![texts()], &BTreeSet::new(), CacheSettings::default(), 10).await.expect("the books agree");
        let [neither, cache, packing, both] = rows.map(|(_, spent)| spent);
        assert_eq!((neither.calls, cache.calls), (240, 80));
        // Ten prompts a request, and a few prompts that are also sent alone for the check.
        assert!((24..50).contains(&packing.calls) && (8..20).contains(&both.calls), "{rows:?}");
        assert!(packing.input < neither.input && both.input < cache.input, "{rows:?}");
        // Responses are long and the frame is short, so packing saves calls and prompts, but no money.
        assert!(both.paid < packing.paid && cache.paid < neither.paid, "{rows:?}");
        let text = render(&rows);
        assert!(text.contains("66.6 %") && text.lines().count() == 7, "{text}");
    }

    #[tokio::test]
    async fn comparison_of_demo_agrees_with_bills() {
        let rows = compare(vec![demo::source()], &BTreeSet::new(), CacheSettings::default(), 10)
            .await
            .expect("the books agree");
        assert_eq!(rows.map(|(name, _)| name), ["neither", "cache", "packing", "both"]);
        assert_eq!((rows[0].1.calls, rows[1].1.calls), (22, 13));
    }

    #[test]
    fn saved_share_is_negative_above_cost() {
        assert_eq!([saved(1, 3), saved(3, 3), saved(4, 3), saved(0, 0)], ["66.6 %", "0.0 %", "-33.3 %", "0.0 %"]);
    }
}
