//! Traces in CSV: a line with the names of the columns, then a line for each call. Cells may be quoted, but must not
//! contain line breaks.

use std::borrow::Cow;

use llm_core::Usage;

use super::fields::{self, Line, Skipped};
use crate::{
    options::Options,
    record::{Prompt, Record, Segment, SegmentKind},
};

/// Positions of the columns that are read.
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
    /// Finds the positions of the columns by their names in the first line.
    pub(super) fn of(header: &str, options: &Options) -> Result<Self, Skipped> {
        let names = cells(header);
        let at = |wanted: &[&str]| wanted.iter().find_map(|wanted| names.iter().position(|name| name == wanted));
        let needed = |name: &str, what: &str| {
            let reason = format!("the first line is no JSON object and names no column `{name}`: name {what}");
            at(&[name]).ok_or_else(|| Skipped::new(reason))
        };
        Ok(Self {
            key: needed(&options.key_column, "the request's by --key")?,
            frame: match &options.frame_column {
                Some(frame) => Some(needed(frame, "the frame's by --frame")?),
                None => None,
            },
            time: at(&["ts", "time", "timestamp"]),
            tenant: at(&["tenant"]),
            model: at(&["model"]),
            input: at(&["input_tokens"]),
            output: at(&["output_tokens"]),
            count: names.len(),
        })
    }

    pub(super) fn record(&self, line: &str) -> Line {
        let cells = cells(line);
        if cells.len() != self.count {
            return Err(Skipped::new("the line has another number of columns than the first"));
        }
        let cell = |at: Option<usize>| at.map(|at| &*cells[at]).filter(|cell| !cell.is_empty());
        let mut record = Record::new(cell(self.model).unwrap_or_default());
        record.tenant = cell(self.tenant).unwrap_or_default().to_owned();
        record.time = match cell(self.time) {
            Some(time) => Some(fields::time_of_text(time).ok_or_else(|| Skipped::new("the line has no valid time"))?),
            None => None,
        };
        let frame = cell(self.frame).map(|frame| Segment::new(SegmentKind::System, frame));
        let key = cell(Some(self.key)).ok_or_else(|| Skipped::new("the line has no value in the column of the key"))?;
        let own = Segment::new(SegmentKind::User, key);
        record.prompt = Some(Prompt::identified(frame.into_iter().chain([own]).collect()));
        let tokens = |at| cell(at).and_then(|cell| cell.parse::<u64>().ok());
        record.usage = tokens(self.input).map(|input| Usage::new(input, tokens(self.output).unwrap_or(0)));
        Ok(record)
    }
}

/// Returns the cells of a line, without quotes and surrounding space. Two quotes inside a quoted cell stand for one.
fn cells(line: &str) -> Vec<Cow<'_, str>> {
    let (mut cells, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                cells.push(cell(&line[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    cells.push(cell(&line[start..]));
    cells
}

fn cell(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.into() };
    if inner.contains("\"\"") { inner.replace("\"\"", "\"").into() } else { inner.into() }
}
