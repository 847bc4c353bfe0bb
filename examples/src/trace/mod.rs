//! A public trace of "regenerate the tests of what changed": one row for each scenario of every feature file that a
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

/// Which text of a row is asked about, and so what makes two rows equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// The feature's header and background, and the scenario: two rows are equal when their `key_full` is.
    #[default]
    Full,
    /// The scenario alone: two rows are equal when their `key_scenario` is.
    Scenario,
}

/// A trace whose rows and texts were read once and found in order.
#[derive(Clone, Debug)]
pub struct Trace {
    path: PathBuf,
    texts: Arc<Texts>,
    key: Key,
    rows: u64,
    synthesised: u64,
}

impl Trace {
    /// Reads `texts`, and goes through the rows of `trace` once, to count them and find what is wrong before anything
    /// is asked.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, a column is missing, a field is no number, a key has two texts, or `key_full` is
    /// not equal exactly where header and scenario are.
    pub fn open(trace: &Path, texts: &[PathBuf], key: Key) -> Result<Self, Error> {
        let texts = Texts::read(texts)?;
        let (mut rows, mut missing, mut keys) = (0, HashSet::new(), Keys::default());
        // The first row stands on the second line.
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

    /// How many rows, and so requests, there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many different scenarios have no text in the files given, and are asked about with a made one.
    #[must_use]
    pub fn synthesised(&self) -> u64 {
        self.synthesised
    }

    /// The requests, in the file's order, each at its row's time. The file is read along the way.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened again.
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

/// What a row asks.
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
