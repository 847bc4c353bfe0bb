//! Parts of the load run that start nothing: requests, command lines, figures and verdict.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Version of the load generator.
const OHA: &str = "1.16.0";
/// Rate of requests, per second.
const RATE: u32 = 1_000;
/// Length of the run, in seconds.
const SECONDS: u32 = 30;
/// Number of requests of the run.
pub(crate) const REQUESTS: u32 = RATE * SECONDS;
/// Number of different texts of the repeated requests, which are nine in ten.
const REPEATED: u32 = 100;
/// Number of different texts of the other requests. The generator draws them at random, so that one in twenty was drawn
/// before.
const SINGLE: u32 = 30_000;
/// Number of organisations.
const ORGANISATIONS: u32 = 10;

/// Largest p95, in seconds.
const MOST_P95: f64 = 0.5;
/// Largest share of failed requests.
const MOST_ERRORS: f64 = 0.001;
/// Smallest rate that must be reached, as a share of [`RATE`], because a generator that falls behind does not measure
/// this load.
const LEAST_RATE: f64 = 0.99;

/// Limits of each organisation of the service, far above the run's rate. The limiter decides each request by both.
pub(crate) const LIMITS: [&str; 2] = ["100000/minute", "$1000/day"];

/// Arguments of cargo that build the service.
pub(crate) const BUILD: &str = "build --release -p examples --features axum --bin axum_service";

/// Returns the directory of the load generator, which has the version in its name.
pub(crate) fn tools(target: &Path) -> PathBuf {
    target.join("tools").join(format!("oha-{OHA}"))
}

/// Returns the cargo command that installs the load generator into a directory.
pub(crate) fn install(tools: &Path) -> Vec<String> {
    let words = ["install", "oha", "--version", OHA, "--locked", "--root"];
    words.map(str::to_owned).into_iter().chain([tools.display().to_string()]).collect()
}

/// Returns the arguments of the load generator: a constant rate, with latencies counted from the time at which a
/// request is due, not from the time at which a connection is free.
pub(crate) fn arguments(bodies: &Path, url: &str) -> Vec<String> {
    let line = format!(
        "-n {REQUESTS} -q {RATE} --latency-correction -c 256 -t 10s -m POST -T application/json --no-tui --output-format json"
    );
    let file = ["-Z".to_owned(), bodies.display().to_string(), format!("{url}/test-cases")];
    line.split(' ').map(str::to_owned).chain(file).collect()
}

/// Returns the bodies of the requests, one a line, from which the generator draws. Nine in ten repeat.
pub(crate) fn bodies() -> String {
    let mut lines = String::new();
    let mut body = |organisation: u32, scenario: fmt::Arguments<'_>| {
        // Writing to a text cannot fail.
        let _ = writeln!(lines, r#"{{"organisation":"org-{organisation}","scenario":"{scenario}"}}"#);
    };
    for single in 0..SINGLE {
        body(single % ORGANISATIONS, format_args!("a form with {single} fields"));
        for repeat in 0..9 {
            let text = (single * 9 + repeat) % REPEATED;
            body(text % ORGANISATIONS, format_args!("a login form, case {text}"));
        }
    }
    lines
}

/// Figures of a run.
#[derive(Debug, PartialEq)]
pub(crate) struct Figures {
    rate: f64,
    failed: f64,
    hits: f64,
    /// p50, p95 and p99 in seconds.
    latency: [f64; 3],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    summary: Summary,
    latency_percentiles: BTreeMap<String, Option<f64>>,
    status_code_distribution: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    requests_per_sec: f64,
}

impl Figures {
    /// Reads the generator's JSON and the service's table of costs.
    pub(crate) fn read(measured: &[u8], costs: &str) -> Result<Self, String> {
        let measured: Measured = serde_json::from_slice(measured)
            .map_err(|e| format!("cannot read what the load generator printed: {e}"))?;
        let percentile = |name: &str| {
            let value = measured.latency_percentiles.get(name).copied().flatten();
            value.ok_or_else(|| format!("the load generator printed no {name}: no request was answered"))
        };
        let succeeded = measured.status_code_distribution.get("200").copied().unwrap_or(0);
        let calls = count(costs, "calls")?;
        // A request that joins an equal one in flight makes no vendor call either.
        let hits = count(costs, "hits")? + count(costs, "coalesced")?;
        Ok(Self {
            rate: measured.summary.requests_per_sec,
            failed: f64::from(REQUESTS.saturating_sub(succeeded)) / f64::from(REQUESTS),
            hits: f64::from(hits) / f64::from(calls.max(1)),
            latency: [percentile("p50")?, percentile("p95")?, percentile("p99")?],
        })
    }

