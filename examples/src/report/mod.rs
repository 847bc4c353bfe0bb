//! Report of an application: a table that is printed, written as JSON and drawn as an SVG chart.

mod chart;
mod options;

use std::{fmt, time::Duration};

use llm_core::Usd;
use serde_json::{Map, Value, json};

use crate::table::{
    aligned,
    cells::{count, dollars, rate},
};

pub use options::{Options, UsageError, is_closed_pipe, start};

/// Table with a title, a row for each step or case, and notes.
///
/// ```
/// use examples::report::{Cell, Report};
/// use llm_core::Usd;
///
/// let mut report = Report::new("A day", ["step", "calls", "paid"]);
/// report.row("nothing", [Cell::Count(1_200), Cell::Money(Usd::from_nanos(500_000_000))]);
/// report.row("+ cache", [Cell::Count(300), Cell::Money(Usd::from_nanos(125_000_000))]);
/// assert!(report.to_string().contains("+ cache    300  $0.1250"));
/// assert_eq!(report.json()["rows"][1]["paid_nano_usd"], 125_000_000);
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<Cell>)>,
    notes: Vec<String>,
}

/// Value in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A number of calls, tokens or other things.
    Count(u64),
    /// An amount of money.
    Money(Usd),
    /// A part of a whole, which is shown in percent.
    Share(u64, u64),
    /// A duration.
    Time(Duration),
    /// A number that may be negative.
    Change(i64),
    /// A difference of milliseconds, which may be negative.
    TimeChange(i64),
    /// No value.
    None,
}

impl Report {
    /// Creates a report without rows. The first column names the rows.
    #[must_use]
    pub fn new(title: impl Into<String>, columns: impl Into<Vec<&'static str>>) -> Self {
        Self { title: title.into(), columns: columns.into(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = Cell>) {
        let mut cells: Vec<Cell> = cells.into_iter().collect();
        cells.resize(self.columns.len() - 1, Cell::None);
        self.rows.push((name.into(), cells));
    }

    /// Adds a line that is printed below the table: an assumption, a source or a result.
    pub fn note(&mut self, line: impl Into<String>) {
        self.notes.push(line.into());
    }

    /// Returns the value of a row in a column.
    #[must_use]
    pub fn cell(&self, row: usize, column: &str) -> Option<&Cell> {
        let at = self.columns.iter().skip(1).position(|name| *name == column)?;
        self.rows.get(row)?.1.get(at)
    }

    /// Returns the report as JSON: amounts in nano-dollars, times in milliseconds, shares as part and whole.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, cells)| {
            let first = (self.columns[0].to_owned(), json!(name));
            let others = self.columns.iter().skip(1).zip(cells).map(|(column, cell)| cell.json(column));
            Value::Object([first].into_iter().chain(others).collect::<Map<_, _>>())
        });
        json!({"title": self.title, "rows": rows.collect::<Vec<_>>(), "notes": self.notes})
    }

    /// Returns an SVG drawing with one bar for each row, for each column that is named.
    #[must_use]
    pub fn svg(&self, columns: &[&str]) -> String {
        chart::draw(self, columns)
    }
}

