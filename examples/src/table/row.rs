//! Figures of one row.

use crate::percentile::Latency;

/// Figures of one organisation's calls. Amounts are in nano-dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Name of the organisation.
    pub organisation: String,
    /// Number of calls.
    pub calls: u64,
    /// Number of calls that got a stored response.
    pub hits: u64,
    /// Number of calls that joined a running call.
    pub coalesced: u64,
    /// Number of tokens that were sent to the vendor.
    pub tokens_in: u64,
    /// Tokens of the vendor's responses.
    pub tokens_out: u64,
    /// Amount paid for attempts with a known usage.
    pub paid: i64,
    /// Largest possible cost of attempts whose usage is unknown.
    pub unconfirmed: i64,
    /// Amounts saved, by cause.
    pub saved: Vec<(String, i64)>,
    /// Latency of the calls; `None` if it is unknown.
    pub latency: Option<Latency>,
}

impl Row {
    /// Creates a row without calls.
    #[must_use]
    pub fn new(organisation: impl Into<String>) -> Self {
        Self { organisation: organisation.into(), ..Self::default() }
    }

    /// Returns the amount that `cause` saved, in nano-dollars.
    #[must_use]
    pub fn saved_by(&self, cause: &str) -> i64 {
        self.saved.iter().filter(|(name, _)| name == cause).map(|(_, amount)| amount).sum()
    }

    /// Returns the sum of `rows`, without a latency, because percentiles do not add up.
    #[must_use]
    pub fn sum<'a>(organisation: String, rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut sum = Self::new(organisation);
        for row in rows {
            sum.calls += row.calls;
            sum.hits += row.hits;
            sum.coalesced += row.coalesced;
            sum.tokens_in += row.tokens_in;
            sum.tokens_out += row.tokens_out;
            sum.paid += row.paid;
            sum.unconfirmed += row.unconfirmed;
            for (cause, amount) in &row.saved {
                match sum.saved.iter_mut().find(|(name, _)| name == cause) {
                    Some((_, total)) => *total += amount,
                    None => sum.saved.push((cause.clone(), *amount)),
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::Row;

    #[test]
    fn sums_add_each_cause_on_its_own() {
        let a = Row { calls: 1, paid: 5, saved: vec![("x".to_owned(), 1), ("y".to_owned(), 2)], ..Row::new("a") };
        let b = Row { calls: 2, paid: -1, saved: vec![("y".to_owned(), 40)], ..Row::new("b") };
        let sum = Row::sum("both".to_owned(), [&a, &b]);
        assert_eq!((sum.calls, sum.paid, sum.saved_by("x"), sum.saved_by("y"), sum.saved_by("z")), (3, 4, 1, 42, 0));
    }
}
