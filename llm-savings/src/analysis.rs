use std::{collections::BTreeMap, io, sync::Arc};

use llm_core::{Usage, Usd};

use crate::{
    digest,
    lever::{Call, ExactCache, Levers},
    options::Options,
    read,
    record::Record,
    report::{Log, Report},
};

/// Assumed number of bytes of a token, for logs that state no usage.
const BYTES_PER_TOKEN: u64 = 4;
/// Largest time in milliseconds by which a call may have begun before the latest call logged ahead of it. Such disorder
/// is usual, because logs are written when calls end.
const MAX_DISORDER: u64 = 600_000;
/// Largest number of characters of a model's name. Longer names are cut off.
const MAX_MODEL: usize = 100;
/// Largest number of distinct reasons or models that are counted by name. Further names are counted together.
const MAX_NAMES: usize = 100;

/// Reads logs, and computes for each lever the amount that it could have saved.
///
/// It keeps no text. Of each distinct request it keeps digests, and at most 100 bytes for each window of time of a
/// lever. Add records in the order of their times. A record that is up to ten minutes earlier than one before it counts
/// as simultaneous with that record. If it is earlier by more, its time counts as unknown. The report states the
/// numbers of both kinds of records.
///
/// ```
/// use llm_savings::{Analysis, Options};
///
/// let log = r#"{"prompt": "Write test cases for a login form.", "ts": "2026-03-01T09:30:00Z", "input_tokens": 900, "output_tokens": 500}
/// {"prompt": "Write test cases for a login form.", "ts": "2026-03-01T10:00:00Z", "input_tokens": 900, "output_tokens": 500}
/// {"prompt": "Write test cases for a login form.", "ts": "2026-03-09T10:00:00Z", "input_tokens": 900, "output_tokens": 500}
/// cut"#;
/// let mut analysis = Analysis::new(Options::default());
/// analysis.read(log.as_bytes())?;
/// let report = analysis.finish();
/// let rows = report.lever("exact cache").rows();
/// assert_eq!((rows[0].setting.as_str(), rows[0].calls), ("ttl 1h", Some(1)));
/// assert_eq!(report.log.skipped["the line is not JSON"], 1);
/// println!("{report}");
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Analysis {
    options: Options,
    log: Log,
    last: u64,
    cache: ExactCache,
    levers: Levers,
}

impl Analysis {
    /// Creates an analysis without calls.
    pub fn new(options: Options) -> Self {
        let log = Log {
            prices_as_of: options.prices.as_of().to_owned(),
            prices_source: options.prices.source().to_owned(),
            ..Log::default()
        };
        Self { log, last: 0, cache: ExactCache::new(&options), levers: Levers::new(&options), options }
    }

    /// Reads a log to its end: JSON lines in one of the forms that the crate's documentation lists, or a CSV trace. A
    /// line that is not a call is counted in [`Log::skipped`] with the reason, and reading continues.
    ///
    /// # Errors
    ///
    /// Returns the error of the reader. Calls that were read before the error stay counted.
    pub fn read(&mut self, reader: impl io::BufRead) -> io::Result<()> {
        let options = self.options.clone();
        read::read(reader, &options, |line| match line {
            Ok(record) => self.push(record),
            Err(read::Skipped(reason)) => name(&mut self.log.skipped, &reason),
        })
    }

    /// Adds a call to the totals of the log and to every lever. A failed call counts only in the totals.
    pub fn push(&mut self, mut record: Record) {
        self.log.calls += 1;
        if record.is_failed {
            self.log.failed += 1;
            return;
        }
        record.usage = record.usage.filter(Usage::is_plausible);
        if record.model.len() > MAX_MODEL || record.model.contains(char::is_control) {
            record.model = record.model.chars().filter(|c| !c.is_control()).take(MAX_MODEL).collect();
        }
        let time = self.in_order(record.time);
        let prices = self.options.prices.clone();
        let usage = record.usage.unwrap_or_else(|| self.estimate(&record));
        let cost = match record.list {
            Some(list) => Some(list),
            None if record.usage.is_none() => None,
            None => prices.cost(&record.model, &usage).ok(),
        };
        match cost {
            Some(cost) => self.log.spent += cost,
            None => name(&mut self.log.unpriced, &record.model),
        }
        self.log.saved_already += record.saved.unwrap_or_default();
        self.log.tokens = self.log.tokens.saturating_add(usage.total());
        let key = record.prompt.as_ref().map(|prompt| digest::request(&record.tenant, &record.model, prompt));
        let mut call = Call { record: &record, time, key, usage, cost, is_miss: true };
        call.is_miss = self.cache.observe(&call);
        self.levers.observe(&call, &prices);
    }

    /// Ends the analysis and returns its report.
    pub fn finish(self) -> Report {
        let Self { mut log, cache, levers, .. } = self;
        log.distinct = cache.distinct();
        let mut all = vec![cache.finish()];
        all.extend(levers.finish());
        Report { log, levers: all }
    }

    /// Returns the time of a call. If the call is earlier than the latest call before it, returns the time of that
    /// call, or `None` if the difference exceeds [`MAX_DISORDER`]. Returns `None` if the call states no time.
    fn in_order(&mut self, time: Option<u64>) -> Option<u64> {
        let Some(time) = time else {
            self.log.without_time += 1;
            return None;
        };
        if time.saturating_add(MAX_DISORDER) < self.last {
            self.log.misplaced += 1;
            return None;
        }
        if time < self.last {
            self.log.out_of_order += 1;
        }
        self.last = self.last.max(time);
        self.log.first = Some(self.log.first.map_or(time, |first| first.min(time)));
        self.log.last = Some(self.last);
        Some(self.last)
    }

    /// Returns a usage whose input is estimated from the texts. The output is unknown and counts as 0, so the call has
    /// no cost.
    fn estimate(&mut self, record: &Record) -> Usage {
        self.log.without_usage += 1;
        let prompt = record.prompt.as_ref().filter(|prompt| prompt.is_whole);
        Usage::new(prompt.map_or(0, |prompt| prompt.bytes() / BYTES_PER_TOKEN), 0)
    }
}

/// Counts a name. If [`MAX_NAMES`] names are counted already, counts a new name as `others`.
fn name(counts: &mut BTreeMap<Arc<str>, u64>, name: &str) {
    let name = if name.is_empty() { "none" } else { name };
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
        return;
    }
    let name = if counts.len() < MAX_NAMES { name } else { "others" };
    *counts.entry(name.into()).or_default() += 1;
}

impl Extend<Record> for Analysis {
    fn extend<I: IntoIterator<Item = Record>>(&mut self, records: I) {
        records.into_iter().for_each(|record| self.push(record));
    }
}

impl Log {
    /// Returns the share of `calls` among all calls that did not fail, in per mille, rounded.
    pub(crate) fn per_mille(&self, calls: u64) -> u64 {
        per_mille(calls, self.calls - self.failed)
    }

    /// Returns the share of `money` in the amount spent, in per mille, rounded. It is negative if `money` is a cost.
    pub(crate) fn money_per_mille(&self, money: Usd) -> i64 {
        let spent = i128::from(self.spent.nanos());
        if spent <= 0 {
            return 0;
        }
        let scaled = i128::from(money.nanos()) * 1_000;
        i64::try_from((scaled + scaled.signum() * spent / 2) / spent).unwrap_or(0)
    }
}

fn per_mille(part: u64, whole: u64) -> u64 {
    let whole = u128::from(whole.max(1));
    u64::try_from((u128::from(part) * 1_000 + whole / 2) / whole).unwrap_or(0)
}
