//! Drives a target on stable Rust: `drive TARGET [SECONDS | RUNSx] [SEED]`, or `drive TARGET FILE`. `drive all …`
//! drives
//! all of them, one after the other.

#![expect(clippy::disallowed_methods, reason = "a driver measures the wall")]

use std::{
    env, fs, panic,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use llm_fuzz::{TARGETS, Target, held, mutate::mutate, random::Random};

/// Time after which an input counts as a failure.
const SLOW: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let wanted = args.first().map_or("", String::as_str);
    let targets: Vec<_> = TARGETS.iter().filter(|target| [target.name, "all"].contains(&wanted)).collect();
    if targets.is_empty() {
        let names = TARGETS.map(|target| target.name).join(", ");
        eprintln!("usage: drive TARGET [SECONDS | RUNSx | FILE] [SEED], where TARGET is all, or one of {names}");
        return ExitCode::from(2);
    }
    let limit = args.get(1).map_or("10", String::as_str);
    if let Ok(data) = fs::read(limit) {
        targets.iter().for_each(|target| (target.run)(&data));
        return ExitCode::SUCCESS;
    }
    let (runs, seconds) = match limit.strip_suffix('x') {
        Some(runs) => (runs.parse().ok(), None),
        None => (None, limit.parse().ok()),
    };
    let Some((runs, seconds)) = runs.map(|runs| (runs, u64::MAX)).or(seconds.map(|seconds| (u64::MAX, seconds))) else {
        eprintln!("{limit} is no file, no number of seconds, and no number of runs such as 1000x");
        return ExitCode::from(2);
    };
    let seed = args.get(2).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let found = targets.into_iter().filter(|target| !drive(target, runs, seconds, seed)).count();
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the target on the corpus and then on mutations of it. Returns true if nothing was found.
fn drive(target: &Target, runs: u64, seconds: u64, seed: u64) -> bool {
    let corpus = corpus(target.name);
    held::forget();
    let (begin, mut random) = (Instant::now(), Random::new(seed));
    let mut slowest = Duration::ZERO;
    let mut done = 0;
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    while done < runs && (done % 64 != 0 || begin.elapsed().as_secs() < seconds) {
        let known = usize::try_from(done).ok().and_then(|at| corpus.get(at)).cloned();
        let data = known.unwrap_or_else(|| mutate(&corpus, &mut random));
        let start = Instant::now();
        let failed = panic::catch_unwind(|| (target.run)(&data)).is_err();
        let took = start.elapsed();
        if failed || took > SLOW {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("artifacts/{}-{seed}-{done}", target.name));
            let kept = fs::create_dir_all(path.with_file_name("")).and_then(|()| fs::write(&path, &data));
            kept.expect("the artifacts directory can be written");
            eprintln!("{} after {took:?}, run {done}: {}", if failed { "failed" } else { "slow" }, path.display());
            panic::set_hook(quiet);
            // Runs the input once more, to show the cause.
            let _ = panic::catch_unwind(|| (target.run)(&data));
            return false;
        }
        slowest = slowest.max(took);
        done += 1;
    }
    panic::set_hook(quiet);
    let (most, factor) = held::most();
    let (name, took) = (target.name, begin.elapsed());
    println!("{name}: seed {seed}, {done} runs in {took:.1?}, slowest {slowest:.1?}, most held {most} B (x{factor})");
    true
}

/// Returns the first inputs, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&directory).expect("each target has a corpus");
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    let corpus: Vec<_> = paths.iter().filter_map(|path| fs::read(path).ok()).collect();
    assert!(!corpus.is_empty(), "the corpus of {name} is empty");
    corpus
}
