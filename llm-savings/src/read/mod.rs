//! Readers of logs in different formats.

mod csv;
mod fields;
mod json_line;
mod prompts;
mod request;
mod response;
mod stack;

use std::io::{self, BufRead, Read};

use crate::{options::Options, record::Record};

use csv::Columns;
pub(crate) use fields::Skipped;

/// Length of the longest line that is read, in bytes. A longer line is skipped.
const MAX_LINE: u64 = 64 << 20;

/// Reads every line of a log. Passes each record, or the reason why a line is not a record, to `sink`.
pub(crate) fn read(
    mut reader: impl BufRead,
    options: &Options,
    mut sink: impl FnMut(Result<Record, Skipped>),
) -> io::Result<()> {
    let (mut line, mut columns, mut is_first) = (Vec::new(), None, true);
    while let Some(text) = read_line(&mut reader, &mut line)? {
        let text = match text {
            Ok("") => continue,
            Ok(text) => text,
            Err(skipped) => {
                sink(Err(skipped));
                continue;
            }
        };
        if std::mem::take(&mut is_first) && !text.starts_with('{') {
            match Columns::of(text, options) {
                Ok(found) => columns = Some(found),
                Err(skipped) => sink(Err(skipped)),
            }
            continue;
        }
        sink(match &columns {
            Some(columns) => columns.record(text),
            None => json_line::record(text),
        });
    }
    Ok(())
}

/// Reads a line of at most [`MAX_LINE`] bytes. A longer line is skipped and reported. Returns `None` at the end of the
/// log.
fn read_line<'a>(reader: &mut impl BufRead, line: &'a mut Vec<u8>) -> io::Result<Option<Result<&'a str, Skipped>>> {
    line.clear();
    if reader.by_ref().take(MAX_LINE).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        reader.skip_until(b'\n')?;
        return Ok(Some(Err(Skipped::new("the line is longer than 64 MiB"))));
    }
    let text = std::str::from_utf8(line).map(|text| text.trim_start_matches('\u{feff}').trim());
    Ok(Some(text.map_err(|_| Skipped::new("the line is not UTF-8"))))
}
