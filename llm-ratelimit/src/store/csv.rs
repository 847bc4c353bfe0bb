//! Balances as comma-separated values.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use jiff::Timestamp;

use crate::Balance;

const NAMES: &str = "tenant,counted,group,values,window_end,limit,spent,reserved,debt,left";

impl Balance {
    /// Writes balances as comma-separated values (RFC 4180), one a line under a line of names. Amounts are whole numbers
    /// of what the column `counted` says: requests, tokens, units, nano-dollars where it is money. `window_end` is an
    /// instant in UTC; `left` is what the window has left under the limit that was last in force.
    ///
    /// Names are written as they are. A spreadsheet takes a name that begins with `=`, `+`, `-` or `@` for a formula:
    /// import such columns as text.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_csv<'a>(balances: impl IntoIterator<Item = &'a Self>, mut out: impl Write) -> io::Result<()> {
        write!(out, "{NAMES}\r\n")?;
        for balance in balances {
            balance.write_line(&mut out)?;
        }
        Ok(())
    }

    fn write_line(&self, out: &mut impl Write) -> io::Result<()> {
        let until = Timestamp::from_nanosecond(self.until().into()).map(|until| until.to_string());
        let values = match self.is_overflow() {
            true => "(all others)".to_owned(),
            false => self.values().collect::<Vec<_>>().join(" "),
        };
        let texts = [self.tenant().unwrap_or_default(), self.counter(), self.group(), &values];
        let texts = texts.map(quoted).join(",");
        let until = until.unwrap_or_default();
        let (limit, spent, reserved, debt) = (self.limit(), self.spent(), self.reserved(), self.debt());
        write!(out, "{texts},{until},{limit},{spent},{reserved},{debt},{}\r\n", self.left())
    }
}

/// A text as one field: in quotes where it has to be.
fn quoted(text: &str) -> Cow<'_, str> {
    match text.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")).into(),
        false => text.into(),
    }
}
