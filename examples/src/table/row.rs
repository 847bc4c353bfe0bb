//! One line's figures.

use crate::percentile::Latency;

/// What one organisation's calls came to. Amounts are in nano-dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Who asked.
    pub organisation: String,
    /// How many calls there were.
    pub calls: u64,
    /// How many of them were answered from the cache.
    pub hits: u64,
    /// How many joined a call that was already under way.
    pub coalesced: u64,
    /// Tokens sent to the vendor.
    pub tokens_in: u64,
    /// Tokens that the vendor answered.
    pub tokens_out: u64,
    /// What was paid, as far as usage arrived.
    pub paid: i64,
    /// What attempts cost at most whose usage never arrived.
    pub unconfirmed: i64,
    /// What was saved, by cause.
    pub saved: Vec<(String, i64)>,
    /// How long the calls took; `None` when that is not known.
    pub latency: Option<Latency>,
}

impl Row {
    /// A row without calls.
    #[must_use]
    pub fn new(organisation: impl Into<String>) -> Self {
        Self { organisation: organisation.into(), ..Self::default() }
    }

    /// What was saved by `cause`, in nano-dollars.
    #[must_use]
    pub fn saved_by(&self, cause: &str) -> i64 {
        self.saved.iter().filter(|(name, _)| name == cause).map(|(_, amount)| amount).sum()
    }

    /// The sum of `rows`, without a latency, as percentiles do not add up.
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
