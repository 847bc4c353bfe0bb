//! Table of the costs and savings of a run, by organisation and in total.

pub(crate) mod cells;
mod row;

pub use row::Row;

use crate::percentile::Latency;
pub(crate) use cells::{count, dollars};
use cells::{millis, rate};

/// Number of organisations with a row of their own; the others share one.
pub const SHOWN: usize = 20;

/// Renders `rows` in aligned columns, those with the most calls first, and then their sum with `in_all`, the latency of
/// all calls. Amounts are in dollars, latencies in milliseconds. Each cause that saved an amount in some row has a
/// column, in the order in which the rows name the causes.
///
/// The hit rate is (hits + coalesced) ÷ calls.
#[must_use]
pub fn render(rows: &[Row], in_all: Option<Latency>) -> String {
    let causes = causes(rows);
    let mut ordered: Vec<&Row> = rows.iter().collect();
    ordered.sort_by_key(|row| std::cmp::Reverse(row.calls));
    let (shown, others) = ordered.split_at(ordered.len().min(SHOWN));

    let mut lines = vec![heads(&causes)];
    lines.extend(shown.iter().map(|row| cells(row, &causes)));
    if !others.is_empty() {
        let sum = Row::sum(format!("{} others", others.len()), others.iter().copied());
        lines.push(cells(&sum, &causes));
    }
    let sum = Row { latency: in_all, ..Row::sum("in all".to_owned(), rows) };
    lines.push(cells(&sum, &causes));
    aligned(&lines, true)
}

fn causes(rows: &[Row]) -> Vec<&str> {
    let mut causes = Vec::new();
    for (cause, _) in rows.iter().flat_map(|row| &row.saved) {
        if !causes.contains(&cause.as_str()) {
            causes.push(cause);
        }
    }
    causes.retain(|cause| rows.iter().any(|row| row.saved_by(cause) != 0));
    causes
}

fn heads(causes: &[&str]) -> Vec<String> {
    let first =
        ["organisation", "calls", "hits", "coalesced", "hit rate", "tokens in", "tokens out", "paid", "unconfirmed"];
    let saved = causes.iter().map(|cause| format!("saved: {cause}"));
    first.into_iter().map(str::to_owned).chain(saved).chain(["p50 ms".to_owned(), "p95 ms".to_owned()]).collect()
}

fn cells(row: &Row, causes: &[&str]) -> Vec<String> {
    let mut cells = vec![
        row.organisation.clone(),
        count(row.calls),
        count(row.hits),
        count(row.coalesced),
        rate(row.hits + row.coalesced, row.calls),
        count(row.tokens_in),
        count(row.tokens_out),
        dollars(row.paid),
        dollars(row.unconfirmed),
    ];
    cells.extend(causes.iter().map(|cause| dollars(row.saved_by(cause))));
    let latencies = row.latency.map(|latency| [latency.p50, latency.p95]);
    cells.extend(latencies.map_or_else(|| ["-".to_owned(), "-".to_owned()], |both| both.map(millis)));
    cells
}

/// Renders lines with aligned columns: the first column to the left, the others to the right, and two spaces between
/// them. A rule is below the headings, and another one above the last line if `is_sum` is true.
pub(crate) fn aligned(lines: &[Vec<String>], is_sum: bool) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        if number == 1 || is_sum && number + 1 == lines.len() && number > 1 {
            text += &rule;
            text.push('\n');
        }
        text += &format!("{:<width$}", line[0], width = widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            text += &format!("  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn latency(p50: u64, p95: u64) -> Option<Latency> {
        Some(Latency { p50: Duration::from_micros(p50), p95: Duration::from_micros(p95) })
    }

    #[test]
    fn table_has_row_for_each_organisation() {
        let rows = [
            Row { calls: 9, tokens_in: 10, ..Row::new("ñandú") },
            Row {
                calls: 1_234_567,
                hits: 1_000_000,
                coalesced: 3,
                tokens_in: 5_000,
                tokens_out: 70,
                paid: 1_234_567_890_000,
                unconfirmed: 50_000,
                saved: vec![
                    ("exact hit".to_owned(), 49_999),
                    ("packed".to_owned(), 0),
                    ("tier".to_owned(), -2_500_000_000),
                ],
                latency: latency(1_500, 2_000_400),
                ..Row::new("bakery")
            },
        ];
        let expected = "\
organisation      calls       hits  coalesced  hit rate  tokens in  tokens out         paid  unconfirmed  saved: exact hit  saved: tier  p50 ms     p95 ms
----------------------------------------------------------------------------------------------------------------------------------------------------------
bakery        1,234,567  1,000,000          3   81.00 %      5,000          70  $1,234.5679      $0.0001           $0.0000     -$2.5000   1.500  2,000.400
ñandú                 9          0          0    0.00 %         10           0      $0.0000      $0.0000           $0.0000      $0.0000       -          -
----------------------------------------------------------------------------------------------------------------------------------------------------------
in all        1,234,576  1,000,000          3   81.00 %      5,010          70  $1,234.5679      $0.0001           $0.0000     -$2.5000   0.002      3.000
";
        assert_eq!(render(&rows, latency(2, 3_000)), expected);
    }

    #[test]
    fn table_combines_organisations_beyond_twenty() {
        let rows: Vec<_> = (1..=22)
            .map(|n| Row { calls: n, hits: 1, latency: latency(1, 1), ..Row::new(format!("org {n}")) })
            .collect();
        let text = render(&rows, None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 1 + SHOWN + 1 + 1 + 1);
        assert!(lines[2].starts_with("org 22 ") && lines[21].starts_with("org 3 "), "{text}");
        assert_eq!(lines[22].split_whitespace().take(4).collect::<Vec<_>>(), ["2", "others", "3", "2"]);
        assert!(lines[22].ends_with('-'), "percentiles do not add up");
        assert_eq!(lines[24].split_whitespace().take(4).collect::<Vec<_>>(), ["in", "all", "253", "22"]);
        assert_eq!(render(&rows[..20], None).lines().count(), 1 + 1 + 20 + 1 + 1);
    }

    #[test]
    fn table_without_calls_has_sum_only() {
        let text = render(&[], None);
        assert_eq!(text.lines().count(), 3);
        assert_eq!(
            text.lines().nth(2).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")),
            Some("in all 0 0 0 - 0 0 $0.0000 $0.0000 - -".to_owned())
        );
    }
}
