//! Report as text with tables.

use std::fmt;

use super::{Finding, Lever, Log, Report, Row, grouped, money, percent};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Log { calls, failed, distinct, tokens, spent, prices_as_of, .. } = &self.log;
        writeln!(
            f,
            "{} calls, {} failed, {} distinct requests, {} tokens, {spent:.2} at list prices of {prices_as_of}",
            grouped(*calls),
            grouped(*failed),
            grouped(*distinct),
            grouped(*tokens)
        )?;
        self.log.caveats().iter().try_for_each(|caveat| writeln!(f, "  {caveat}"))?;
        for lever in &self.levers {
            writeln!(f, "\n{} ({})", lever.name, lever.effect.word())?;
            write_lever(lever, &self.log, f)?;
        }
        Ok(())
    }
}

fn write_lever(lever: &Lever, log: &Log, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match &lever.finding {
        Finding::NotProvable(reason) => writeln!(f, "  not provable from this log: {reason}")?,
        Finding::Rows(rows) => {
            let cells: Vec<[String; 6]> = rows.iter().map(|row| cells(row, log)).collect();
            let widths: [usize; 6] = std::array::from_fn(|column| {
                cells.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0)
            });
            for cells in &cells {
                let mut line = format!("  {:<width$}", cells[0], width = widths[0]);
                for column in (1..6).filter(|column| widths[*column] > 0) {
                    let (cell, width) = (&cells[column], widths[column]);
                    line += &if column == 5 { format!("  {cell}") } else { format!("  {cell:>width$}") };
                }
                writeln!(f, "{}", line.trim_end())?;
            }
        }
    }
    lever.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
}

/// Returns the cells of a row: setting, calls, share of calls, tokens, money with its share, other figures.
pub(super) fn cells(row: &Row, log: &Log) -> [String; 6] {
    let share = |calls| percent(i64::try_from(log.per_mille(calls)).unwrap_or(0));
    let amount = row.money.map(|amount| match log.spent.is_zero() {
        true => String::new(),
        false => format!("{} ({})", money(amount), percent(log.money_per_mille(amount))),
    });
    [
        row.setting.clone(),
        row.calls.map(|calls| format!("{} calls", grouped(calls))).unwrap_or_default(),
        row.calls.map(share).unwrap_or_default(),
        row.tokens.filter(|_| log.tokens > 0).map(|tokens| format!("{} tokens", grouped(tokens))).unwrap_or_default(),
        amount.unwrap_or_default(),
        row.detail.clone().unwrap_or_default(),
    ]
}
