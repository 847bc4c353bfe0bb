//! Commands that each task runs. Nothing is started here, so that the commands can be tested and printed.

use std::fmt;

use crate::metadata::Metadata;
use crate::suites::Suite;

/// Command of cargo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// Arguments after `cargo`.
    pub(crate) args: Vec<String>,
    /// Environment variables to set, or to remove if the value is `None`.
    pub(crate) env: Vec<(&'static str, Option<String>)>,
}

/// Treatment of `Cargo.lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// For developers: a changed manifest updates the file.
    Open,
    /// For the CI: the committed versions are tested.
    Locked,
}

/// Directory of the package outside the workspace.
pub(crate) const CONSUMER: &str = "consumer";

/// Returns the checks of format, lints and docs, the quickest first.
pub(crate) fn checks() -> Vec<Invocation> {
    vec![
        Invocation::new("fmt --all --check"),
        Invocation::new("clippy --locked --workspace --all-targets --all-features -- -D warnings"),
        Invocation::new("doc --locked --workspace --no-deps --all-features")
            .env("RUSTDOCFLAGS", Some("-D warnings".to_owned())),
    ]
}

/// Returns the builds of each published package's docs, as users and docs.rs build them: with default features, which
/// shows links to items of other features as broken, and with all features.
pub(crate) fn docs(metadata: &Metadata) -> Vec<Invocation> {
    let docs = metadata.published().flat_map(|package| {
        let default = format!("doc --locked -p {} --no-deps", package.name);
        let all = format!("{default} --all-features");
        [default, all].map(|line| Invocation::new(&line).env("RUSTDOCFLAGS", Some("-D warnings".to_owned())))
    });
    docs.collect()
}

/// Returns the checks of each published package without features, and with each feature alone.
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

/// Returns the commands that run all tests of the workspace, including doctests, and the extra suites whose data
/// exists.
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

/// Returns the command that tests the package outside the workspace, which has only the features of the README's
/// dependency lines.
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

/// Formats the command as a user types it, without removed variables.
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
