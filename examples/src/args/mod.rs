//! Command line of `test_generation`.

mod amounts;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use crate::report::Options;
use crate::simulation::CacheSettings;
use crate::trace::Key;

/// Text that `--help` prints.
pub const USAGE: &str = "\
usage: test_generation [--demo | --trace FILE [--texts FILE]... [--key full|scenario]
                        | --git DIR [--glob PATTERN]... | --prompts FILE] [--ttl TIME] [--capacity SIZE]
                        [--pack PROMPTS | [--steps] [--json FILE] [--svg FILE]]

Organisations request test cases, over HTTP, from a simulated vendor that needs no key.
Without options: the public functions of twelve crates, then what changed in this repository, then the steps of both.

  --demo               a few illustrative stories instead
  --trace FILE         replay the public trace bdd_regen_trace.csv.gz instead
  --texts FILE         the texts of its scenarios; may be given more than once; others are made up
  --key full|scenario  send header and scenario (the default), or the scenario alone
  --git DIR            replay the history of your own repository instead: what each commit adds or modifies
  --glob PATTERN       which of its files, such as '**/*.py'; may be given more than once; without it '**/*.rs'
  --prompts FILE       replay your own log instead, a JSON object a line:
                       {\"prompt\": \"...\", \"tenant\": \"acme\", \"model\": \"gpt-4o\", \"ts\": \"2026-03-01T09:30:00Z\"}
                       (prompt alone is needed; ts in unix seconds or RFC 3339, on every line or on none)
  --ttl TIME           how long cached responses stay fresh, by the replay's clock: 15m, 24h, 7d, or none (the default)
  --capacity SIZE      how much it holds in memory, such as 64mb; without it 4gb
  --pack PROMPTS       compare what a cache, packing (so many prompts in one request) and both save, from 2 to 64
  --steps              switch cache, limits, packing and three keys on one after another, in virtual time, and print
                       what each saves
  --json FILE          write the table of the steps as JSON
  --svg FILE           draw its money, requests and p95
  --help               print this
";

/// Command of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run a workload.
    Run(Workload, CacheSettings),
    /// Run a workload through four stacks, with and without packs of this number of prompts.
    Compare(Workload, CacheSettings, usize),
    /// Run a workload through a fleet's stack, whose layers are switched on step by step.
    Steps(Workload, Options),
    /// Print [`USAGE`].
    Help,
}

/// Workload to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// The public functions of twelve crates, and then the changes of this repository.
    Repository,
    /// Illustrative stories.
    Demo,
    /// Replay of the public trace.
    Trace {
        /// File of the rows.
        trace: PathBuf,
        /// Files of texts; all texts are made up if there is none.
        texts: Vec<PathBuf>,
        /// Part of each row's text that is sent.
        key: Key,
    },
    /// Replay of a repository's history.
    Git {
        /// Directory inside the repository.
        directory: PathBuf,
        /// Patterns of the files to read.
        globs: Vec<String>,
    },
    /// Replay of a log of prompts.
    Prompts {
        /// File of the log.
        file: PathBuf,
    },
}

/// Error of a command line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// Exit code of the process after this error.
    pub const EXIT_CODE: u8 = 2;
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (--help says more)", self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments, without the program's name. A value may follow its option or stand after `=`. `--help` takes
/// precedence over everything but an earlier error.
///
/// # Errors
///
/// An argument is unknown, lacks its value or is given twice, or two options exclude each other.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let (mut args, mut given) = (args.into_iter(), Given::default());
    while let Some(arg) = args.next() {
        let (name, value) = split(&arg);
        if matches!((name, &value), ("--help" | "-h", None)) {
            return Ok(Command::Help);
        }
        given.take(name, value, &arg, &mut args)?;
    }
    let cache_settings = CacheSettings {
        ttl: given.ttl.unwrap_or_default(),
        max_bytes: given.capacity.unwrap_or(CacheSettings::default().max_bytes),
    };
    if let Some(wanted) = given.exclusive() {
        return Err(UsageError(wanted));
    }
    if given.steps || given.json.is_some() || given.svg.is_some() {
        let options = Options { json: given.json.take(), svg: given.svg.take(), ..Options::default() };
        return Ok(Command::Steps(given.workload()?, options));
    }
    Ok(match given.pack {
        Some(prompts) => Command::Compare(given.workload()?, cache_settings, prompts),
        None => Command::Run(given.workload()?, cache_settings),
    })
}

