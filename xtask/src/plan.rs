//! What each task runs: pure, so that it can be tested and printed.

use std::fmt;

use crate::metadata::Metadata;
use crate::suites::Suite;

/// One call of cargo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// What stands behind `cargo`.
    pub(crate) args: Vec<String>,
    /// Variables to set, or with `None` to remove.
    pub(crate) env: Vec<(&'static str, Option<String>)>,
}

/// Whether `Cargo.lock` may be brought up to date on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// As a developer works: a changed manifest updates the file.
    Open,
    /// As the CI works: what is tested is what is committed.
    Locked,
}

/// Directory of the package outside the workspace.
pub(crate) const CONSUMER: &str = "consumer";

/// Formatting, lints and docs, in the order in which they fail fastest.
pub(crate) fn checks() -> Vec<Invocation> {
    vec![
        Invocation::new("fmt --all --check"),
        Invocation::new("clippy --locked --workspace --all-targets --all-features -- -D warnings"),
        Invocation::new("doc --locked --workspace --no-deps --all-features")
            .env("RUSTDOCFLAGS", Some("-D warnings".to_owned())),
    ]
}

/// The docs of each published package by itself, as its users and docs.rs build them: with its default features, in which a
/// link to an item of another feature is broken, and with all of them.
pub(crate) fn docs(metadata: &Metadata) -> Vec<Invocation> {
    let docs = metadata.published().flat_map(|package| {
        let default = format!("doc --locked -p {} --no-deps", package.name);
        let all = format!("{default} --all-features");
        [default, all].map(|line| Invocation::new(&line).env("RUSTDOCFLAGS", Some("-D warnings".to_owned())))
    });
    docs.collect()
}

/// Each published package with no feature at all, then with each of its features on its own.
pub(crate) fn features(metadata: &Metadata) -> Vec<Invocation> {
    let mut checks = Vec::new();
    for package in metadata.published() {
        let bare = format!("check --locked -p {} --no-default-features", package.name);
        checks.push(Invocation::new(&bare));
        let alone = package.features().map(|f| Invocation::new(&format!("{bare} --features {f}")));
        checks.extend(alone);
    }
    checks
}

/// Every test of the workspace, doctests included, with the extra suites as far as their data is there.
pub(crate) fn test(full: bool, lock: Lock, suites: &[Suite]) -> Invocation {
    let mut line = String::from("test");
    if lock == Lock::Locked {
        line.push_str(" --locked");
    }
    line.push_str(" --workspace --all-features");
    if full {
        // Large sizes in an unoptimised build would take hours.
        line.push_str(" --release");
    }
    let size = full.then(|| "1".to_owned());
    let run = Invocation::new(&line).env("LLM_FULL", size);
    suites.iter().fold(run, |run, suite| run.env(suite.variable, suite.value()))
}

/// The tests of the package outside the workspace, which has only the features that the README's lines ask for.
pub(crate) fn consumer() -> Invocation {
    Invocation::new(&format!("test --manifest-path {CONSUMER}/Cargo.toml --target-dir target"))
}

impl Invocation {
    pub(crate) fn new(line: &str) -> Self {
        Self::of(line.split(' ').map(str::to_owned).collect())
    }

    pub(crate) fn of(args: Vec<String>) -> Self {
        Self { args, env: Vec::new() }
    }

    fn env(mut self, name: &'static str, value: Option<String>) -> Self {
        self.env.push((name, value));
        self
    }
}

/// As one would type it; removed variables are not shown.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            if let Some(value) = value {
                let quote = if value.contains(' ') { "'" } else { "" };
                write!(f, "{name}={quote}{value}{quote} ")?;
            }
        }
        write!(f, "cargo {}", self.args.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(plan: &[Invocation]) -> Vec<String> {
        plan.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn checks_deny_warnings_everywhere() {
        assert_eq!(
            lines(&checks()),
            [
                "cargo fmt --all --check",
                "cargo clippy --locked --workspace --all-targets --all-features -- -D warnings",
                "RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --all-features",
            ]
        );
    }

    #[test]
    fn docs_of_published_packages_deny_warnings() {
        let json = br#"{"packages":[
            {"name":"llm-a","publish":null,"dependencies":[],"features":{}},
            {"name":"examples","publish":[],"dependencies":[],"features":{}}]}"#;
        let metadata = Metadata::parse(json).expect("the JSON above has the right shape");
        assert_eq!(
            lines(&docs(&metadata)),
            [
                "RUSTDOCFLAGS='-D warnings' cargo doc --locked -p llm-a --no-deps",
                "RUSTDOCFLAGS='-D warnings' cargo doc --locked -p llm-a --no-deps --all-features",
            ]
        );
    }

    #[test]
    fn plan_checks_each_feature_of_published_packages() {
        let json = br#"{"packages":[
            {"name":"llm-a","publish":null,"dependencies":[],"features":{"redis":["dep:x"],"metrics":[]}},
            {"name":"llm-b","publish":null,"dependencies":[],"features":{}},
            {"name":"examples","publish":[],"dependencies":[],"features":{"plots":[]}}]}"#;
        let metadata = Metadata::parse(json).expect("the JSON above has the right shape");
        assert_eq!(
            lines(&features(&metadata)),
            [
                "cargo check --locked -p llm-a --no-default-features",
                "cargo check --locked -p llm-a --no-default-features --features metrics",
                "cargo check --locked -p llm-a --no-default-features --features redis",
                "cargo check --locked -p llm-b --no-default-features",
            ]
        );
    }

    #[test]
    fn plan_normal_run_is_dev_build() {
        let run = test(false, Lock::Open, &[]);
        assert_eq!(run.to_string(), "cargo test --workspace --all-features");
        assert_eq!(run.env, [("LLM_FULL", None)]);
    }

    #[test]
    fn plan_full_run_is_release_build() {
        let run = test(true, Lock::Open, &[]);
        assert_eq!(run.to_string(), "LLM_FULL=1 cargo test --workspace --all-features --release");
    }

    #[test]
    fn plan_tests_consumer_as_own_package() {
        assert_eq!(consumer().to_string(), "cargo test --manifest-path consumer/Cargo.toml --target-dir target");
    }

    #[test]
    fn plan_ci_uses_lock_file() {
        let run = test(false, Lock::Locked, &[]);
        assert_eq!(run.to_string(), "cargo test --locked --workspace --all-features");
    }
}
