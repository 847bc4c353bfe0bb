//! Public trace of "regenerate the tests of what changed": one row for each scenario of every feature file that a
//! commit added or modified.
//!
//! The trace is a CSV file with the columns `ts` (unix seconds), `tenant`, `key_scenario`, `key_full`, `key_header`,
//! `header_chars` and `scenario_chars`, among others; equal keys stand for equal texts. The scenarios' texts come
//! from files of JSON lines (`key_scenario`, `text`); all files may be compressed with gzip. Headers have no texts,
//! so theirs are made from their key, at their length; so are scenarios that no file holds, and these are counted.

mod keys;
mod rows;
mod texts;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::workload::{Request, Source};
use keys::Keys;
use rows::{Row, Rows};
use texts::Texts;

/// Part of a row's text that is sent, and that makes two rows equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// Header and background of the feature, and the scenario: two rows are equal if their `key_full` is.
    #[default]
    Full,
    /// Only the scenario: two rows are equal if their `key_scenario` is.
    Scenario,
}

/// Trace whose rows and texts were read once and checked.
#[derive(Clone, Debug)]
pub struct Trace {
    path: PathBuf,
    texts: Arc<Texts>,
    key: Key,
    rows: u64,
    synthesised: u64,
}

impl Trace {
    /// Reads `texts`, and reads the rows of `trace` once, to count them and find errors before any request is sent.
    ///
    /// # Errors
    ///
    /// A file cannot be read, a column is missing, a field is not a number, a key has two texts, or two rows of equal
    /// `key_full` differ in header or scenario, or the reverse.
    pub fn open(trace: &Path, texts: &[PathBuf], key: Key) -> Result<Self, Error> {
        let texts = Texts::read(texts)?;
        let (mut rows, mut missing, mut keys) = (0, HashSet::new(), Keys::default());
        // The first row is on the second line.
        for (row, line) in Rows::open(trace)?.zip(2..) {
            let row = row?;
            keys.check(&row).map_err(|why| Error::content(trace, why).on_line(line))?;
            rows += 1;
            if !texts.holds(row.key_scenario) {
                missing.insert(row.key_scenario);
            }
        }
        Ok(Self { path: trace.to_owned(), texts: Arc::new(texts), key, rows, synthesised: missing.len() as u64 })
    }

    /// Returns the number of rows, and so of requests.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the number of different scenarios without a text in the given files, whose texts are made up.
    #[must_use]
    pub fn synthesised(&self) -> u64 {
        self.synthesised
    }

    /// Returns the requests in the file's order, each at its row's time. The file is read while they are consumed.
    ///
    /// # Errors
    ///
    /// The file cannot be opened again.
    pub fn into_source(self) -> Result<Source, Error> {
        let rows = Rows::open(&self.path)?;
        let said = format!(
            "{} rows of {}; headers' texts are made from their keys, and so are {} scenarios whose text no file holds",
            self.rows,
            self.path.file_name().unwrap_or_default().display(),
            self.synthesised
        );
        let (texts, key) = (self.texts, self.key);
        let name = match key {
            Key::Full => "trace, header and scenario",
            Key::Scenario => "trace, scenario alone",
        };
        Ok(Source::new(name, self.rows, rows.map(move |row| row.map(|row| request(&row, &texts, key)))).note(said))
    }
}

/// Returns the request of a row.
fn request(row: &Row, texts: &Texts, key: Key) -> Request {
    let scenario = texts.scenario(row.key_scenario, row.scenario_chars);
    let text: Arc<str> = match key {
        Key::Full => format!("{}\n{scenario}", texts::made(row.key_header, row.header_chars)).into(),
        Key::Scenario => scenario,
    };
    Request::new(format!("tenant {}", row.tenant), text).at(row.at)
}

#[cfg(test)]
mod tests;
