//! The command line of `test_generation`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use crate::trace::Key;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: test_generation [--demo | --trace FILE [--texts FILE]... [--key full|scenario]]

Organisations ask for test cases, over HTTP, of a simulated vendor that needs no key.
Without options: the public functions of twelve crates, then what changed in this repository.

  --demo               a few illustrative stories instead
  --trace FILE         replay the public trace bdd_regen_trace.csv.gz instead
  --texts FILE         the texts of its scenarios; may be given more than once; others are made up
  --key full|scenario  ask about header and scenario (the default), or about the scenario alone
  --help               print this
";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// First generation, then regeneration.
    Repository,
    /// The illustrative stories.
    Demo,
    /// A replay of the public trace.
    Trace {
        /// The rows.
        trace: PathBuf,
        /// The files of texts; none means that all texts are made up.
        texts: Vec<PathBuf>,
        /// Which text is asked about.
        key: Key,
    },
    /// Print [`USAGE`].
    Help,
}

/// A command line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// What the process exits with.
    pub const EXIT_CODE: u8 = 2;
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (--help tells more)", self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments, without the program's name. A value may follow its option or stand behind `=`; `--help`
/// anywhere wins over all but an error before it.
///
/// # Errors
///
/// When an argument is not known, lacks its value or is given twice, or when options exclude each other.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut args = args.into_iter();
    let (mut demo, mut trace, mut texts, mut key) = (false, None, Vec::new(), None);
    while let Some(arg) = args.next() {
        let (name, value) = split(&arg);
        match (name, &value) {
            ("--help" | "-h", None) => return Ok(Command::Help),
            ("--demo", None) => demo = true,
            ("--trace", _) => once(&mut trace, name, PathBuf::from(given(name, value, &mut args)?))?,
            ("--texts", _) => texts.push(PathBuf::from(given(name, value, &mut args)?)),
            ("--key", _) => once(&mut key, name, key_named(&given(name, value, &mut args)?)?)?,
            ("--help" | "-h" | "--demo", Some(_)) => return Err(UsageError(format!("{name} takes no value"))),
            _ => return Err(UsageError(format!("unknown argument: {}", arg.display()))),
        }
    }
    match trace {
        Some(_) if demo => Err(UsageError("--demo and --trace exclude each other".to_owned())),
        Some(trace) => Ok(Command::Trace { trace, texts, key: key.unwrap_or_default() }),
        None if !texts.is_empty() => Err(UsageError("--texts needs --trace".to_owned())),
        None if key.is_some() => Err(UsageError("--key needs --trace".to_owned())),
        None if demo => Ok(Command::Demo),
        None => Ok(Command::Repository),
    }
}

/// `--name=value` as its two parts; anything else is a name alone. A name that is not Unicode is unknown, so empty.
fn split(arg: &OsStr) -> (&str, Option<OsString>) {
    let text = arg.to_str().unwrap_or_default();
    match text.split_once('=') {
        Some((name, value)) if name.starts_with("--") => (name, Some(value.into())),
        _ => (text, None),
    }
}

/// The value behind `=`, else the next argument.
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

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), UsageError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(UsageError(format!("{name} is given twice"))),
    }
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
            .map_err(|e| e.to_string().trim_end_matches(" (--help tells more)").to_owned())
    }

    #[test]
    fn nothing_means_the_repository() {
        assert_eq!(parsed(""), Ok(Command::Repository));
        assert_eq!(parsed("--demo"), Ok(Command::Demo));
        assert_eq!(parsed("--demo --help"), Ok(Command::Help));
        assert_eq!(parsed("-h"), Ok(Command::Help));
    }

    #[test]
    fn a_trace_takes_texts_and_a_key_in_any_order() {
        let trace = |texts: &[&str], key| {
            Ok(Command::Trace { trace: "t".into(), texts: texts.iter().map(PathBuf::from).collect(), key })
        };
        assert_eq!(parsed("--trace t"), trace(&[], Key::Full));
        assert_eq!(parsed("--key scenario --texts a --trace t --texts b"), trace(&["a", "b"], Key::Scenario));
        assert_eq!(parsed("--trace=t --texts=a=b --key=full"), trace(&["a=b"], Key::Full));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
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
            ("--texts a", "--texts needs --trace"),
            ("--demo --key full", "--key needs --trace"),
            ("--demo=yes", "--demo takes no value"),
        ] {
            assert_eq!(parsed(args), Err(message.to_owned()), "{args}");
        }
    }

    #[test]
    fn every_option_is_in_the_usage() {
        for option in ["--demo", "--trace", "--texts", "--key", "--help"] {
            assert!(USAGE.contains(option), "{option}");
        }
    }
}
