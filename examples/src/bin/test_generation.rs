//! Organisations ask for test cases; the table says what a cache saved them.
//!
//! `cargo run --release -p examples --bin test_generation`, with no key and no server; `--help` tells more.

use std::{path::Path, process::ExitCode};

use examples::{
    args::{self, Command, UsageError},
    demo,
    history::History,
    registry::FirstGeneration,
    run,
    simulation::{self, LATENCY_DIVISOR, Simulation},
    trace::Trace,
    workload::Source,
};
use llm_core::{BoxError, ManualClock, SystemClock};
use llm_testkit::Latency;

#[tokio::main]
async fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("{error}");
            return UsageError::EXIT_CODE.into();
        }
    };
    let outcome = match command {
        Command::Help => {
            print!("{}", args::USAGE);
            Ok(())
        }
        Command::Repository => repository().await,
        Command::Demo => demonstration().await,
        Command::Trace { trace, texts, key } => match Trace::open(&trace, &texts, key) {
            Ok(trace) => replay(trace).await,
            Err(error) => Err(error.into()),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("test_generation: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn repository() -> Result<(), BoxError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the package lies in no workspace")?;
    #[expect(clippy::disallowed_methods, reason = "a binary's edge hands the real environment in")]
    let first = FirstGeneration::read(root, |name| std::env::var_os(name))?.into_source();
    let again = History::read(root)?.into_source();
    let simulation = Simulation::start(SystemClock, simulation::latency()).await?;
    phase(&simulation, first).await?;
    phase(&simulation, again).await?;
    close(&simulation, &scaled());
    Ok(())
}

async fn demonstration() -> Result<(), BoxError> {
    let simulation = Simulation::start(SystemClock, simulation::latency()).await?;
    phase(&simulation, demo::source()).await?;
    close(&simulation, &scaled());
    Ok(())
}

async fn replay(trace: Trace) -> Result<(), BoxError> {
    let source = trace.into_source()?;
    let clock = ManualClock::default();
    let simulation = Simulation::start(clock.clone(), Latency::zero()).await?;
    announce(&source);
    println!("{}", run::in_order(&simulation, &clock, source).await?);
    close(&simulation, "none: it answers at once, so p50 and p95 are this machine's");
    Ok(())
}

async fn phase(simulation: &Simulation, source: Source) -> Result<(), BoxError> {
    announce(&source);
    println!("{}", run::at_once(simulation, source).await?);
    Ok(())
}

fn announce(source: &Source) {
    println!("== {}: {} calls", source.name(), source.calls());
    for note in source.notes() {
        println!("   {note}");
    }
}

fn close(simulation: &Simulation, latency: &str) {
    println!("{}", simulation.disclosure(latency));
    println!("{}", run::check(simulation));
}

fn scaled() -> String {
    format!("scaled to 1/{LATENCY_DIVISOR}")
}
