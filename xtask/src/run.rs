//! Runs the commands of a plan one after the other, and prints their durations.

mod load;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::arrows;
use crate::metadata::Metadata;
use crate::plan::{self, Invocation, Lock};
use crate::prose::{self, Finding};
use crate::redis::{self, Machine, Plan};
use crate::shape::Shape;
use crate::source::{self, SourceFile};
use crate::suites;

pub(crate) use load::load;

/// `cargo xtask test`.
pub(crate) fn test(full: bool, dry_run: bool) -> Result<(), String> {
    let runner = Runner::new(dry_run);
    let done = runner.tests(full, Lock::Open);
    runner.total();
    done
}

/// `cargo xtask ci`.
pub(crate) fn ci(dry_run: bool) -> Result<(), String> {
    let runner = Runner::new(dry_run);
    let done = runner.everything();
    runner.total();
    done
}

/// `cargo xtask prose`: fails if public documentation has a finding.
pub(crate) fn prose(all: bool) -> Result<(), String> {
    examine_prose(&read_metadata()?, all)
}

fn examine_prose(metadata: &Metadata, all: bool) -> Result<(), String> {
    println!("{:<14} first lines  words  private first lines  private words", "crate");
    let mut total = prose::Count::default();
    for (name, files) in published_sources(metadata)? {
        let findings: Vec<Finding> = files.iter().flat_map(|file| prose::examine(file, &shown(file))).collect();
        let count = prose::Count::of(&findings);
        let prose::Count { public_clauses, public_words, private_clauses, private_words } = count;
        println!("{name:<14} {public_clauses:>11}  {public_words:>5}  {private_clauses:>19}  {private_words:>13}");
        findings.iter().filter(|finding| all || finding.is_public).for_each(|finding| println!("  {finding}"));
        total += count;
    }
    total.verdict()
}

/// `cargo xtask shape`.
pub(crate) fn shape() -> Result<(), String> {
    for (name, files) in published_sources(&read_metadata()?)? {
        println!("{name}\n{}\n", Shape::of(&files, shown));
    }
    Ok(())
}

/// Returns the published packages with their sources.
fn published_sources(metadata: &Metadata) -> Result<Vec<(String, Vec<SourceFile>)>, String> {
    let read = |name: &str| source::read_crate(root(), &root().join(name));
    metadata.published().map(|package| Ok((package.name.clone(), read(&package.name)?))).collect()
}

/// Returns the file's path below the workspace's directory.
fn shown(file: &SourceFile) -> String {
    file.path.strip_prefix(root()).unwrap_or(&file.path).display().to_string()
}

struct Runner {
    dry_run: bool,
    start: Instant,
}

impl Runner {
    fn new(dry_run: bool) -> Self {
        Self { dry_run, start: now() }
    }

    fn everything(&self) -> Result<(), String> {
        for check in plan::checks() {
            self.step(&check)?;
        }
        let metadata = read_metadata()?;
        check_arrows(&metadata)?;
        check_docs_rs(&metadata)?;
        println!("== prose");
        examine_prose(&metadata, false)?;
        for check in plan::docs(&metadata) {
            self.step(&check)?;
        }
        for check in plan::features(&metadata) {
            self.step(&check)?;
        }
        self.tests(false, Lock::Locked)
    }

    fn tests(&self, full: bool, lock: Lock) -> Result<(), String> {
        let suites = suites::find(variable)?;
        for suite in &suites {
            println!("   {suite}");
        }
        self.provide_redis()?;
        self.step(&plan::test(full, lock, &suites))?;
        self.consumer()
    }

    /// Tests the package outside the workspace, with the versions of the workspace's own lock file.
    fn consumer(&self) -> Result<(), String> {
        if !self.dry_run {
            let copy = root().join(plan::CONSUMER).join("Cargo.lock");
            std::fs::copy(root().join("Cargo.lock"), &copy)
                .map_err(|e| format!("cannot write {}: {e}", copy.display()))?;
        }
        self.step(&plan::consumer())
    }

    /// Provides a Redis server, because the tests spawn servers and none of them skips.
    fn provide_redis(&self) -> Result<(), String> {
        let steps = match plan_redis() {
            Plan::Ready(server) => {
                println!("   redis-server: {}", server.display());
                return Ok(());
            }
            Plan::Stop(text) => return Err(text),
            Plan::Install(steps) => steps,
        };
        for line in steps {
            println!("== {line}");
            if !self.dry_run {
                install(line)?;
            }
        }
        match plan_redis() {
            _ if self.dry_run => Ok(()),
            Plan::Ready(_) => Ok(()),
            _ => Err(format!("there is no redis-server on the path after: {}", steps.join(" && "))),
        }
    }

    /// Runs one command to its end, and leaves its output unchanged.
    fn step(&self, invocation: &Invocation) -> Result<(), String> {
        if self.dry_run {
            println!("{invocation}");
            return Ok(());
        }
        println!("== {invocation}");
        let start = now();
        let status = command(invocation).status().map_err(|e| format!("cannot start cargo: {e}"))?;
        let took = seconds(start.elapsed());
        if !status.success() {
            return Err(format!("after {took}, {status}: {invocation}"));
        }
        println!("   {took}");
        Ok(())
    }

    fn total(&self) {
        if !self.dry_run {
            println!("== total {}", seconds(self.start.elapsed()));
        }
    }
}

fn plan_redis() -> Plan {
    redis::plan(&Machine { lookup: &variable, is_file: &|file: &PathBuf| file.is_file(), uid: uid() })
}

/// Returns the number of the current user, if `id` states it.
fn uid() -> Option<u32> {
    let output = Command::new("id").arg("-u").output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Runs a package manager, which must not ask for confirmation.
fn install(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a command line has a first word"));
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let status = command.status().map_err(|e| format!("cannot start {line}: {e}"))?;
    if !status.success() {
        return Err(format!("{status}: {line}"));
    }
    Ok(())
}

fn check_arrows(metadata: &Metadata) -> Result<(), String> {
    println!("== crate arrows");
    let found = arrows::violations(metadata);
    if found.is_empty() {
        println!("   {} packages", metadata.packages().len());
        return Ok(());
    }
    Err(format!("crate arrows that must not be there:\n  {}", found.join("\n  ")))
}

/// Refuses a published package whose docs on docs.rs would lack the items behind features.
fn check_docs_rs(metadata: &Metadata) -> Result<(), String> {
    let partial: Vec<_> = metadata.published().filter(|p| !p.documents_all_features()).map(|p| &*p.name).collect();
    if partial.is_empty() {
        return Ok(());
    }
    let names = partial.join(", ");
    Err(format!("without `all-features = true` in [package.metadata.docs.rs] of the manifest: {names}"))
}

fn read_metadata() -> Result<Metadata, String> {
    let mut cargo = cargo();
    cargo.args(["metadata", "--format-version", "1", "--no-deps"]);
    let output = cargo.stderr(Stdio::inherit()).output().map_err(|e| format!("cannot start cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", output.status));
    }
    Metadata::parse(&output.stdout)
}

fn command(invocation: &Invocation) -> Command {
    let mut command = cargo();
    command.args(&invocation.args);
    for (name, value) in &invocation.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Returns a command of the cargo that runs this program, at the workspace's root, without standard input.
fn cargo() -> Command {
    let mut command = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Returns the workspace's directory.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace's directory")
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[expect(clippy::disallowed_methods, reason = "a task runner measures the wall clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the program's edge, where the environment comes in")]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}
