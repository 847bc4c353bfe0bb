//! Counts of a vendor's usage, which are read in the same way for all vendors and merged over all statements about one
//! response.

use std::sync::Arc;

use llm_core::{
    Charge, Error, Usage,
    layer::{Accounting, SideCall},
};
use serde_json::Value;

use super::fields::Fields;

/// Usage of one response, merged from the statements of its vendor.
///
/// A stream may state it several times, in parts, and with zeros for counts that it does not repeat. The largest value
/// of each count is therefore kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatedUsage {
    merged: Usage,
    /// Calls that the vendor made in addition to the response's own.
    side_calls: Vec<SideCall>,
    /// Tokens of the side calls that `merged` does not include.
    beside: Usage,
    unusable: Option<Arc<str>>,
}

/// Error of a count that is not a number of tokens. [`StatedUsage`] keeps its name and value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unusable;

impl StatedUsage {
    /// Reads the count at a path, which is a name, or a group and a name as in `prompt_tokens_details.cached_tokens`.
    /// Returns `None` if it is absent or null.
    ///
    /// # Errors
    ///
    /// [`Unusable`] if the value is negative, fractional, absurdly large or not a number.
    pub(crate) fn count(&mut self, fields: &Fields, path: &str) -> Result<Option<u64>, Unusable> {
        match at(fields, path) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => number(value).map(Some).ok_or_else(|| {
                self.unusable.get_or_insert_with(|| describe(path, value));
                Unusable
            }),
        }
    }

    /// Removes the count at a path from the fields. A value that cannot be a count stays.
    ///
    /// # Errors
    ///
    /// The errors of [`count`](Self::count).
    pub(crate) fn take(&mut self, fields: &mut Fields, path: &str) -> Result<Option<u64>, Unusable> {
        let count = self.count(fields, path)?;
        discard(fields, path);
        Ok(count)
    }

    /// Removes the counts at these paths, which are several names for one part of the count `whole`, and returns the
    /// largest value, or zero. A value above `whole` cannot be a part of it, and stays.
    pub(crate) fn take_part(&mut self, fields: &mut Fields, paths: &[&str], whole: u64) -> u64 {
        let mut part = 0;
        for path in paths {
            match self.count(fields, path) {
                Ok(count) if count.unwrap_or(0) <= whole => {
                    discard(fields, path);
                    part = part.max(count.unwrap_or(0));
                }
                Ok(_) | Err(Unusable) => {}
            }
        }
        part
    }

    /// Merges a further statement of the response's own usage, unless its sums are absurdly large.
    pub(crate) fn merge(&mut self, usage: Usage) {
        if usage.is_plausible() {
            self.merged = self.merged.max_each(usage);
        } else {
            self.unusable.get_or_insert_with(|| format!("input and output: {} tokens", usage.total()).into());
        }
    }

    /// Replaces the side calls, unless `beside` is smaller than before. `beside` is the usage of those side calls that
    /// the usage of the response does not include.
    pub(crate) fn set_side_calls(&mut self, side_calls: Vec<SideCall>, beside: Usage) {
        if beside.total() >= self.beside.total() {
            (self.side_calls, self.beside) = (side_calls, beside);
        }
    }

    /// Returns the usage, including that of the side calls; `None` until a prompt was stated. A prompt of zero tokens
    /// counts as not stated, because no prompt is empty.
    pub(crate) fn usage(&self) -> Option<Usage> {
        (self.merged.input > 0).then(|| self.merged + self.beside)
    }

    pub(crate) fn side_calls(&self) -> &[SideCall] {
        &self.side_calls
    }

    pub(crate) fn unusable(&self) -> Option<&Arc<str>> {
        self.unusable.as_ref()
    }

    /// Writes the side calls and the unusable count to the accounting data of an error.
    pub(crate) fn describe(&self, accounting: &mut Accounting) {
        accounting.side_calls.clone_from(&self.side_calls);
        accounting.unusable_usage.clone_from(&self.unusable);
    }
}

/// Returns the counts of output and reasoning for a response whose vendor states `completion`, `reasoning` and perhaps
/// `total`.
///
/// Reasoning counts as part of the completion, unless it is larger than the completion, or the total, which includes
/// the prompt, shows that the reasoning was counted in addition.
pub(crate) fn output(prompt: u64, completion: u64, reasoning: u64, total: Option<u64>) -> (u64, u64) {
    let beside = match total {
        Some(total) => reasoning <= total.saturating_sub(prompt.saturating_add(completion)),
        None => reasoning > completion,
    };
    if beside { (completion.saturating_add(reasoning), reasoning) } else { (completion, reasoning.min(completion)) }
}