impl Cell {
    fn json(&self, column: &str) -> (String, Value) {
        let name = column.replace(' ', "_");
        match self {
            Self::Count(count) => (name, json!(count)),
            Self::Money(amount) => (format!("{name}_nano_usd"), json!(amount.nanos())),
            Self::Share(part, whole) => (name, json!({"part": part, "whole": whole})),
            Self::Time(time) => (format!("{name}_ms"), json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))),
            Self::Change(change) => (name, json!(change)),
            Self::TimeChange(millis) => (format!("{name}_ms"), json!(millis)),
            Self::None => (name, Value::Null),
        }
    }

    /// Returns a number that is proportional to the value, for a bar.
    fn size(&self) -> u128 {
        match self {
            Self::Count(count) => (*count).into(),
            Self::Money(amount) => amount.nanos().max(0).unsigned_abs().into(),
            Self::Share(part, whole) => u128::from(*part) * 1_000_000 / u128::from((*whole).max(1)),
            Self::Time(time) => time.as_millis(),
            Self::Change(size) | Self::TimeChange(size) => u128::from(size.max(&0).unsigned_abs()),
            Self::None => 0,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Count(number) => count(*number),
            Self::Money(amount) => dollars(amount.nanos()),
            Self::Share(part, whole) => rate(*part, *whole),
            Self::Time(time) => span(*time),
            Self::Change(change) => signed(*change, count),
            Self::TimeChange(millis) => signed(*millis, |millis| span(Duration::from_millis(millis))),
            Self::None => "-".to_owned(),
        })
    }
}

/// Returns a number in the format of `amount`, with a minus sign if it is negative.
fn signed(number: i64, amount: impl Fn(u64) -> String) -> String {
    format!("{}{}", if number < 0 { "-" } else { "" }, amount(number.unsigned_abs()))
}

/// Returns a duration in seconds with one decimal; in minutes from two minutes on, in hours from two hours on.
fn span(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    let (unit, name) = match tenths {
        0..1_200 => (10, "s"),
        1_200..72_000 => (600, "min"),
        _ => (36_000, "h"),
    };
    format!("{}.{} {name}", tenths / unit, tenths % unit * 10 / unit)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "== {}", self.title)?;
        let head = self.columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
        let rows = self.rows.iter().map(|(name, cells)| {
            [name.clone()].into_iter().chain(cells.iter().map(ToString::to_string)).collect::<Vec<_>>()
        });
        f.write_str(&aligned(&[head].into_iter().chain(rows).collect::<Vec<_>>(), false))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "   {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("Photos & <more>", ["step", "calls", "paid", "hit rate", "p95", "none"]);
        report.row(
            "nothing",
            [
                Cell::Count(1_000),
                Cell::Money(Usd::from_nanos(2_000_000_000)),
                Cell::Share(0, 1_000),
                Cell::Time(Duration::from_millis(8_500)),
            ],
        );
        let half = [Cell::Count(500), Cell::Money(Usd::from_nanos(1_000_000_000)), Cell::Share(1, 2)];
        report.row("+ cache", half.into_iter().chain([Cell::Time(Duration::from_secs(7_200))]));
        report.note("one line");
        report
    }

    #[test]
    fn report_table_is_aligned() {
        let expected = "\
== Photos & <more>
step     calls     paid  hit rate    p95  none
----------------------------------------------
nothing  1,000  $2.0000    0.00 %  8.5 s     -
+ cache    500  $1.0000   50.00 %  2.0 h     -
   one line
";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn report_json_states_units() {
        let json = report().json();
        assert_eq!(json["rows"][0]["paid_nano_usd"], 2_000_000_000_u64);
        assert_eq!((&json["rows"][1]["p95_ms"], &json["rows"][1]["hit_rate"]["whole"]), (&json!(7_200_000), &json!(2)));
        assert!(json["rows"][0]["none"].is_null());
    }

    #[test]
    fn report_chart_bars_are_proportional() {
        let svg = report().svg(&["paid"]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("Photos &amp; &lt;more&gt;"));
        let widths: Vec<u64> = svg
            .split("<rect ")
            .skip(1)
            .filter_map(|bar| bar.split_once("width=\"")?.1.split_once('"')?.0.parse().ok())
            .collect();
        assert_eq!(widths.len(), 2, "{svg}");
        assert_eq!(widths[0], 2 * widths[1]);
    }

    #[test]
    fn report_times_have_fitting_units() {
        let texts = [0, 119_900, 120_000, 7_199_000, 7_200_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(texts, ["0.0 s", "119.9 s", "2.0 min", "119.9 min", "2.0 h"]);
    }
}
