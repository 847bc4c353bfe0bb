use std::{fmt::Write, time::Duration};

use llm_cache::EvictionPolicy;

use super::{CacheSettings, Layer, Naive, Workload, optimal};

/// Measured capacities, in thousandths of the number of different responses.
pub const CAPACITIES: [usize; 5] = [10, 50, 100, 250, 1_000];

/// Measured times to live, with their names.
pub const TTLS: [(&str, Option<Duration>); 5] = [
    ("none", None),
    ("30 d", Some(Duration::from_secs(30 * 86_400))),
    ("7 d", Some(Duration::from_secs(7 * 86_400))),
    ("24 h", Some(Duration::from_secs(86_400))),
    ("1 h", Some(Duration::from_secs(3_600))),
];

/// Measurements of a `--quick` run: the capacities, and the number of times to live.
const QUICK: ([usize; 2], usize) = ([100, 1_000], 2);

const POLICIES: [(&str, EvictionPolicy); 2] = [("LRU", EvictionPolicy::Lru), ("TinyLFU", EvictionPolicy::TinyLfu)];

/// Sends a series through the real layer once for each policy, capacity and time to live shorter than the series, and
/// returns a table of the hit rates. `step` is called with a description before each row of the table.
///
/// # Errors
///
/// A description of the first figure that does not agree. LRU, and any policy with room for all responses, must agree
/// with the naive count. No policy may have more hits than the optimum, and the cache must agree with the vendor.
pub async fn measure(workload: &Workload, quick: bool, mut step: impl FnMut(&str)) -> Result<String, String> {
    let (calls, distinct) = (workload.requests.len(), workload.distinct());
    let capacities = if quick { &QUICK.0[..] } else { &CAPACITIES[..] };
    let span = workload.span();
    let ttls = TTLS.iter().filter(|(_, ttl)| ttl.is_none_or(|ttl| ttl < span));
    let ttls: Vec<_> = ttls.take(if quick { QUICK.1 } else { TTLS.len() }).collect();

    let days = span.as_secs_f64() / 86_400.0;
    let mut table = format!("### {}\n\n{calls} calls, {distinct} different, {days:.2} days.\n\n", workload.name);
    let heads: Vec<&str> = ttls.iter().map(|(name, _)| *name).collect();
    writeln!(table, "| room | policy | {} |\n|---|---|{}", heads.join(" | "), "---|".repeat(ttls.len())).expect(TEXT);
    for per_mille in capacities {
        let capacity = (distinct * per_mille / 1_000).max(1);
        let best = optimal(&workload.requests, capacity);
        let room = format!("{} % = {capacity}", *per_mille as f64 / 10.0);
        for (name, policy) in POLICIES {
            step(&format!("{}: room for {room}, {name}", workload.name));
            let mut rates = Vec::new();
            for (_, ttl) in &ttls {
                let settings = CacheSettings { capacity, policy, ttl: *ttl };
                let hits = agreed(workload, &settings, distinct, best).await?;
                rates.push(rate(hits, calls));
            }
            writeln!(table, "| {room} | {name} | {} |", rates.join(" | ")).expect(TEXT);
        }
        let rest = " | ".repeat(ttls.len() - 1);
        writeln!(table, "| {room} | optimal | {}{rest} |", rate(best, calls)).expect(TEXT);
    }
    Ok(table)
}

const TEXT: &str = "a string takes any text";

/// Returns the number of hits through the layer, after checking it against every other count that applies.
async fn agreed(workload: &Workload, settings: &CacheSettings, distinct: usize, best: u64) -> Result<u64, String> {
    let wrong = |what| format!("{}: {settings:?}: {what}", workload.name);
    let hits = Layer::new(settings).await.hits(&workload.requests, settings).await.map_err(wrong)?;
    if hits > best {
        return Err(wrong(format!("{hits} hits are more than the optimum of {best}")));
    }
    // TinyLFU has no naive count, because its sketch uses random keys. With room for all responses, it evicts nothing
    // and must agree.
    if settings.policy == EvictionPolicy::Lru || settings.capacity >= distinct {
        let naive = Naive::new(settings.capacity, settings.ttl).hits(&workload.requests);
        if hits != naive {
            return Err(wrong(format!("the layer has {hits} hits, a naive count {naive}")));
        }
    }
    Ok(hits)
}

fn rate(hits: u64, calls: usize) -> String {
    format!("{:.2} %", hits as f64 * 100.0 / calls.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hit_rate::Zipf;

    #[test]
    fn report_table_agrees_with_series() {
        let zipf = Zipf { exponent: 1.0, keys: 25, requests: 100, apart: Duration::from_secs(900), seed: 1 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut steps = 0;
        let table = runtime.block_on(measure(&zipf.workload(), false, |_| steps += 1)).unwrap();
        assert_eq!(steps, CAPACITIES.len() * POLICIES.len());
        assert!(table.contains("| room | policy | none | 24 h | 1 h |"), "longer times end nothing: {table}");
        assert_eq!(table.lines().filter(|line| line.contains("| optimal |")).count(), CAPACITIES.len());
    }
}
