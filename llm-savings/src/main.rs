//! Program `llm-savings`, which reads logs and prints the amounts that they could have saved.

mod args;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    process::ExitCode,
};

use args::{Command, Failure, Input, Output};
use flate2::read::MultiGzDecoder;
use llm_savings::{
    Analysis,
    git::{GitError, Repository},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("llm-savings: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let Command::Analyse { options, inputs, globs, outputs } = Command::parse(std::env::args_os())? else {
        return say(args::USAGE);
    };
    let mut analysis = Analysis::new(*options);
    let mut broken = Vec::new();
    for input in &inputs {
        match input {
            Input::File(file) => {
                let failed = |error: io::Error| format!("{}: {error}", file.display());
                broken.extend(analysis.read(open(file).map_err(failed)?).map_err(failed).err());
            }
            Input::Git(directory) => {
                read_history(directory, &globs, &mut analysis)
                    .map_err(|error| format!("{}: {error}", directory.display()))?;
            }
        }
    }
    let report = analysis.finish();
    say(&report.to_string())?;
    for Output { form, file } in outputs {
        let text = match form {
            args::Form::Html => report.to_html(),
            args::Form::Json => serde_json::to_string_pretty(&report)? + "\n",
        };
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    match broken.is_empty() {
        true => Ok(()),
        false => Err(format!("{}: the report holds what was read before", broken.join(", ")).into()),
    }
}

/// Reads the items of each file that a commit added or modified, as calls.
fn read_history(directory: &Path, globs: &[String], analysis: &mut Analysis) -> Result<(), GitError> {
    for change in Repository::new(directory).changes(None, globs)? {
        analysis.extend(change?.into_records());
    }
    Ok(())
}

/// Opens a file, or the standard input for `-`. A gzip file is decompressed.
fn open(input: &Path) -> io::Result<Box<dyn BufRead>> {
    let reader: Box<dyn Read> =
        if input == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(input)?) };
    let mut reader = BufReader::new(reader);
    let is_gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(reader))) } else { Box::new(reader) })
}

/// Prints a text to the standard output. A pipe that its reader has closed is no failure.
fn say(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}
