//! Units that a quota counts, and the words for them.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Unit that a quota counts.
///
/// ```
/// use llm_ratelimit::{Unit, UnitName};
///
/// assert_eq!(Unit::units("tok"), Unit::Tokens);
/// assert_eq!(Unit::units("Proposals"), Unit::Units(UnitName::new("proposal")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unit {
    /// Calls.
    Requests,
    /// Input tokens, including cached ones.
    Input,
    /// Output tokens, including reasoning tokens.
    Output,
    /// Input and output tokens.
    Tokens,
    /// Money, in nano-dollars.
    Money,
    /// A unit that the application sells, such as proposals, photos or test cases.
    Units(UnitName),
}

/// Name of a unit that the application sells.
///
/// Names are equal if they differ only in upper and lower case, in spacing or in a plural `s`. A name is printed as it
/// was written.
///
/// ```
/// use llm_ratelimit::UnitName;
///
/// let name = UnitName::new("Test Cases");
/// assert_eq!(name, UnitName::new("test case"));
/// assert_eq!(name.to_string(), "Test Cases");
/// ```
#[derive(Clone)]
pub struct UnitName {
    key: Arc<str>,
    written: Arc<str>,
}

/// Word for a built-in unit.
struct Word {
    /// Form of the word for comparisons.
    key: &'static str,
    /// Form of the word for messages.
    written: &'static str,
    unit: Unit,
    /// Period that the word implies, if any.
    period: Option<&'static str>,
}

/// Words for built-in units. If two are equally similar to an unknown word, the first is suggested.
static WORDS: [Word; 15] = [
    Word::new("request", "requests", Unit::Requests),
    Word::new("call", "calls", Unit::Requests),
    Word::new("req", "req", Unit::Requests),
    Word::rate("rpm", Unit::Requests),
    Word::new("token", "tokens", Unit::Tokens),
    Word::new("tok", "tok", Unit::Tokens),
    Word::rate("tpm", Unit::Tokens),
    Word::new("input token", "input tokens", Unit::Input),
    Word::new("input tok", "input tok", Unit::Input),
    Word::rate("itpm", Unit::Input),
    Word::new("output token", "output tokens", Unit::Output),
    Word::new("output tok", "output tok", Unit::Output),
    Word::rate("otpm", Unit::Output),
    Word::new("usd", "USD", Unit::Money),
    Word::new("dollar", "dollars", Unit::Money),
];

/// Largest number of characters of a word that are compared or shown.
const SHOWN: usize = 64;

impl Unit {
    /// Returns the unit with this name: a built-in one (`tokens`, `Tok`, `req`, `usd`), or else the application's unit
    /// of this name.
    pub fn units(name: &str) -> Self {
        Self::read(name).0
    }

    /// Returns the unit in one word, for tables, metrics and headers.
    pub fn name(&self) -> &str {
        match self {
            Self::Requests => "requests",
            Self::Input => "input tokens",
            Self::Output => "output tokens",
            Self::Tokens => "tokens",
            Self::Money => "money",
            Self::Units(unit) => &unit.key,
        }
    }

    /// Returns the unit that a word names, and the period that the word implies, if any.
    pub(crate) fn read(word: &str) -> (Self, Option<&'static str>) {
        let unit = UnitName::new(word);
        let known = WORDS.iter().find(|known| *known.key == *unit.key);
        known.map_or((Self::Units(unit), None), |known| (known.unit.clone(), known.period))
    }
}

impl UnitName {
    /// Creates the name of a unit from its text.
    pub fn new(written: &str) -> Self {
        let written = written.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut key = written.to_lowercase();
        if key.len() > 1 && key.ends_with('s') && !key.ends_with("ss") {
            key.pop();
        }
        Self { key: key.into(), written: written.into() }
    }

    /// Returns the form in which names are compared: lower case, single spaces, no plural `s`.
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Returns the name as it was written, shortened for a message.
    pub(crate) fn shown(&self) -> String {
        self.written.chars().take(SHOWN).collect()
    }

    /// Returns the known word that is most similar to this one, among the built-in ones and `declared`.
    pub(crate) fn nearest(&self, declared: &[Self]) -> String {
        let built_in = WORDS.iter().map(|word| (word.key, word.written.to_owned()));
        let known = built_in.chain(declared.iter().map(|unit| (&*unit.key, unit.shown())));
        known.min_by_key(|(key, _)| distance(&self.key, key)).map(|(_, written)| written).unwrap_or_default()
    }
}

impl Word {
    const fn new(key: &'static str, written: &'static str, unit: Unit) -> Self {
        Self { key, written, unit, period: None }
    }

    const fn rate(word: &'static str, unit: Unit) -> Self {
        Self { key: word, written: word, unit, period: Some("minute") }
    }
}

/// Returns the edit distance of two words: the number of characters that must be inserted, removed, replaced, or
/// swapped with the next one.
fn distance(one: &str, other: &str) -> usize {
    let [one, other] = [one, other].map(|word| word.chars().take(SHOWN).collect::<Vec<_>>());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for (at, letter) in one.iter().enumerate() {
        let mut row = vec![at + 1];
        for (column, theirs) in other.iter().enumerate() {
            let replaced = rows[at][column] + usize::from(letter != theirs);
            let mut least = replaced.min(rows[at][column + 1] + 1).min(row[column] + 1);
            if at > 0 && column > 0 && *letter == other[column - 1] && one[at - 1] == *theirs {
                least = least.min(rows[at - 1][column - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Units(unit) => unit.fmt(f),
            other => f.pad(other.name()),
        }
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl PartialEq for UnitName {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for UnitName {}

impl Hash for UnitName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PartialOrd for UnitName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UnitName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}
