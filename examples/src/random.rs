//! Pseudo-random numbers whose sequence depends only on a seed (`splitmix64`).

/// Generator of pseudo-random numbers. Equal seeds give equal sequences.
///
/// ```
/// use examples::random::Random;
///
/// let (mut one, mut other) = (Random::new(7), Random::new(7));
/// assert_eq!(one.next_u64(), other.next_u64());
/// assert!(one.below(10) < 10);
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a separate generator for one purpose, so that draws for other purposes do not change its numbers.
    #[must_use]
    pub fn of(seed: u64, purpose: u64) -> Self {
        Self(Self(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next_u64())
    }

    /// Returns the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`, or 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// Returns a number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a time between two arrivals. Its mean is 1 and its coefficient of variation is `cv`, at least 1. It has
    /// an exponential distribution with one of two rates.
    pub fn gap(&mut self, cv: f64) -> f64 {
        let square = (cv * cv).max(1.0);
        let often = (1.0 + ((square - 1.0) / (square + 1.0)).sqrt()) / 2.0;
        let share = if self.unit() < often { often } else { 1.0 - often };
        -(1.0 - self.unit()).ln() / (2.0 * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_has_mean_and_variation() {
        for cv in [1.0, 1.2, 4.0] {
            let mut random = Random::new(5);
            let gaps: Vec<f64> = (0..200_000).map(|_| random.gap(cv)).collect();
            let mean = gaps.iter().sum::<f64>() / 200_000.0;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 200_000.0;
            assert!((mean - 1.0).abs() < 0.03, "{cv}: {mean}");
            assert!((variance.sqrt() / cv - 1.0).abs() < 0.05, "{cv}: {}", variance.sqrt());
        }
    }

    #[test]
    fn random_purposes_draw_apart() {
        assert_ne!(Random::of(1, 1).next_u64(), Random::of(1, 2).next_u64());
        assert_eq!(Random::of(1, 2).next_u64(), Random::of(1, 2).next_u64());
    }
}
