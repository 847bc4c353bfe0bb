//! Exact percentiles of latencies.

use std::time::Duration;

/// Median and 95th percentile of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// Time within which half of the calls ended.
    pub p50: Duration,
    /// Time within which 95 of 100 calls ended.
    pub p95: Duration,
}

impl Latency {
    /// Computes the percentiles of `samples`; `None` if there are none.
    #[must_use]
    pub fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        Some(Self { p50: nearest_rank(&samples, 50)?, p95: nearest_rank(&samples, 95)? })
    }
}

/// Returns the nearest-rank percentile: the smallest of the `sorted` values that at least `percent` of 100 of them do
/// not exceed. It is always one of the values; `None` if there are none. More than 100 counts as 100, and 0 gives the
/// smallest value.
#[must_use]
pub fn nearest_rank(sorted: &[Duration], percent: u32) -> Option<Duration> {
    let rank = (sorted.len() * percent.min(100) as usize).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentile_rank_is_rounded_up() {
        let five = millis([15, 20, 35, 40, 50]);
        for (percent, expected) in
            [(0, 15), (5, 15), (20, 15), (21, 20), (30, 20), (40, 20), (50, 35), (95, 50), (100, 50), (101, 50)]
        {
            assert_eq!(nearest_rank(&five, percent), Some(Duration::from_millis(expected)), "at {percent}");
        }
    }

    #[test]
    fn samples_need_no_order() {
        let latency = Latency::of(millis((1..=100).rev())).expect("samples");
        assert_eq!(latency, Latency { p50: Duration::from_millis(50), p95: Duration::from_millis(95) });
    }

    #[test]
    fn percentile_of_one_sample_is_itself() {
        let one = Duration::from_millis(7);
        assert_eq!(Latency::of(vec![one]), Some(Latency { p50: one, p95: one }));
        assert_eq!(Latency::of(Vec::new()), None);
    }
}
