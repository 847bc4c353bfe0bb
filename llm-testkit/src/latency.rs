//! Latency of the simulated vendor.

use crate::prng::Prng;
use std::time::Duration;

/// Distribution of durations.
///
/// # Example
///
/// ```
/// use llm_testkit::{Distribution, Latency};
/// use std::time::Duration;
///
/// let first = Distribution::LogNormal { median: Duration::from_millis(500), sigma_permille: 400 };
/// let latency = Latency::new(first, Distribution::Fixed(Duration::from_millis(12)));
/// assert_eq!(latency.scaled(0.1).scale(), 0.1);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// Constant duration.
    Fixed(Duration),
    /// Uniform distribution between two bounds, both included. If the first bound is the larger one, every duration is
    /// the first bound.
    Uniform(Duration, Duration),
    /// Distribution that is skewed to the right, as latencies of real services are.
    ///
    /// It is `median · e^(sigma · z)`, where `z` is nearly normal and never beyond ±6.
    LogNormal {
        /// Median of the draws.
        median: Duration,
        /// Standard deviation of the logarithm, in thousandths. With 500, one draw in six exceeds 1.65 medians.
        sigma_permille: u32,
    },
}

impl Distribution {
    fn draw(&self, prng: &mut Prng) -> Duration {
        match self {
            Self::Fixed(duration) => *duration,
            Self::Uniform(low, high) => low.saturating_add(high.saturating_sub(*low).mul_f64(prng.unit())),
            Self::LogNormal { median, sigma_permille } => {
                let z = (0..12).map(|_| prng.unit()).sum::<f64>() - 6.0;
                stretch(*median, (f64::from(*sigma_permille) / 1_000.0 * z).exp())
            }
        }
    }
}

/// Latency of a response: until its first token, and between tokens.
///
/// A response that is not streamed arrives at the time of its last token. Embeddings take as long as a first token. Timers
/// of tokio have a resolution of one millisecond and round up, so choose whole milliseconds if a test compares times.
///
/// # Example
///
/// ```
/// use llm_testkit::{Latency, Vendor};
/// use std::time::Duration;
///
/// let latency = Latency::fixed(Duration::from_millis(300), Duration::from_millis(10));
/// let vendor = Vendor::builder().latency(latency).build();
/// assert_eq!(vendor.calls(), 0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    first_token: Distribution,
    per_token: Distribution,
    scale: f64,
}

impl Latency {
    /// Creates a latency that is drawn from two distributions, by the vendor's seed and the number of the call.
    pub fn new(first_token: Distribution, per_token: Distribution) -> Self {
        Self { first_token, per_token, scale: 1.0 }
    }

    /// Creates a latency of zero, which is the default.
    pub fn zero() -> Self {
        Self::fixed(Duration::ZERO, Duration::ZERO)
    }

    /// Creates a latency that is the same for every call.
    pub fn fixed(first_token: Duration, per_token: Duration) -> Self {
        Self::new(Distribution::Fixed(first_token), Distribution::Fixed(per_token))
    }

    /// Multiplies every duration by `factor`, to simulate slow vendors in less time.
    ///
    /// A factor that is negative or not finite counts as 0.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.scale = if factor.is_finite() { factor.max(0.0) } else { 0.0 };
        self
    }

    /// Returns the factor of [`scaled`](Self::scaled); 1 by default.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Returns the times at which the tokens are generated, from the call's arrival. There is always at least one time,
    /// even for 0 tokens.
    pub(crate) fn schedule(&self, prng: &mut Prng, tokens: u64) -> Vec<Duration> {
        let mut at = stretch(self.first_token.draw(prng), self.scale);
        let mut moments = vec![at];
        for _ in 1..tokens {
            at = at.saturating_add(stretch(self.per_token.draw(prng), self.scale));
            moments.push(at);
        }
        moments
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::zero()
    }
}

/// Returns `duration · factor` in whole microseconds, at most a day.
fn stretch(duration: Duration, factor: f64) -> Duration {
    const DAY: f64 = 86_400.0;
    let seconds = (duration.as_secs_f64() * factor).min(DAY);
    Duration::from_micros((seconds * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn latency_fixed_adds_up_exactly() {
        let latency = Latency::fixed(100 * MS, 20 * MS);
        assert_eq!(latency.schedule(&mut Prng::new(1, 1), 3), [100 * MS, 120 * MS, 140 * MS]);
        assert_eq!(latency.scaled(0.5).schedule(&mut Prng::new(1, 1), 2), [50 * MS, 60 * MS]);
    }

    #[test]
    fn latency_invalid_factor_is_zero() {
        for factor in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Latency::fixed(MS, MS).scaled(factor).schedule(&mut Prng::new(1, 1), 1), [Duration::ZERO]);
        }
    }

    #[test]
    fn distribution_uniform_stays_within_bounds() {
        let mut prng = Prng::new(3, 3);
        let dist = Distribution::Uniform(10 * MS, 20 * MS);
        assert!((0..1_000).map(|_| dist.draw(&mut prng)).all(|d| (10 * MS..=20 * MS).contains(&d)));
    }

    #[test]
    fn distribution_log_normal_has_median() {
        let mut prng = Prng::new(3, 3);
        let dist = Distribution::LogNormal { median: 100 * MS, sigma_permille: 500 };
        let draws: Vec<_> = (0..4_000).map(|_| dist.draw(&mut prng)).collect();
        let below = draws.iter().filter(|d| **d < 100 * MS).count();
        assert!((1_850..2_150).contains(&below), "{below}");
        let long = draws.iter().filter(|d| **d > 165 * MS).count();
        assert!((500..800).contains(&long), "{long}");
    }
}