    /// Returns an error that names the figures beyond their bounds.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let bounds = [
            (self.latency[1] >= MOST_P95, format!("p95 is not below {MOST_P95} s")),
            (self.failed >= MOST_ERRORS, format!("errors are not below {} %", MOST_ERRORS * 100.0)),
            (!(0.89..0.92).contains(&self.hits), "hits are not 90 %".to_owned()),
            (self.rate < f64::from(RATE) * LEAST_RATE, format!("the rate is below {RATE} a second")),
        ];
        let missed: Vec<String> =
            bounds.into_iter().filter_map(|(is_missed, text)| is_missed.then_some(text)).collect();
        if missed.is_empty() { Ok(()) } else { Err(format!("the load run missed its bounds: {}", missed.join("; "))) }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p95, p99] = self.latency.map(|seconds| seconds * 1_000.0);
        writeln!(f, "   {REQUESTS} requests, {:.0} a second; hits {:.1} %", self.rate, self.hits * 100.0)?;
        writeln!(
            f,
            "   p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms (bound: p95 below {:.0} ms)",
            MOST_P95 * 1_000.0
        )?;
        write!(f, "   errors {:.3} % (bound: below {} %)", self.failed * 100.0, MOST_ERRORS * 100.0)
    }
}

/// Returns a count from the last line of a table of costs.
fn count(costs: &str, column: &str) -> Result<u32, String> {
    let place = costs.lines().next().and_then(|head| head.split_whitespace().position(|name| name == column));
    let sum = costs.lines().find_map(|line| line.strip_prefix("in all"));
    let found = place.zip(sum).and_then(|(place, sum)| sum.split_whitespace().nth(place)?.parse().ok());
    found.ok_or_else(|| format!("the service's costs have no {column}: {costs}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: &str = "\
             calls  vendor   hits  coalesced  failed
tenant org-0   3000     300   2670         30       0
in all        30000    3000  26970         30       0
";

    fn figures(p95: &str, succeeded: u32, rate: f64) -> Result<Figures, String> {
        let json = format!(
            r#"{{"summary": {{"requestsPerSec": {rate}, "total": 30}},
                "latencyPercentiles": {{"p50": 0.001, "p95": {p95}, "p99": 0.25}},
                "statusCodeDistribution": {{"200": {succeeded}, "502": 1}}}}"#
        );
        Figures::read(json.as_bytes(), COSTS)
    }

    #[test]
    fn load_figures_are_read_and_printed() {
        let figures = figures("0.2015", 29_997, 998.4).unwrap();
        assert_eq!((figures.hits, figures.latency), (0.9, [0.001, 0.2015, 0.25]));
        let text = figures.to_string();
        for part in ["998 a second; hits 90.0 %", "p50 1.0 ms, p95 201.5 ms, p99 250.0 ms", "errors 0.010 %"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(figures.verdict(), Ok(()));
    }

    #[test]
    fn load_verdict_names_missed_bounds() {
        for (p95, succeeded, rate, part) in [
            ("0.5", REQUESTS, 999.0, "p95 is not below 0.5 s"),
            ("0.2", REQUESTS - 30, 999.0, "errors are not below 0.1 %"),
            ("0.2", REQUESTS, 900.0, "the rate is below 1000"),
        ] {
            assert!(figures(p95, succeeded, rate).unwrap().verdict().unwrap_err().contains(part), "{part}");
        }
        assert!(figures("null", 0, 999.0).unwrap_err().contains("no request was answered"));
        assert!(Figures::read(b"oha: error", COSTS).unwrap_err().contains("cannot read"));
    }

    #[test]
    fn load_bodies_repeat_nine_in_ten() {
        let text = bodies();
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            *counts.entry(line).or_insert(0_u32) += 1;
        }
        let single = counts.values().filter(|count| **count == 1).count() as u32;
        assert_eq!((single, counts.len() as u32), (SINGLE, SINGLE + REPEATED));
        assert_eq!(text.lines().count() as u32, 10 * SINGLE);
        assert!(text.lines().take(20).all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[test]
    fn load_commands_state_rate_and_version() {
        let line = arguments(Path::new("b"), "http://127.0.0.1:1").join(" ");
        assert!(line.starts_with("-n 30000 -q 1000 --latency-correction "), "{line}");
        assert!(line.ends_with("-Z b http://127.0.0.1:1/test-cases"), "{line}");
        let install = install(&tools(Path::new("target"))).join(" ");
        assert!(install.ends_with(&format!("--version {OHA} --locked --root target/tools/oha-{OHA}")));
    }
}
