//! Rules that select calls for faults.

use crate::fault::Fault;

/// Fault, and the calls that it applies to: all calls, unless the rule is restricted.
///
/// ```
/// use llm_testkit::{Fault, RetryForm, Rule};
/// use std::time::Duration;
///
/// let wait = Fault::rate_limited(Duration::from_secs(2), RetryForm::Seconds);
/// let rule = Rule::new(wait).key("sk-a").prompt_contains("invoice").skip(1).times(2);
/// ```
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    prompt: Option<String>,
    key: Option<String>,
    model: Option<String>,
    skip: u64,
    times: Option<u64>,
}

impl Rule {
    /// Creates a rule that applies to every call.
    pub fn new(fault: Fault) -> Self {
        Self { fault, prompt: None, key: None, model: None, skip: 0, times: None }
    }

    /// Restricts the rule to calls whose prompt contains `part`.
    ///
    /// The prompt is the text of a chat's messages or of an embedding's inputs, in any format. If the body of a request
    /// cannot be parsed, the raw body counts as the prompt.
    #[must_use]
    pub fn prompt_contains(mut self, part: impl Into<String>) -> Self {
        self.prompt = Some(part.into());
        self
    }

    /// Restricts the rule to calls with `key`.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Restricts the rule to calls for `model`.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Skips the first `calls` matching calls.
    #[must_use]
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Applies the rule to `calls` matching calls, and then removes the rule.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.times = Some(calls);
        self
    }

    /// Applies the rule to the next matching call only.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }
}

/// Properties of a call that rules select by.
pub(crate) struct CallTraits<'a> {
    pub(crate) prompt: &'a str,
    pub(crate) key: &'a str,
    pub(crate) model: &'a str,
}

/// Rules in force, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    pub(crate) fn push(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the fault of the first rule that applies to this call. Matching rules before it count the call as skipped.
    pub(crate) fn next(&mut self, call: &CallTraits<'_>) -> Option<Fault> {
        let fault = self.0.iter_mut().find_map(|rule| rule.apply(call));
        self.0.retain(|rule| rule.times != Some(0));
        fault
    }
}

impl Rule {
    fn apply(&mut self, call: &CallTraits<'_>) -> Option<Fault> {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let part = self.prompt.as_deref().is_none_or(|part| call.prompt.contains(part));
        if !(part && is(&self.key, call.key) && is(&self.model, call.model)) || self.times == Some(0) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times = self.times.map(|left| left - 1);
        Some(self.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallTraits<'_> = CallTraits { prompt: "a story about invoices", key: "sk-a", model: "m" };

    fn rules(rule: Rule) -> Rules {
        Rules(vec![rule])
    }

    #[test]
    fn rule_without_bounds_applies_always() {
        let mut rules = rules(Rule::new(Fault::Html));
        assert!((0..10).all(|_| rules.next(&CALL).is_some()));
    }

    #[test]
    fn rule_skip_and_times_select_calls() {
        let mut rules = rules(Rule::new(Fault::Html).skip(2).times(2));
        let applied: Vec<_> = (0..6).map(|_| rules.next(&CALL).is_some()).collect();
        assert_eq!(applied, [false, false, true, true, false, false]);
    }

    #[test]
    fn rule_for_other_calls_is_inert() {
        for rule in [
            Rule::new(Fault::Html).key("sk-b"),
            Rule::new(Fault::Html).model("n"),
            Rule::new(Fault::Html).prompt_contains("tender"),
        ] {
            assert!(rules(rule.once()).next(&CALL).is_none());
        }
        let rule = Rule::new(Fault::Html).key("sk-a").model("m").prompt_contains("invoice");
        assert!(rules(rule).next(&CALL).is_some());
    }

    #[test]
    fn rules_apply_first_until_spent() {
        let mut rules = Rules::default();
        rules.push(Rule::new(Fault::Html).once());
        rules.push(Rule::new(Fault::NoResponse));
        assert!(matches!(rules.next(&CALL), Some(Fault::Html)));
        assert!(matches!(rules.next(&CALL), Some(Fault::NoResponse)));
        rules.clear();
        assert!(rules.next(&CALL).is_none());
    }
}
