//! Tests with public workloads in virtual time.

mod azure;
mod edges;
mod servegen;

use std::{fs::File, io::Read, path::PathBuf};

use flate2::read::GzDecoder;

/// Returns the rows of a compressed table as fields, without the heading; `None` if there are no traces.
#[expect(clippy::disallowed_methods, reason = "a test's edge: where the public traces lie")]
fn rows(name: &str) -> Option<Vec<Vec<String>>> {
    let Some(directory) = std::env::var_os("LLM_TRACES").map(PathBuf::from) else {
        eprintln!("skipped: LLM_TRACES names no directory");
        return None;
    };
    let mut text = String::new();
    let file = File::open(directory.join(name)).expect("the trace is there");
    GzDecoder::new(file).read_to_string(&mut text).expect("the trace is whole");
    let fields = |line: &str| line.split(',').map(str::to_owned).collect();
    Some(text.lines().skip(1).map(fields).collect())
}

/// Returns the percentile of the waiting times.
fn percentile<T: Copy + Ord + Default>(waits: &[T], percent: usize) -> T {
    let mut waits = waits.to_vec();
    waits.sort_unstable();
    let at = (waits.len() * percent).div_ceil(100).saturating_sub(1);
    waits.get(at).copied().unwrap_or_default()
}

/// Random numbers that depend only on a seed (`xorshift64*`).
struct Random(u64);

impl Random {
    /// Returns a random fraction in `0.0..1.0`.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a random time between two independent arrivals at a rate per second.
    fn gap(&mut self, rate: f64) -> f64 {
        -(1.0 - self.unit()).ln() / rate
    }
}
