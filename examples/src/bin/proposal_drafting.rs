//! Searches tenders and drafts proposals for customers of three plans, for a month of virtual time.
//!
//! `cargo run --release -p examples --bin proposal_drafting`, without a key or a server. `--input FILE` takes the
//! descriptions of your own tenders, one in each line; without it, small ones are generated.

use std::process::ExitCode;

use examples::{
    lines,
    proposal_drafting::{self, Size},
    report::{Options, start},
};
use llm_core::BoxError;

const USAGE: &str = "\
usage: proposal_drafting [--seed N] [--input FILE] [--json FILE] [--svg FILE]

  --seed N      seed of all that is drawn (2026)
  --input FILE  descriptions of tenders, a line each, instead of small made ones
  --json FILE   writes the tables as JSON
  --svg FILE    draws the first one's money and requests";

fn main() -> ExitCode {
    start("proposal_drafting", USAGE, std::env::args_os().skip(1), run)
}

fn run(options: &Options) -> Result<(), BoxError> {
    let tenders = options.input.as_deref().map_or(Ok(Vec::new()), lines::texts)?;
    let size = Size { days: 30, tenders: 20, free: 12, pro: 6, unlimited: 2 };
    let reports = proposal_drafting::reports(&size, &tenders, options.seed)?;
    options.publish(&reports, &["paid", "sent", "p95"])
}
