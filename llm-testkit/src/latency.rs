//! How long the simulated vendor takes.

use crate::prng::Prng;
use std::time::Duration;

/// A distribution of durations.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// Always the same.
    Fixed(Duration),
    /// Evenly between two bounds, both included. If they are swapped, the first one counts.
    Uniform(Duration, Duration),
    /// Skewed to the right, as answers of real services are: `median · e^(sigma · z)`, where `z` is nearly normal and
    /// never beyond ±6.
    LogNormal {
        /// Half of the draws lie below.
        median: Duration,
        /// The standard deviation of the logarithm, in thousandths: 500 makes one draw in six longer than 1.65 medians.
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

/// How long an answer takes: until its first token, and from each token to the next.
///
/// An answer that is not streamed comes whole, at the moment of its last token. Embeddings take as long as a first
/// token. tokio's timers have a resolution of one millisecond and round up: choose whole milliseconds where a test
/// compares times.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    first_token: Distribution,
    per_token: Distribution,
    scale: f64,
}

impl Latency {
    /// Latency drawn from two distributions, by the vendor's seed and the number of the call.
    pub fn new(first_token: Distribution, per_token: Distribution) -> Self {
        Self { first_token, per_token, scale: 1.0 }
    }

    /// No latency: everything is due at once. The default.
    pub fn zero() -> Self {
        Self::fixed(Duration::ZERO, Duration::ZERO)
    }

    /// The same latency for every call.
    pub fn fixed(first_token: Duration, per_token: Duration) -> Self {
        Self::new(Distribution::Fixed(first_token), Distribution::Fixed(per_token))
    }

    /// Multiplies every duration by `factor`, to simulate slow vendors quickly. A factor that is negative or not finite
    /// counts as 0.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.scale = if factor.is_finite() { factor.max(0.0) } else { 0.0 };
        self
    }

    /// The factor that [`scaled`](Self::scaled) set; 1 unless told.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The moments of `tokens` tokens, from the call's arrival. There is always a first one.
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

/// `duration · factor` in whole microseconds, at most a day.
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
    fn fixed_latency_adds_up_exactly() {
        let latency = Latency::fixed(100 * MS, 20 * MS);
        assert_eq!(latency.schedule(&mut Prng::new(1, 1), 3), [100 * MS, 120 * MS, 140 * MS]);
        assert_eq!(latency.scaled(0.5).schedule(&mut Prng::new(1, 1), 2), [50 * MS, 60 * MS]);
    }

    #[test]
    fn an_unusable_factor_means_no_latency() {
        for factor in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Latency::fixed(MS, MS).scaled(factor).schedule(&mut Prng::new(1, 1), 1), [Duration::ZERO]);
        }
    }

    #[test]
    fn uniform_draws_stay_within_their_bounds() {
        let mut prng = Prng::new(3, 3);
        let dist = Distribution::Uniform(10 * MS, 20 * MS);
        assert!((0..1_000).map(|_| dist.draw(&mut prng)).all(|d| (10 * MS..=20 * MS).contains(&d)));
    }

    #[test]
    fn half_of_the_log_normal_draws_lie_below_the_median() {
        let mut prng = Prng::new(3, 3);
        let dist = Distribution::LogNormal { median: 100 * MS, sigma_permille: 500 };
        let draws: Vec<_> = (0..4_000).map(|_| dist.draw(&mut prng)).collect();
        let below = draws.iter().filter(|d| **d < 100 * MS).count();
        assert!((1_850..2_150).contains(&below), "{below}");
        let long = draws.iter().filter(|d| **d > 165 * MS).count();
        assert!((500..800).contains(&long), "{long}");
    }
}
