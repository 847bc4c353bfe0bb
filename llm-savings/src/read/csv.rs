//! Traces as CSV: a line of column names, then a line for each call. Quotes are not read: identifiers and numbers need none.

use llm_core::Usage;

use super::fields::{self, Line, Skipped};
use crate::{
    options::Options,
    record::{Prompt, Record, Segment, SegmentKind},
};

/// Places of the columns that are read.
#[derive(Debug)]
pub(super) struct Columns {
    key: usize,
    frame: Option<usize>,
    time: Option<usize>,
    tenant: Option<usize>,
    model: Option<usize>,
    input: Option<usize>,
    output: Option<usize>,
    count: usize,
}

impl Columns {
    /// Reads the names of the columns.
    pub(super) fn of(header: &str, options: &Options) -> Result<Self, Skipped> {
        let names: Vec<&str> = header.split(',').map(str::trim).collect();
        let at = |wanted: &[&str]| wanted.iter().find_map(|wanted| names.iter().position(|name| name == wanted));
        let key = &options.key_column;
        Ok(Self {
            key: at(&[key]).ok_or_else(|| {
                Skipped::new(format!(
                    "the first line is no JSON object and names no column `{key}`: name the request's by --key"
                ))
            })?,
            frame: options.frame_column.as_deref().and_then(|frame| at(&[frame])),
            time: at(&["ts", "time", "timestamp"]),
            tenant: at(&["tenant"]),
            model: at(&["model"]),
            input: at(&["input_tokens"]),
            output: at(&["output_tokens"]),
            count: names.len(),
        })
    }

    pub(super) fn record(&self, line: &str) -> Line {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != self.count {
            return Err(Skipped::new("the line has another number of columns than the first"));
        }
        let cell = |at: Option<usize>| at.map(|at| cells[at]).filter(|cell| !cell.is_empty());
        let mut record = Record::new(cell(self.model).unwrap_or_default());
        record.tenant = cell(self.tenant).unwrap_or_default().to_owned();
        record.time = match cell(self.time) {
            Some(time) => Some(fields::time_of_text(time).ok_or_else(|| Skipped::new("the line has no valid time"))?),
            None => None,
        };
        let frame = cell(self.frame).map(|frame| Segment::new(SegmentKind::System, frame));
        let own = Segment::new(SegmentKind::User, cells[self.key]);
        record.prompt = Some(Prompt::identified(frame.into_iter().chain([own]).collect()));
        let tokens = |at| cell(at).and_then(|cell| cell.parse::<u64>().ok());
        record.usage = tokens(self.input).map(|input| Usage::new(input, tokens(self.output).unwrap_or(0)));
        Ok(record)
    }
}
