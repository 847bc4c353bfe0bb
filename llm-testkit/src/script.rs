//! When something goes wrong on purpose.

use crate::fault::Fault;

/// A fault, and the calls that it befalls: all of them unless narrowed.
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
    /// The fault befalls every call.
    pub fn new(fault: Fault) -> Self {
        Self { fault, prompt: None, key: None, model: None, skip: 0, times: None }
    }

    /// Only calls whose prompt contains `part`: the text of a chat's messages or of an embedding's inputs, in
    /// whichever format; a body that cannot be read counts as prompt.
    #[must_use]
    pub fn prompt_contains(mut self, part: impl Into<String>) -> Self {
        self.prompt = Some(part.into());
        self
    }

    /// Only calls made with `key`.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Only calls for `model`.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Spares the first `calls` of those that match.
    #[must_use]
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Only `calls` of those that match; after them, the rule is spent.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.times = Some(calls);
        self
    }

    /// Only the next call that matches.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }
}

/// What rules can tell calls apart by.
pub(crate) struct Traits<'a> {
    pub(crate) prompt: &'a str,
    pub(crate) key: &'a str,
    pub(crate) model: &'a str,
}

/// The rules in force, in the order they were given.
#[derive(Debug, Default)]
pub(crate) struct Script(Vec<Rule>);

impl Script {
    pub(crate) fn push(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fault of the first rule that has one for this call. Rules before it that match count the call as spared.
    pub(crate) fn next(&mut self, call: &Traits<'_>) -> Option<Fault> {
        let fault = self.0.iter_mut().find_map(|rule| rule.strike(call));
        self.0.retain(|rule| rule.times != Some(0));
        fault
    }
}

impl Rule {
    fn strike(&mut self, call: &Traits<'_>) -> Option<Fault> {
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

    const CALL: Traits<'_> = Traits { prompt: "a story about invoices", key: "sk-a", model: "m" };

    fn script(rule: Rule) -> Script {
        Script(vec![rule])
    }

    #[test]
    fn a_rule_without_bounds_befalls_every_call() {
        let mut script = script(Rule::new(Fault::Html));
        assert!((0..10).all(|_| script.next(&CALL).is_some()));
    }

    #[test]
    fn skip_and_times_choose_calls_by_number() {
        let mut script = script(Rule::new(Fault::Html).skip(2).times(2));
        let struck: Vec<_> = (0..6).map(|_| script.next(&CALL).is_some()).collect();
        assert_eq!(struck, [false, false, true, true, false, false]);
    }

    #[test]
    fn a_rule_for_other_calls_neither_strikes_nor_counts() {
        for rule in [
            Rule::new(Fault::Html).key("sk-b"),
            Rule::new(Fault::Html).model("n"),
            Rule::new(Fault::Html).prompt_contains("tender"),
        ] {
            assert!(script(rule.once()).next(&CALL).is_none());
        }
        let rule = Rule::new(Fault::Html).key("sk-a").model("m").prompt_contains("invoice");
        assert!(script(rule).next(&CALL).is_some());
    }

    #[test]
    fn the_first_rule_wins_until_it_is_spent() {
        let mut script = Script::default();
        script.push(Rule::new(Fault::Html).once());
        script.push(Rule::new(Fault::NoResponse));
        assert!(matches!(script.next(&CALL), Some(Fault::Html)));
        assert!(matches!(script.next(&CALL), Some(Fault::NoResponse)));
        script.clear();
        assert!(script.next(&CALL).is_none());
    }
}
