//! Error of reading a workload.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Error of reading a workload, with the file, the line and the reason.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    line: Option<u64>,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    Content(String),
}

impl Error {
    /// Creates the error of a file that could not be opened or read.
    #[must_use]
    pub fn io(path: &Path, cause: io::Error) -> Self {
        Self { path: path.to_owned(), line: None, cause: Cause::Io(cause) }
    }

    /// Creates the error of a file with wrong content; `why` is in lower case, without a full stop.
    #[must_use]
    pub fn content(path: &Path, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, cause: Cause::Content(why.into()) }
    }

    /// Adds the number of the line, counted from 1.
    #[must_use]
    pub fn on_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        match &self.cause {
            Cause::Io(cause) => write!(f, ": {cause}"),
            Cause::Content(why) => write!(f, ": {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Io(cause) => Some(cause),
            Cause::Content(_) => None,
        }
    }
}
