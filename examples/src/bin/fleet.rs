//! Simulates a fleet that grows from 20 organisations to 500, in virtual time, and answers the questions of its plan.
//!
//! `cargo run --release -p examples --bin fleet`, with no key and no server. `--input DIR` takes skew, arrivals and repeats from
//! public traces; without it they follow a stated model.

use std::process::ExitCode;

use examples::{
    fleet::{Model, answers},
    report::{Options, start},
};
use llm_core::BoxError;

const USAGE: &str = "\
usage: fleet [--seed N] [--input DIR] [--json FILE] [--svg FILE]

  --seed N     seed of all that is drawn (2026)
  --input DIR  directory with servegen_clients.csv.gz and bdd_regen_trace.csv.gz; LLM_TRACES by default, else a stated model
  --json FILE  writes the tables as JSON
  --svg FILE   draws the first table's money and hit rate";

fn main() -> ExitCode {
    start("fleet", USAGE, std::env::args_os().skip(1), run)
}

fn run(options: &Options) -> Result<(), BoxError> {
    #[expect(clippy::disallowed_methods, reason = "a binary's edge hands the real environment in")]
    let traces = options.input.clone().or_else(|| {
        let set = std::env::var_os("LLM_TRACES").filter(|path| !path.is_empty());
        set.map(Into::into)
    });
    let model = match traces {
        Some(directory) => Model::from_traces(&directory)?,
        None => Model::stated(options.seed),
    };
    let reports = answers::reports(&model, &answers::Size::plan(), options.seed)?;
    options.publish(&reports, &["paid a month", "hit rate", "p95"])
}
