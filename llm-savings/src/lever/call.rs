//! Calls in the form that levers analyse, and sums over them.

use std::{collections::BTreeMap, sync::Arc};

use llm_core::{Usage, Usd};

use crate::{record::Record, report::Row};

/// Reason why a lever cannot be proven by a log without requests.
pub(super) const NO_REQUESTS: &str = "the log holds no requests";
/// Reason why a lever cannot be proven by a log without times.
pub(super) const NO_TIMES: &str = "the log holds no times";

/// Completed call in the form that levers analyse.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) record: &'a Record,
    /// Time of the request in milliseconds, never before that of the previous call; `None` if it is unknown.
    pub(crate) time: Option<u64>,
    /// Digest of the whole request; `None` if the log does not contain the request.
    pub(crate) key: Option<u64>,
    /// Tokens as logged; otherwise estimated from the texts, with an output of zero.
    pub(crate) usage: Usage,
    /// Price of the response if requested alone; `None` if it is unknown.
    pub(crate) cost: Option<Usd>,
    /// True if the exact cache with [`Options::cache_ttl`] does not have the response.
    pub(crate) is_miss: bool,
}

/// Savings by one setting of a lever.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Saved {
    calls: u64,
    tokens: u64,
    money: Usd,
}

impl Saved {
    /// Adds a call that would not have been made.
    pub(super) fn call(&mut self, call: &Call<'_>) {
        self.calls += 1;
        self.tokens = self.tokens.saturating_add(call.usage.total());
        self.money += call.cost.unwrap_or_default();
    }

    pub(super) fn row(self, setting: impl Into<String>) -> Row {
        Row { calls: Some(self.calls), tokens: Some(self.tokens), money: Some(self.money), ..Row::new(setting) }
    }
}

/// Returns the value of a model, created at its first call.
pub(super) fn of_model<'a, V: Default>(models: &'a mut BTreeMap<Arc<str>, V>, model: &str) -> &'a mut V {
    if !models.contains_key(model) {
        models.insert(model.into(), V::default());
    }
    models.get_mut(model).expect("it was inserted")
}

/// Returns `part / whole` of `tokens`, rounded down.
pub(super) fn share(tokens: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(tokens) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(tokens)
}
