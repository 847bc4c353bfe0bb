mod html;
mod table;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use llm_core::Usd;
use serde::Serialize;

/// Result of an analysis. [`Display`](std::fmt::Display) writes it as tables, serde as JSON, [`to_html`](Self::to_html)
/// as one page.
///
/// ```
/// use llm_savings::{Analysis, Finding, Options};
///
/// let mut analysis = Analysis::new(Options::default());
/// analysis.read(&br#"{"prompt": "hello"}"#[..])?;
/// let report = analysis.finish();
/// assert!(matches!(report.lever("coalescing").finding, Finding::NotProvable(_)));
/// std::fs::write(std::env::temp_dir().join("savings.html"), report.to_html())?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Totals of the log.
    pub log: Log,
    /// Levers, each with the amount of money that it would have saved alone.
    pub levers: Vec<Lever>,
}

/// Totals of a log.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Log {
    /// Number of calls.
    pub calls: u64,
    /// Number of calls that failed, to which no lever applies.
    pub failed: u64,
    /// Number of distinct requests, among the calls whose request is logged.
    pub distinct: u64,
    /// Sum of the input and output tokens of all calls.
    pub tokens: u64,
    /// Sum of the responses' prices, as far as they are known, each at the price of the response alone, in
    /// nano-dollars.
    pub spent: Usd,
    /// Amount that was saved already, according to the log, in nano-dollars.
    pub saved_already: Usd,
    /// Number of calls without a known price, by model. Either the price table lacks the model, or the log states no
    /// usage.
    pub unpriced: BTreeMap<Arc<str>, u64>,
    /// Number of calls whose usage is not logged. Their input is estimated from their texts.
    pub without_usage: u64,
    /// Number of calls that are logged after a call that began later, by up to ten minutes.
    pub out_of_order: u64,
    /// Number of calls that are logged after a call that began over ten minutes later. Their time counts as unknown.
    pub misplaced: u64,
    /// Number of calls that state no time.
    pub without_time: u64,
    /// Number of lines that are not calls, by reason.
    pub skipped: BTreeMap<Arc<str>, u64>,
    /// Time of the first call, in milliseconds since the Unix epoch.
    pub first: Option<u64>,
    /// Time of the last call, in milliseconds since the Unix epoch.
    pub last: Option<u64>,
    /// Day of the price table.
    pub prices_as_of: String,
    /// Source of the price table.
    pub prices_source: String,
}

/// Way to pay less for the logged calls, with the savings that the log proves.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Lever {
    /// Name of the lever in reports.
    pub name: &'static str,
    /// Effect of the lever on responses.
    pub effect: Effect,
    /// Savings by this lever alone.
    pub finding: Finding,
    /// Conditions under which the figures hold.
    pub notes: Vec<String>,
}

/// Effect of a lever on responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The responses stay the same, so the stated amount could certainly have been saved.
    SameResponses,
    /// The responses may differ, so the stated amount is only possible.
    OtherResponses,
}

/// Savings by a lever, or the reason why they cannot be proven.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Savings by each setting of the lever.
    Rows(Vec<Row>),
    /// The log lacks data that the lever needs. The text is the reason.
    NotProvable(Cow<'static, str>),
}

/// Savings by one setting of a lever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// Setting of the lever, in words.
    pub setting: String,
    /// Number of calls that would not have been made.
    pub calls: Option<u64>,
    /// Number of tokens that would not have been sent or generated.
    pub tokens: Option<u64>,
    /// Amount saved, in nano-dollars. It is negative if the setting costs money.
    pub money: Option<Usd>,
    /// Other figures, in words.
    pub detail: Option<String>,
}

impl Report {
    /// Returns a lever by its name: `exact cache`, `coalescing`, `packing`, `prompt caching`, `service tiers`,
    /// `cheaper model` or `quota and keys`.
    ///
    /// # Panics
    ///
    /// No lever has the name.
    pub fn lever(&self, name: &str) -> &Lever {
        self.levers.iter().find(|lever| lever.name == name).expect("a lever has this name")
    }
}

impl Lever {
    pub(crate) fn new(name: &'static str, effect: Effect) -> Self {
        Self { name, effect, finding: Finding::Rows(Vec::new()), notes: Vec::new() }
    }

    /// Returns the savings by each setting; none if the log cannot prove the lever.
    pub fn rows(&self) -> &[Row] {
        match &self.finding {
            Finding::Rows(rows) => rows,
            Finding::NotProvable(_) => &[],
        }
    }
}

impl Effect {
    /// Returns the words for the effect in reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::SameResponses => "avoidable: same responses",
            Self::OtherResponses => "possible: responses can differ",
        }
    }
}

impl Row {
    pub(crate) fn new(setting: impl Into<String>) -> Self {
        Self { setting: setting.into(), ..Self::default() }
    }
}

impl Log {
    /// Returns sentences about the data that the log lacks.
    pub(crate) fn caveats(&self) -> Vec<String> {
        let counted = |counts: &BTreeMap<Arc<str>, u64>| {
            counts.iter().map(|(name, count)| format!("{name}: {}", grouped(*count))).collect::<Vec<_>>().join(", ")
        };
        let mut caveats = Vec::new();
        if !self.unpriced.is_empty() {
            let models = counted(&self.unpriced);
            caveats.push(format!("Calls without a known price, of which money counts nothing, by model: {models}."));
        }
        if self.without_usage > 0 {
            let calls = grouped(self.without_usage);
            caveats.push(format!(
                "{calls} calls state no usage: their input is that of the texts at four bytes a token, their output unknown."
            ));
        }
        if self.out_of_order > 0 {
            caveats.push(format!(
                "{} calls are logged after later ones and count as simultaneous with those.",
                grouped(self.out_of_order)
            ));
        }
        if self.misplaced > 0 {
            caveats.push(format!(
                "{} calls are logged after ones that began over ten minutes later, so their times count as unknown: sort the \
                 log by time.",
                grouped(self.misplaced)
            ));
        }
        if self.without_time > 0 {
            let calls = grouped(self.without_time);
            caveats.push(format!("{calls} calls state no time, and levers that need one do not count them."));
        }
        if !self.skipped.is_empty() {
            caveats.push(format!("Lines that are no call, by reason: {}.", counted(&self.skipped)));
        }
        if !self.saved_already.is_zero() {
            caveats.push(format!("The log says that {:.2} of this was saved already.", self.saved_already));
        }
        caveats
    }
}

/// Returns a count as text, with commas between thousands.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Returns a share as text in percent, with one decimal and a non-breaking space.
fn percent(per_mille: i64) -> String {
    let sign = if per_mille < 0 { "-" } else { "" };
    format!("{sign}{}.{}\u{a0}%", per_mille.abs() / 10, per_mille.abs() % 10)
}

/// Returns a saved amount as text, or the cost of the setting if the amount is negative.
fn money(amount: Usd) -> String {
    if amount.nanos() < 0 { format!("costs {:.2} more", -amount) } else { format!("{amount:.2}") }
}
