//! Tasks of the workspace, which are run as `cargo xtask`.
//!
//! `cargo xtask test` runs every test; `cargo xtask ci` runs all checks of the continuous integration: format,
//! lints, docs of the whole and of each published crate alone, prose, crate arrows, features one by one, tests; `cargo xtask
//! load` measures the axum example. `--dry-run` prints the commands instead of running them.
//!
//! Redis tests are never skipped: where there is no `redis-server`, it is installed if that needs no `sudo`, and otherwise
//! nothing is tested.
//!
//! Pure functions decide which commands run ([`plan`], [`redis`], [`arrows`], [`load`]); [`run`] is the part that starts processes.

mod args;
mod arrows;
#[cfg(test)]
mod deployment;
mod documented;
mod load;
mod metadata;
#[cfg(test)]
mod metrics_page;
#[cfg(test)]
mod pages;
mod plan;
mod prose;
mod redis;
mod run;
mod shape;
mod source;
mod suites;

use std::process::ExitCode;

use args::Task;

/// Exit code after a command line that is not understood.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    let task = match args::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(message) => {
            eprintln!("error: {message}\n\n{}", args::USAGE);
            return ExitCode::from(USAGE_ERROR);
        }
    };
    let done = match task {
        Task::Help => {
            println!("{}", args::USAGE);
            Ok(())
        }
        Task::Test { full, dry_run } => run::test(full, dry_run),
        Task::Ci { dry_run } => run::ci(dry_run),
        Task::Load { dry_run } => run::load(dry_run),
        Task::Prose { all } => run::prose(all),
        Task::Shape => run::shape(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
