//! Program `llm-cache`, which copies, lists, removes and counts the entries of stores.

mod command;
mod report;

use std::{env, process::ExitCode};

use command::{Command, USAGE};

/// Exit code for invalid arguments.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("llm-cache: {error}\n\n{USAGE}");
            return ExitCode::from(USAGE_ERROR);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let ran = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(report::run(command)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("llm-cache: {error}");
            ExitCode::FAILURE
        }
    }
}
