//! Command-line options that all applications share.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use llm_core::BoxError;
use serde_json::{Value, json};

use super::Report;

/// Options of an application: its seed, the user's own input, and the files to write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Seed of all random draws; 2026 by default.
    pub seed: u64,
    /// User's own input, in place of the application's.
    pub input: Option<PathBuf>,
    /// File for the reports as JSON.
    pub json: Option<PathBuf>,
    /// File for the first report as an SVG chart.
    pub svg: Option<PathBuf>,
}

/// Error of a command line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl Options {
    /// Reads a command line without the program's name; `None` if `--help` is given.
    ///
    /// # Errors
    ///
    /// An option that is unknown, given twice or has no value, or a seed that is no number.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, UsageError> {
        let (mut options, mut given) = (Self::default(), Vec::new());
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let name = arg.to_string_lossy().into_owned();
            if name == "--help" {
                return Ok(None);
            }
            if !["--seed", "--input", "--json", "--svg"].contains(&&*name) {
                return Err(UsageError(format!("unknown option {name}; --help lists the options")));
            }
            let value = args.next().filter(|value| !value.is_empty() && !value.to_string_lossy().starts_with("--"));
            let value = value.ok_or_else(|| UsageError(format!("{name} needs a value")))?;
            if given.contains(&name) {
                return Err(UsageError(format!("{name} is given twice")));
            }
            match &*name {
                "--seed" => {
                    let seed = value.to_str().and_then(|seed| seed.parse().ok());
                    options.seed = seed.ok_or_else(|| UsageError("--seed is a whole number".to_owned()))?;
                }
                "--input" => options.input = Some(value.into()),
                "--json" => options.json = Some(value.into()),
                _ => options.svg = Some(value.into()),
            }
            given.push(name);
        }
        Ok(Some(options))
    }

    /// Returns an error if a file that the options name cannot be written, before a long run. An existing file is not changed.
    ///
    /// # Errors
    ///
    /// A file cannot be written at one of the paths.
    pub fn check_outputs(&self) -> Result<(), BoxError> {
        let open = |path: &PathBuf| OpenOptions::new().create(true).append(true).open(path).map(drop);
        let mut outputs = self.json.iter().chain(&self.svg);
        outputs.try_for_each(|path| open(path).map_err(|error| unwritable(path, &error)))
    }

    /// Prints the reports and writes the files that the options name. The chart shows these columns of the first report.
    ///
    /// # Errors
    ///
    /// A file or the output cannot be written.
    pub fn publish(&self, reports: &[Report], columns: &[&str]) -> Result<(), BoxError> {
        if let Some(path) = &self.json {
            let reports: Vec<Value> = reports.iter().map(Report::json).collect();
            write(path, &format!("{:#}\n", json!({"seed": self.seed, "reports": reports})))?;
        }
        if let (Some(path), Some(first)) = (&self.svg, reports.first()) {
            write(path, &first.svg(columns))?;
        }
        let mut out = io::stdout().lock();
        reports.iter().try_for_each(|report| Ok(writeln!(out, "{report}")?))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 2026, input: None, json: None, svg: None }
    }
}

/// Runs an application by its command line: prints `usage` for `--help`, and errors on the standard error. If the
/// reader of the output ends early, as `head` does, that is not an error.
pub fn start(
    name: &str,
    usage: &str,
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(&Options) -> Result<(), BoxError>,
) -> ExitCode {
    let done = match Options::parse(args) {
        Ok(Some(options)) => options.check_outputs().and_then(|()| run(&options)),
        Ok(None) => writeln!(io::stdout(), "{usage}").map_err(BoxError::from),
        Err(error) => {
            eprintln!("{name}: {error}");
            return ExitCode::from(2);
        }
    };
    match done {
        Err(error) if !is_closed_pipe(&error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Returns true if the reader of the output has closed the pipe.
#[must_use]
pub fn is_closed_pipe(error: &BoxError) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn write(path: &Path, text: &str) -> Result<(), BoxError> {
    fs::write(path, text).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> BoxError {
    format!("cannot write {}: {error}", path.display()).into()
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, UsageError> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_are_read_in_any_order() {
        let options = parse("--svg a.svg --seed 7 --input photos --json a.json").unwrap().unwrap();
        assert_eq!((options.seed, options.svg), (7, Some("a.svg".into())));
        assert_eq!((options.input, options.json), (Some("photos".into()), Some("a.json".into())));
        assert_eq!(parse("").unwrap(), Some(Options::default()));
        assert_eq!(parse("--seed 7 --help").unwrap(), None);
    }

    #[test]
    fn options_that_are_wrong_say_why() {
        for (line, part) in [
            ("--seed x", "whole number"),
            ("--seed -1", "whole number"),
            ("--json", "needs a value"),
            ("--json --svg a", "--json needs a value"),
            ("--seed 1 --seed 2", "given twice"),
            ("--fast", "unknown option"),
        ] {
            assert!(parse(line).unwrap_err().to_string().contains(part), "{line}");
        }
    }

    #[test]
    fn options_publish_writes_json_and_chart() {
        let directory = tempfile::tempdir().unwrap();
        let [json, svg] = ["a.json", "a.svg"].map(|name| directory.path().join(name));
        let options = Options { json: Some(json.clone()), svg: Some(svg.clone()), ..Options::default() };
        options.publish(&[Report::new("Empty", ["step", "calls"])], &["calls"]).unwrap();
        assert!(fs::read_to_string(json).unwrap().contains("\"seed\": 2026"));
        assert!(fs::read_to_string(svg).unwrap().starts_with("<svg "));
    }

    #[test]
    fn options_check_outputs_before_run() {
        let directory = tempfile::tempdir().unwrap();
        let [kept, none] = ["kept", "none/a.svg"].map(|name| directory.path().join(name));
        fs::write(&kept, "kept").unwrap();
        let options = Options { json: Some(kept.clone()), ..Options::default() };
        options.check_outputs().unwrap();
        assert_eq!(fs::read_to_string(kept).unwrap(), "kept");
        let error = Options { svg: Some(none), ..options }.check_outputs().unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("none/a.svg"), "{error}");
    }
}
