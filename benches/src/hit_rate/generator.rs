use std::{fmt, time::Duration};

use super::{Request, Workload};

/// Generated series of requests that follows Zipf's law: a request of popularity rank n has a probability in
/// proportion to n^-`exponent`. The draws are independent, and the times are evenly spaced.
#[derive(Clone, Copy, Debug)]
pub struct Zipf {
    /// Exponent of Zipf's law, often called s.
    pub exponent: f64,
    /// Number of different requests.
    pub keys: u32,
    /// Number of requests drawn.
    pub requests: u32,
    /// Time between two requests.
    pub apart: Duration,
    /// Seed of the random draws.
    pub seed: u64,
}

impl Zipf {
    /// Generates the series.
    pub fn workload(&self) -> Workload {
        let mut sums = Vec::with_capacity(self.keys as usize);
        let mut sum = 0.0;
        for rank in 1..=self.keys {
            sum += f64::from(rank).powf(-self.exponent);
            sums.push(sum);
        }
        let mut state = self.seed;
        let requests = (0..self.requests).map(|number| {
            let drawn = unit(&mut state) * sum;
            let rank = sums.partition_point(|sum| *sum <= drawn).min(sums.len() - 1);
            let prompt = u32::try_from(rank).expect("there are no more than u32::MAX keys");
            Request { at: self.apart * number, tenant: 0, prompt }
        });
        Workload::new(self.to_string(), requests.collect())
    }
}

impl fmt::Display for Zipf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exponent, keys, requests, apart, seed } = self;
        write!(f, "generated: Zipf, s = {exponent}, {keys} keys, {requests} requests {apart:?} apart, seed {seed}")
    }
}

/// Returns the next random number in [0, 1): the upper 53 bits of a SplitMix64 step.
fn unit(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZIPF: Zipf = Zipf { exponent: 1.0, keys: 1_000, requests: 50_000, apart: Duration::from_secs(1), seed: 7 };

    #[test]
    fn popularity_falls_with_the_rank() {
        let workload = ZIPF.workload();
        let count = |rank| workload.requests.iter().filter(|request| request.prompt == rank).count() as f64;
        // The sum of 1/n up to 1,000 is 7.4855. So the first request is expected 6,680 times, and the tenth a tenth of
        // that.
        assert!((count(0) - 6_680.0).abs() < 240.0, "{}", count(0));
        assert!((count(9) - 668.0).abs() < 78.0, "{}", count(9));
        assert!(workload.requests.iter().all(|request| request.prompt < ZIPF.keys));
    }

    #[test]
    fn generator_repeats_series_of_same_seed() {
        assert_eq!(ZIPF.workload().requests, ZIPF.workload().requests);
        assert_ne!(ZIPF.workload().requests, Zipf { seed: 8, ..ZIPF }.workload().requests);
        assert_eq!(ZIPF.workload().span(), Duration::from_secs(49_999));
    }
}
