//! Reader of the trace's rows.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::lines;

/// Columns that are read, in the order of [`Row`]'s fields; other columns are ignored.
const COLUMNS: [&str; 7] = ["ts", "tenant", "key_scenario", "key_full", "key_header", "header_chars", "scenario_chars"];

/// Fields of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) at: SystemTime,
    pub(super) tenant: u64,
    pub(super) key_scenario: u64,
    pub(super) key_full: u64,
    pub(super) key_header: u64,
    pub(super) header_chars: usize,
    pub(super) scenario_chars: usize,
}

/// Iterator over the rows, in the file's order.
pub(super) struct Rows {
    path: PathBuf,
    lines: io::Lines<Box<dyn BufRead + Send>>,
    places: [usize; COLUMNS.len()],
    line: u64,
}

impl Rows {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut lines = lines::read(path)?;
        let head = lines.next().unwrap_or_else(|| Ok(String::new())).map_err(|e| Error::io(path, e).on_line(1))?;
        let mut places = [0; COLUMNS.len()];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            let found = head.trim_end().split(',').position(|name| name == column);
            *place = found.ok_or_else(|| Error::content(path, format!("there is no column {column}")).on_line(1))?;
        }
        Ok(Self { path: path.to_owned(), lines, places, line: 1 })
    }

    fn row(&self, line: &str) -> Result<Row, Error> {
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        let mut values = [0; COLUMNS.len()];
        for ((value, place), column) in values.iter_mut().zip(self.places).zip(COLUMNS) {
            let field = fields.get(place).copied().unwrap_or_default();
            *value = field.parse::<u64>().map_err(|_| {
                Error::content(&self.path, format!("{column} is no number: {field:?}")).on_line(self.line)
            })?;
        }
        let [ts, tenant, key_scenario, key_full, key_header, header_chars, scenario_chars] = values;
        let too_great = |what| Error::content(&self.path, format!("{what} is too great")).on_line(self.line);
        let chars = |count: u64| u32::try_from(count).map(|count| count as usize).map_err(|_| too_great("a length"));
        Ok(Row {
            at: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(ts)).ok_or_else(|| too_great("ts"))?,
            tenant,
            key_scenario,
            key_full,
            key_header,
            header_chars: chars(header_chars)?,
            scenario_chars: chars(scenario_chars)?,
        })
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        self.line += 1;
        Some(line.map_err(|e| Error::io(&self.path, e).on_line(self.line)).and_then(|line| self.row(&line)))
    }
}