/// Reads a count. Some servers write an integer as `19.0` or as text.
pub(crate) fn number(value: &Value) -> Option<u64> {
    let count = match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    count.filter(|count| *count <= Usage::MAX_PLAUSIBLE)
}

/// Removes the value at a path, and its group if the group is then empty.
pub(crate) fn discard(fields: &mut Fields, path: &str) {
    let Some((group, name)) = path.split_once('.') else {
        fields.remove(path);
        return;
    };
    let emptied = match fields.get_mut(group) {
        Some(Value::Object(within)) => {
            within.remove(name);
            within.is_empty()
        }
        Some(Value::Null) => true,
        _ => false,
    };
    if emptied {
        fields.remove(group);
    }
}

/// Removes the counts at these paths. A value that cannot be a count stays.
pub(crate) fn strip(fields: &mut Fields, paths: &[&str]) {
    for path in paths {
        if at(fields, path).is_none_or(|value| value.is_null() || number(value).is_some()) {
            discard(fields, path);
        }
    }
}

fn at<'f>(fields: &'f Fields, path: &str) -> Option<&'f Value> {
    match path.split_once('.') {
        Some((group, name)) => fields.get(group)?.get(name),
        None => fields.get(path),
    }
}

fn whole(number: f64) -> Option<u64> {
    // Within this bound, a float represents every integer exactly.
    ((0.0..=Usage::MAX_PLAUSIBLE as f64).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

fn describe(path: &str, value: &Value) -> Arc<str> {
    match value {
        Value::Number(number) => format!("{path}: {number}").into(),
        _ => format!("{path}: not a number").into(),
    }
}

/// Adds the values that decide the price of a response to the error that it caused.
pub(crate) fn charged(error: Error, stated: &StatedUsage, mut accounting: Accounting) -> Error {
    stated.describe(&mut accounting);
    let error = error.with_accounting(accounting);
    match stated.usage() {
        Some(usage) => error.with_charge(Charge::Known(usage)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> (Result<Option<u64>, ()>, Option<String>) {
        let (mut stated, mut fields) = (StatedUsage::default(), Fields::new());
        fields.insert("tokens".to_owned(), value);
        let count = stated.take(&mut fields, "tokens").map_err(|Unusable| ());
        assert_eq!(fields.is_empty(), count.is_ok(), "only an unusable count stays");
        (count, stated.unusable().map(|text| text.to_string()))
    }

    #[test]
    fn count_whole_in_any_spelling_reads() {
        for value in [json!(19), json!(19.0), json!("19"), json!(1.9e1)] {
            assert_eq!(read(value), (Ok(Some(19)), None));
        }
        assert_eq!(read(Value::Null), (Ok(None), None));
        assert_eq!(read(json!(Usage::MAX_PLAUSIBLE)), (Ok(Some(Usage::MAX_PLAUSIBLE)), None));
    }

    #[test]
    fn count_unusable_is_named() {
        let unusable = [
            (json!(-5), "tokens: -5"),
            (json!(19.5), "tokens: 19.5"),
            (json!(u64::MAX), "tokens: 18446744073709551615"),
            (json!(Usage::MAX_PLAUSIBLE + 1), "tokens: 1000000001"),
            (json!(1e300), "tokens: 1e+300"),
            (json!("many"), "tokens: not a number"),
            (json!([1]), "tokens: not a number"),
        ];
        for (value, name) in unusable {
            assert_eq!(read(value), (Err(()), Some(name.to_owned())));
        }
    }

    #[test]
    fn output_reasoning_placed_by_total() {
        for (stated, expected) in [
            ((12, 1, 386, Some(399)), (387, 386)),
            ((12, 387, 386, Some(399)), (387, 386)),
            ((43, 10, 11, Some(53)), (10, 10)),
            ((12, 1, 386, None), (387, 386)),
            ((12, 400, 386, None), (400, 386)),
            ((12, 400, 386, Some(430)), (400, 386)),
            ((12, 5, 0, Some(30)), (5, 0)),
        ] {
            let (prompt, completion, reasoning, total) = stated;
            assert_eq!(output(prompt, completion, reasoning, total), expected, "{stated:?}");
        }
    }
}
