//! Sends organisations' requests for test cases through a stack, and prints what the stack saved.
//!
//! `cargo run --release -p examples --bin test_generation`, with no key and no server; `--help` says more.

use std::{collections::BTreeSet, io::Write, path::Path, process::ExitCode, sync::Arc};

use examples::{
    args::{self, Command, UsageError, Workload},
    comparison, demo,
    history::History,
    prompts::Prompts,
    registry::FirstGeneration,
    report::{Options, is_closed_pipe},
    run::{self, AT_ONCE},
    simulation::{self, CacheSettings, LATENCY_DIVISOR, RESPONSE_TOKENS, Simulation},
    test_generation,
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
        Command::Help => say(args::USAGE.trim_end()),
        Command::Run(workload, cache_settings) => run(workload, cache_settings).await,
        Command::Compare(workload, cache_settings, prompts) => compare(workload, cache_settings, prompts).await,
        Command::Steps(workload, options) => steps(workload, options).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("test_generation: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the requests of a workload, and the models that they name.
fn sources(workload: &Workload, cache_settings: CacheSettings) -> Result<(Vec<Source>, BTreeSet<Arc<str>>), BoxError> {
    let mut models = BTreeSet::new();
    let sources = match workload {
        Workload::Repository => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the package lies in no workspace")?;
            #[expect(clippy::disallowed_methods, reason = "a binary's edge hands the real environment in")]
            let first = FirstGeneration::read(root, |name| std::env::var_os(name))?.into_source();
            vec![first, History::read(root)?.into_source()]
        }
        Workload::Demo => vec![demo::source()],
        Workload::Trace { trace, texts, key } => vec![Trace::open(trace, texts, *key)?.into_source()?],
        Workload::Git { directory, globs } => vec![History::of_files(directory, globs)?.into_source()],
        Workload::Prompts { file } => {
            let prompts = Prompts::read(file)?;
            if cache_settings.ttl.is_some() && !prompts.are_timed() {
                return Err("--ttl needs times: give the prompts a ts".into());
            }
            models = prompts.models();
            vec![prompts.into_source()]
        }
    };
    Ok((sources, models))
}

async fn run(workload: Workload, cache_settings: CacheSettings) -> Result<(), BoxError> {
    let (sources, models) = sources(&workload, cache_settings)?;
    match workload {
        Workload::Repository => {
            repository(sources, cache_settings).await?;
            say("")?;
            steps(workload, Options::default()).await
        }
        Workload::Demo => demonstration(sources, cache_settings).await,
        Workload::Trace { .. } | Workload::Git { .. } | Workload::Prompts { .. } => {
            replay(sources, cache_settings, &models).await
        }
    }
}

async fn compare(workload: Workload, cache_settings: CacheSettings, prompts: usize) -> Result<(), BoxError> {
    let (sources, models) = sources(&workload, cache_settings)?;
    sources.iter().try_for_each(announce)?;
    say(&comparison::render(&comparison::compare(sources, &models, cache_settings, prompts).await?))?;
    let (low, high) = (RESPONSE_TOKENS.start(), RESPONSE_TOKENS.end());
    say(&format!(
        "   packs of at most {prompts}; one prompt in fifty is also sent alone. Each stack's books agree with its vendor's bills to the \
         nano-dollar.\n   simulated: the vendor and its responses ({low} to {high} tokens each, assumed; the same in a pack and \
         alone)"
    ))
}

/// Sends the workload through the steps, which add one layer each. Virtual time needs a runtime of its own.
async fn steps(workload: Workload, options: Options) -> Result<(), BoxError> {
    options.check_outputs()?;
    let (sources, _) = sources(&workload, CacheSettings::default())?;
    let report = tokio::task::spawn_blocking(|| test_generation::report(sources).map_err(|error| error.to_string()));
    options.publish(&[report.await??], &["paid", "sent", "p95"])
}

async fn repository(sources: Vec<Source>, cache_settings: CacheSettings) -> Result<(), BoxError> {
    let simulation = now(cache_settings).await?;
    for source in sources {
        announce(&source)?;
        let table = run::at_once(&simulation, source, AT_ONCE).await?;
        print(&simulation, &table, &scaled())?;
    }
    say(&run::check(&simulation))
}

async fn demonstration(sources: Vec<Source>, cache_settings: CacheSettings) -> Result<(), BoxError> {
    let simulation = now(cache_settings).await?;
    for source in sources {
        announce(&source)?;
        // One call after the other, because some stories are requested again later.
        let table = run::in_order(&simulation, None, source).await?;
        print(&simulation, &table, &scaled())?;
    }
    say(&run::check(&simulation))
}

async fn now(cache_settings: CacheSettings) -> Result<Simulation, BoxError> {
    Simulation::start(SystemClock, simulation::latency(), cache_settings, &BTreeSet::new()).await
}

async fn replay(
    sources: Vec<Source>,
    cache_settings: CacheSettings,
    models: &BTreeSet<Arc<str>>,
) -> Result<(), BoxError> {
    let clock = ManualClock::default();
    let simulation = Simulation::start(clock.clone(), Latency::zero(), cache_settings, models).await?;
    for source in sources {
        announce(&source)?;
        let table = run::in_order(&simulation, Some(&clock), source).await?;
        print(&simulation, &table, "none: it responds at once, so p50 and p95 are this machine's")?;
    }
    say(&run::check(&simulation))
}

fn announce(source: &Source) -> Result<(), BoxError> {
    say(&format!("== {}: {} calls", source.name(), source.calls()))?;
    source.notes().iter().try_for_each(|note| say(&format!("   {note}")))
}

/// Prints a table, and says which of its figures are counted and which are simulated.
fn print(simulation: &Simulation, table: &str, latency: &str) -> Result<(), BoxError> {
    say(table)?;
    say(&format!("   {}\n", simulation.disclosure(latency)))
}

fn say(text: &str) -> Result<(), BoxError> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn scaled() -> String {
    format!("scaled to 1/{LATENCY_DIVISOR}")
}
