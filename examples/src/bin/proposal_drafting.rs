//! Searches tenders and drafts proposals for customers of three plans, through a month in virtual time.
//!
//! `cargo run --release -p examples --bin proposal_drafting`, with no key and no server.

use std::process::ExitCode;

use examples::{
    proposal_drafting::{self, Size},
    report::start,
};

const USAGE: &str = "\
usage: proposal_drafting [--seed N] [--json FILE] [--svg FILE]

  --seed N     seed of all that is drawn (2026)
  --json FILE  writes the table as JSON
  --svg FILE   draws its money and requests";

fn main() -> ExitCode {
    start("proposal_drafting", USAGE, std::env::args_os().skip(1), |options| {
        let size = Size { days: 30, tenders: 20, free: 12, pro: 6, unlimited: 2 };
        let report = proposal_drafting::report(&size, options.seed)?;
        options.publish(&[report], &["paid", "sent", "p95"])
    })
}