/// Arguments that were read so far.
#[derive(Default)]
struct Given {
    demo: bool,
    trace: Option<PathBuf>,
    texts: Vec<PathBuf>,
    key: Option<Key>,
    git: Option<PathBuf>,
    globs: Vec<String>,
    prompts: Option<PathBuf>,
    ttl: Option<Option<std::time::Duration>>,
    capacity: Option<u64>,
    pack: Option<usize>,
    steps: bool,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
}

impl Given {
    fn take(
        &mut self,
        name: &str,
        value: Option<OsString>,
        arg: &OsStr,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), UsageError> {
        match (name, &value) {
            ("--demo", None) => self.demo = true,
            ("--steps", None) => self.steps = true,
            ("--json", _) => once(&mut self.json, name, PathBuf::from(given(name, value, rest)?))?,
            ("--svg", _) => once(&mut self.svg, name, PathBuf::from(given(name, value, rest)?))?,
            ("--trace", _) => once(&mut self.trace, name, PathBuf::from(given(name, value, rest)?))?,
            ("--texts", _) => self.texts.push(PathBuf::from(given(name, value, rest)?)),
            ("--key", _) => once(&mut self.key, name, key_named(&given(name, value, rest)?)?)?,
            ("--git", _) => once(&mut self.git, name, PathBuf::from(given(name, value, rest)?))?,
            ("--glob", _) => self.globs.push(text(name, value, rest)?),
            ("--prompts", _) => once(&mut self.prompts, name, PathBuf::from(given(name, value, rest)?))?,
            ("--ttl", _) => once(&mut self.ttl, name, amounts::ttl(&text(name, value, rest)?).map_err(UsageError)?)?,
            ("--capacity", _) => {
                once(&mut self.capacity, name, amounts::bytes(&text(name, value, rest)?).map_err(UsageError)?)?;
            }
            ("--pack", _) => once(&mut self.pack, name, prompts(&text(name, value, rest)?)?)?,
            ("--help" | "-h" | "--demo" | "--steps", Some(_)) => {
                return Err(UsageError(format!("{name} takes no value")));
            }
            _ => return Err(UsageError(format!("unknown argument: {}", arg.display()))),
        }
        Ok(())
    }

