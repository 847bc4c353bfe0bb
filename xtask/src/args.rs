//! Command line of the program.

/// Text that `cargo xtask help` prints, and that follows an error about the arguments.
pub(crate) const USAGE: &str = "\
usage: cargo xtask <task>

tasks:
  test [--full] [--dry-run]  every test: units, integration, binaries, examples, documentation,
                             and those of a package outside the workspace with the README's dependency lines
  ci [--dry-run]             format, clippy, docs, prose, crate arrows, each feature on its own, then test
  prose [--all]              words and first lines of documentation that do not follow the project's language
  load [--dry-run]           load of 1,000 requests a second on the axum example, with its bounds; installs the load generator
                             oha below the target directory
  shape                      figures of each crate's sources: sizes, documentation, surface, imports
  help                       this text

options:
  --full     large seeds and sizes (LLM_FULL=1), built with --release: the figures that docs quote
  --all      name each place in private documentation too
  --dry-run  print the commands instead of running them; of ci, prose and crate arrows are still checked

a redis-server is needed: root and users of brew get it installed, others are told the command

environment:
  LLM_CASSETTES     directory of recorded vendor answers; their suite skips when it is not set
  LLM_TRACES        directory of public workload traces; their suite skips when it is not set
  LLM_PRICES        directory of LiteLLM's published price table; its suite skips when it is not set
  REDIS_SERVER_BIN  the redis-server to use, where it is not on the path";

/// Task with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Test { full: bool, dry_run: bool },
    Ci { dry_run: bool },
    Load { dry_run: bool },
    Prose { all: bool },
    Shape,
}

/// Reads the arguments after the program's name. The error is a sentence for the user.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Task, String> {
    let mut args = args.into_iter();
    let name = args.next().ok_or("no task given")?;
    let mut task = match name.as_str() {
        "help" | "--help" | "-h" => Task::Help,
        "test" => Task::Test { full: false, dry_run: false },
        "ci" => Task::Ci { dry_run: false },
        "load" => Task::Load { dry_run: false },
        "prose" => Task::Prose { all: false },
        "shape" => Task::Shape,
        _ => return Err(format!("unknown task `{name}`")),
    };
    for arg in args {
        match (arg.as_str(), &mut task) {
            ("--full", Task::Test { full, .. }) => *full = true,
            ("--all", Task::Prose { all }) => *all = true,
            ("--dry-run", Task::Test { dry_run, .. } | Task::Ci { dry_run } | Task::Load { dry_run }) => {
                *dry_run = true
            }
            _ => return Err(format!("unknown argument `{arg}` for task `{name}`")),
        }
    }
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn args_come_in_any_order() {
        let test = |full, dry_run| Ok(Task::Test { full, dry_run });
        assert_eq!(parsed("test"), test(false, false));
        assert_eq!(parsed("test --full"), test(true, false));
        assert_eq!(parsed("test --dry-run --full"), test(true, true));
        assert_eq!(parsed("ci"), Ok(Task::Ci { dry_run: false }));
        assert_eq!(parsed("ci --dry-run"), Ok(Task::Ci { dry_run: true }));
        assert_eq!(parsed("load --dry-run"), Ok(Task::Load { dry_run: true }));
        assert_eq!(parsed("--help"), Ok(Task::Help));
        assert_eq!(parsed("prose --all"), Ok(Task::Prose { all: true }));
        assert_eq!(parsed("shape"), Ok(Task::Shape));
    }

    #[test]
    fn args_error_names_unknown_option() {
        for (line, culprit) in [
            ("", "no task"),
            ("tests", "`tests`"),
            ("test fast", "`fast`"),
            ("ci --full", "`--full`"),
            ("help --dry-run", "`--dry-run`"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(culprit), "{line}: {error}");
        }
    }
}
