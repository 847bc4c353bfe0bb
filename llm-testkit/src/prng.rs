//! A small deterministic generator of pseudo-random numbers (`splitmix64`).

/// The increment of `splitmix64`, the golden ratio in 64 bits.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Maps `x` to a pseudo-random number by a bijection, so that different inputs have different results.
pub(crate) fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A generator whose whole sequence follows from its seed and the number of the sequence.
#[derive(Debug, Clone)]
pub(crate) struct Prng(u64);

impl Prng {
    /// Creates the generator of one of a seed's independent sequences, which has the number `stream`.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed) ^ mix(!stream))
    }

    /// Returns the next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        let out = mix(self.0);
        self.0 = self.0.wrapping_add(GAMMA);
        out
    }

    /// Returns a number below `bound`, or 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("a product of two 64-bit numbers has 128 bits")
    }

    /// Returns a number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        // NOTE: an `f64` can hold exactly 53 bits.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prng_follows_from_seed() {
        let draw = |seed| {
            let mut prng = Prng::new(seed, 1);
            [prng.next(), prng.next(), prng.next()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn prng_draws_stay_below_bound() {
        let mut prng = Prng::new(1, 2);
        assert!((0..1_000).all(|_| prng.below(3) < 3));
        assert!((0..1_000).all(|_| (0.0..1.0).contains(&prng.unit())));
        assert_eq!(prng.below(0), 0);
    }
}