    /// Returns an error message if two options exclude each other, because one of them would have no effect.
    fn exclusive(&self) -> Option<String> {
        let steps = [("--steps", self.steps), ("--json", self.json.is_some()), ("--svg", self.svg.is_some())];
        let settings = [("--ttl", self.ttl.is_some()), ("--capacity", self.capacity.is_some())];
        let pack = [("--pack", self.pack.is_some())];
        let first = |of: &[(&'static str, bool)]| of.iter().find_map(|(name, given)| given.then_some(*name));
        let pairs =
            [(first(&pack), first(&settings[..1])), (first(&steps), first(&pack)), (first(&steps), first(&settings))];
        let (one, other) = pairs.into_iter().find_map(|(one, other)| one.zip(other))?;
        Some(format!("{one} and {other} exclude each other"))
    }

    fn workload(self) -> Result<Workload, UsageError> {
        let Self { demo, trace, texts, key, git, mut globs, prompts, ttl, .. } = self;
        let sources = [
            ("--demo", demo),
            ("--trace", trace.is_some()),
            ("--git", git.is_some()),
            ("--prompts", prompts.is_some()),
        ];
        let mut sources = sources.iter().filter_map(|(name, given)| given.then_some(*name));
        if let (Some(one), Some(other)) = (sources.next(), sources.next()) {
            return Err(UsageError(format!("{one} and {other} exclude each other")));
        }
        let needs = |option: &str, what: &str| Err(UsageError(format!("{option} needs {what}")));
        if trace.is_none() && !texts.is_empty() {
            return needs("--texts", "--trace");
        }
        if trace.is_none() && key.is_some() {
            return needs("--key", "--trace");
        }
        if git.is_none() && !globs.is_empty() {
            return needs("--glob", "--git");
        }
        // Without a replay all requests are sent within seconds, and no entry expires.
        if trace.is_none() && git.is_none() && prompts.is_none() && ttl.is_some() {
            return needs("--ttl", "--trace, --git or --prompts");
        }
        if globs.is_empty() {
            globs.push("**/*.rs".to_owned());
        }
        Ok(match (trace, git, prompts) {
            (Some(trace), ..) => Workload::Trace { trace, texts, key: key.unwrap_or_default() },
            (_, Some(directory), _) => Workload::Git { directory, globs },
            (.., Some(file)) => Workload::Prompts { file },
            _ if demo => Workload::Demo,
            _ => Workload::Repository,
        })
    }
}

/// Splits `--name=value` into its parts; any other argument is a name alone. A name that is not Unicode becomes empty,
/// which is unknown.
fn split(arg: &OsStr) -> (&str, Option<OsString>) {
    let text = arg.to_str().unwrap_or_default();
    match text.split_once('=') {
        Some((name, value)) if name.starts_with("--") => (name, Some(value.into())),
        _ => (text, None),
    }
}

/// Returns the value after `=`, or else the next argument.
fn given(
    name: &str,
    value: Option<OsString>,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<OsString, UsageError> {
    let missing = || UsageError(format!("{name} needs a value"));
    let value = value
        .map_or_else(|| rest.next().filter(|next| !next.to_string_lossy().starts_with("--")).ok_or_else(missing), Ok)?;
    if value.is_empty() { Err(missing()) } else { Ok(value) }
}

/// Returns the value as text.
fn text(name: &str, value: Option<OsString>, rest: &mut impl Iterator<Item = OsString>) -> Result<String, UsageError> {
    let value = given(name, value, rest)?;
    value.into_string().map_err(|value| UsageError(format!("{name} is no text: {}", value.display())))
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), UsageError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(UsageError(format!("{name} is given twice"))),
    }
}

fn prompts(value: &str) -> Result<usize, UsageError> {
    let prompts = value.parse().ok().filter(|prompts| (2..=64).contains(prompts));
    prompts.ok_or_else(|| UsageError(format!("--pack is a number from 2 to 64, not {value}")))
}

fn key_named(value: &OsStr) -> Result<Key, UsageError> {
    match value.to_str() {
        Some("full") => Ok(Key::Full),
        Some("scenario") => Ok(Key::Scenario),
        _ => Err(UsageError(format!("--key is full or scenario, not {}", value.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> Result<Command, String> {
        parse(args.split_whitespace().map(OsString::from))
            .map_err(|e| e.to_string().trim_end_matches(" (--help says more)").to_owned())
    }

    fn run(workload: Workload) -> Result<Command, String> {
        Ok(Command::Run(workload, CacheSettings::default()))
    }

    #[test]
    fn args_default_to_the_repository() {
        assert_eq!(parsed(""), run(Workload::Repository));
        assert_eq!(parsed("--demo"), run(Workload::Demo));
        assert_eq!(parsed("--demo --help"), Ok(Command::Help));
        assert_eq!(parsed("-h"), Ok(Command::Help));
    }

    #[test]
    fn args_of_trace_come_in_any_order() {
        let trace = |texts: &[&str], key| {
            run(Workload::Trace { trace: "t".into(), texts: texts.iter().map(PathBuf::from).collect(), key })
        };
        assert_eq!(parsed("--trace t"), trace(&[], Key::Full));
        assert_eq!(parsed("--key scenario --texts a --trace t --texts b"), trace(&["a", "b"], Key::Scenario));
        assert_eq!(parsed("--trace=t --texts=a=b --key=full"), trace(&["a=b"], Key::Full));
    }

    #[test]
    fn args_set_cache_of_history_and_log() {
        let git = |globs: &[&str]| Workload::Git {
            directory: "d".into(),
            globs: globs.iter().map(|glob| (*glob).to_owned()).collect(),
        };
        assert_eq!(parsed("--git d"), run(git(&["**/*.rs"])));
        assert_eq!(parsed("--glob *.py --git d --glob=*.pyi"), run(git(&["*.py", "*.pyi"])));
        let prompts = Workload::Prompts { file: "f".into() };
        assert_eq!(parsed("--prompts f --ttl none"), run(prompts.clone()));
        let cache_settings =
            CacheSettings { ttl: Some(std::time::Duration::from_secs(7 * 86_400)), max_bytes: 64 << 20 };
        assert_eq!(parsed("--ttl 7d --prompts f --capacity=64mb"), Ok(Command::Run(prompts, cache_settings)));
    }

    #[test]
    fn pack_compares_any_workload() {
        assert_eq!(parsed("--pack 10"), Ok(Command::Compare(Workload::Repository, CacheSettings::default(), 10)));
        let cache_settings = CacheSettings { max_bytes: 1 << 20, ..CacheSettings::default() };
        assert_eq!(parsed("--demo --pack=2 --capacity 1mb"), Ok(Command::Compare(Workload::Demo, cache_settings, 2)));
    }

    #[test]
    fn steps_take_any_workload_and_files() {
        assert_eq!(parsed("--steps"), Ok(Command::Steps(Workload::Repository, Options::default())));
        let options = Options { json: Some("a".into()), svg: Some("b".into()), ..Options::default() };
        assert_eq!(parsed("--demo --json a --svg=b"), Ok(Command::Steps(Workload::Demo, options)));
    }

    #[test]
    fn args_errors_name_contradictions() {
        for (args, message) in [
            ("--dmeo", "unknown argument: --dmeo"),
            ("file", "unknown argument: file"),
            ("--trace", "--trace needs a value"),
            ("--trace --texts a", "--trace needs a value"),
            ("--trace=", "--trace needs a value"),
            ("--trace a --trace b", "--trace is given twice"),
            ("--trace a --key header", "--key is full or scenario, not header"),
            ("--trace a --key full --key full", "--key is given twice"),
            ("--trace a --demo", "--demo and --trace exclude each other"),
            ("--prompts a --git b", "--git and --prompts exclude each other"),
            ("--texts a", "--texts needs --trace"),
            ("--demo --key full", "--key needs --trace"),
            ("--glob a --prompts b", "--glob needs --git"),
            ("--demo --ttl 7d", "--ttl needs --trace, --git or --prompts"),
            ("--prompts a --ttl week", "--ttl is a time such as 15m, 24h or 7d, or none, not week"),
            ("--capacity lots", "--capacity is a size such as 64mb or 2gb, not lots"),
            ("--pack 1", "--pack is a number from 2 to 64, not 1"),
            ("--pack ten", "--pack is a number from 2 to 64, not ten"),
            ("--pack 10 --prompts a --ttl 7d", "--pack and --ttl exclude each other"),
            ("--demo=yes", "--demo takes no value"),
            ("--steps=5", "--steps takes no value"),
            ("--steps --pack 10", "--steps and --pack exclude each other"),
            ("--json a --git b --ttl 7d", "--json and --ttl exclude each other"),
            ("--svg a --capacity 1mb", "--svg and --capacity exclude each other"),
            ("--json --steps", "--json needs a value"),
        ] {
            assert_eq!(parsed(args), Err(message.to_owned()), "{args}");
        }
    }

    #[test]
    fn args_usage_lists_every_option() {
        let options = [
            "--demo",
            "--trace",
            "--texts",
            "--key",
            "--git",
            "--glob",
            "--prompts",
            "--ttl",
            "--capacity",
            "--pack",
            "--steps",
            "--json",
            "--svg",
            "--help",
        ];
        for option in options {
            assert!(USAGE.contains(option), "{option}");
        }
    }
}
