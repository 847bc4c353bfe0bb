use std::fmt::{self, Write};

use llm_core::Usd;

use super::{Row, Snapshot};

const COLUMNS: [&str; 16] = [
    "",
    "calls",
    "vendor",
    "hits",
    "coalesced",
    "failed",
    "dropped",
    "units",
    "input",
    "output",
    "list",
    "useful",
    "saved",
    "paid",
    "wasted",
    "unconfirmed",
];

/// Longest name that is printed without being cut, in characters.
const MAX_NAME: usize = 40;
/// Longest cause of an unknown cost that is printed without being cut, in characters.
const MAX_CAUSE: usize = 400;

type Cells = [String; COLUMNS.len()];

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(self, f)
    }
}

/// Writes the rows of a snapshot as aligned plain text, followed by notes.
fn write_table(snapshot: &Snapshot, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut lines = vec![COLUMNS.map(str::to_owned)];
    lines.extend(snapshot.tenants().map(|(name, row)| cells(&format!("tenant {name}"), row)));
    lines.extend(snapshot.models().map(|(name, row)| cells(&format!("model {name}"), row)));
    lines.extend(snapshot.labels().map(|(name, value, row)| match value {
        "" => cells(&format!("label {name}"), row),
        _ => cells(&format!("label {name}={value}"), row),
    }));
    lines.push(cells("in all", snapshot.total()));
    let widths: [usize; COLUMNS.len()] =
        std::array::from_fn(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0));
    for line in &lines {
        write!(f, "{:width$}", line[0], width = widths[0])?;
        for (cell, width) in line.iter().zip(widths).skip(1) {
            write!(f, "  {cell:>width$}")?;
        }
        f.write_char('\n')?;
    }
    notes(snapshot, f)
}

fn cells(name: &str, row: &Row) -> Cells {
    [
        printable(name, MAX_NAME),
        row.calls.to_string(),
        row.vendor.to_string(),
        row.hits.to_string(),
        row.coalesced.to_string(),
        row.failed.to_string(),
        row.dropped.to_string(),
        row.units.to_string(),
        row.usage.input.to_string(),
        row.usage.output.to_string(),
        money(row.list, row.unlisted_responses),
        money(row.useful, row.unpriced_responses.min(row.vendor)),
        signed(row.saved.total(), row.unlisted_responses),
        money(row.paid, row.unpriced_attempts),
        money(row.wasted.total(), row.unpriced_wasted),
        money(row.unconfirmed.amount, row.unconfirmed.unpriced),
    ]
}

/// Formats an amount. If `unpriced` of its parts have no known cost, it is a lower bound or unknown.
fn money(amount: Usd, unpriced: u64) -> String {
    match unpriced {
        0 => format!("{amount:.6}"),
        _ if amount.is_zero() => "unknown".to_owned(),
        _ => format!("≥ {amount:.6}"),
    }
}

/// Formats an amount as [`money`] does, for amounts whose unknown part may be negative.
fn signed(amount: Usd, unknown: u64) -> String {
    match unknown {
        0 => format!("{amount:.6}"),
        _ if amount.is_zero() => "unknown".to_owned(),
        _ => format!("{amount:.6} + ?"),
    }
}

/// Makes a name safe to print, because callers choose it: replaces control characters, and cuts it to `most`
/// characters.
fn printable(name: &str, most: usize) -> String {
    let mut text: String =
        name.chars().take(most).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if name.chars().nth(most).is_some() {
        text.push('…');
    }
    text
}

fn notes(snapshot: &Snapshot, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let total = snapshot.total();
    match snapshot.prices_as_of() {
        "" => f.write_str("amounts of one month")?,
        day => write!(f, "prices of {day}")?,
    }
    list(f, "saved", total.saved.iter().map(|(cause, amount)| (cause.name(), amount)))?;
    list(f, "wasted", total.wasted.iter().map(|(cause, amount)| (cause.name(), amount)))?;
    let unconfirmed = total.unconfirmed;
    if unconfirmed.count > 0 {
        write!(f, "\nunconfirmed: attempts {}, at most {}", unconfirmed.count, unconfirmed.amount)?;
    }
    if unconfirmed.unpriced > 0 {
        write!(f, ", of unknown price {}", unconfirmed.unpriced)?;
    }
    if !total.unlisted.is_zero() {
        write!(f, "\nwithout list price: responses {}, useful and saved {}", total.unlisted_responses, total.unlisted)?;
    }
    let other = snapshot.unknown.other;
    for (cause, attempts, responses) in snapshot.unknown_costs() {
        write!(
            f,
            "\nunknown cost: attempts {attempts}, responses {responses}: {}",
            printable(&cause.to_string(), MAX_CAUSE)
        )?;
    }
    if other.attempts + other.responses > 0 {
        write!(f, "\nunknown cost: attempts {}, responses {}: further causes", other.attempts, other.responses)?;
    }
    if !total.open.is_zero() {
        write!(f, "\nopen: {} paid for responses that have not ended", total.open)?;
    }
    for fault in snapshot.stack_faults() {
        write!(f, "\nstack: {fault}")?;
    }
    let off = snapshot.balance();
    if !off.is_balanced() {
        write!(f, "\noff by: attempts {}, responses {}, between {}", off.attempts, off.responses, off.between)?;
    }
    f.write_char('\n')
}

fn list<'a>(f: &mut fmt::Formatter<'_>, what: &str, amounts: impl Iterator<Item = (&'a str, Usd)>) -> fmt::Result {
    for (at, (cause, amount)) in amounts.enumerate() {
        match at {
            0 => write!(f, "\n{what}: {cause} {amount}")?,
            _ => write!(f, ", {cause} {amount}")?,
        }
    }
    Ok(())
}
