//! Measures the hit rate of the cache on recorded or generated requests.
//!
//! `cargo run --release -p benches --bin hit_rate -- --traces DIR` sends public traces through the real layer while the
//! clock follows their times; without `--traces` it draws requests by Zipf's law instead. `--quick` measures fewer
//! capacities and times to live. The program fails if a figure does not agree with a naive count.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use benches::hit_rate::{Scan, Survival, Workload, Zipf, measure, read, survival};
use llm_cache::EvictionPolicy;
use tokio::runtime::Builder;

const USAGE: &str = "usage: hit_rate [--traces DIR] [--quick]";

/// Generated series for a run without traces.
const ZIPF: [Zipf; 2] = [
    Zipf { exponent: 0.9, keys: 20_000, requests: 100_000, apart: Duration::from_secs(60), seed: 2026 },
    Zipf { exponent: 1.2, keys: 20_000, requests: 100_000, apart: Duration::from_secs(60), seed: 2026 },
];

/// Scans during which the warm prompts are not requested again, are requested often enough for LRU to keep them, and
/// are requested too seldom.
const SCANS: [Scan; 3] = [scan(0), scan(1), scan(2)];

const fn scan(hot_every: u32) -> Scan {
    Scan { hot: 100, capacity: 200, scanned: 10_000, hot_every }
}

#[derive(Default)]
struct Args {
    traces: Option<PathBuf>,
    quick: bool,
}

fn main() -> ExitCode {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let run = async { run(&arguments(std::env::args_os().skip(1))?).await };
    match runtime.map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hit_rate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut given: impl Iterator<Item = OsString>) -> Result<Args, String> {
    let mut args = Args::default();
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--quick") => args.quick = true,
            Some("--traces") => args.traces = Some(given.next().ok_or("--traces needs a directory")?.into()),
            _ => return Err(format!("unknown argument {}; {USAGE}", argument.display())),
        }
    }
    Ok(args)
}

async fn run(args: &Args) -> Result<(), String> {
    let workloads: Vec<Workload> = match &args.traces {
        Some(directory) => read(directory).map_err(|e| e.to_string())?,
        None => {
            println!("No traces (--traces DIR): the questions are generated.\n");
            ZIPF.iter().map(Zipf::workload).collect()
        }
    };
    for workload in &workloads {
        println!("{}", measure(workload, args.quick, |step| eprintln!("{step}")).await?);
    }
    println!("{}", scans().await);
    Ok(())
}

async fn scans() -> String {
    let mut table = "### A warm set under a scan\n\n".to_owned();
    table += "| warm, room, scanned once | policy | requests for warm | hits | warm left |\n|---|---|---|---|---|\n";
    for scan in SCANS {
        let Scan { hot, capacity, scanned, .. } = scan;
        for (name, policy) in [("LRU", EvictionPolicy::Lru), ("TinyLFU", EvictionPolicy::TinyLfu)] {
            let Survival { left, requests, hits } = survival(&scan, policy).await;
            table += &format!("| {hot}, {capacity}, {scanned} | {name} | {requests} | {hits} | {left} |\n");
        }
    }
    table
}
