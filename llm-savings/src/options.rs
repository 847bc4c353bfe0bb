use std::time::Duration;

use llm_core::price::PriceTable;
use llm_providers::prices;

/// Settings of an analysis.
///
/// ```
/// use std::time::Duration;
/// use llm_savings::Options;
///
/// let options = Options { ttls: vec![Duration::from_secs(3_600)], requests_per_minute: Some(2_000), ..Options::default() };
/// assert_eq!(options.pack, 10);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Prices of models; [`prices::all`] by default.
    pub prices: PriceTable,
    /// Times to live for which the savings by an exact cache are computed, in addition to a cache without expiry.
    pub ttls: Vec<Duration>,
    /// Time to live of the cache above the levers, for the rows "after the cache"; `None` if its entries do not expire.
    pub cache_ttl: Option<Duration>,
    /// Capacities in entries for which the savings by an exact cache are computed. A full cache evicts the least
    /// recently used entry.
    pub capacities: Vec<usize>,
    /// Largest number of prompts in a packed request.
    pub pack: u32,
    /// Longest time that the first prompt of a pack waits for further prompts.
    pub pack_window: Duration,
    /// Models whose prices are compared with those of the logged models.
    pub cheaper_models: Vec<String>,
    /// Number of requests a minute that a key allows; `None` if it is not known.
    pub requests_per_minute: Option<u64>,
    /// Number of tokens a minute that a key allows; `None` if it is not known.
    pub tokens_per_minute: Option<u64>,
    /// Name of the column that identifies the request in a CSV trace.
    pub key_column: String,
    /// Name of the column that identifies everything before the request's own text in a CSV trace; `None` if there is
    /// no such column.
    pub frame_column: Option<String>,
}

const HOUR: u64 = 3_600;

impl Default for Options {
    /// Creates the default settings: times to live of 1 hour, 24 hours, 7 and 30 days, a cache with 7 days above the
    /// levers, capacities of 1,000, 10,000 and 100,000 entries, packs of up to ten prompts that wait for a second, no
    /// models to compare with, and the column `key`.
    fn default() -> Self {
        Self {
            prices: prices::all(),
            ttls: [1, 24, 7 * 24, 30 * 24].map(|hours| Duration::from_secs(hours * HOUR)).into(),
            cache_ttl: Some(Duration::from_secs(7 * 24 * HOUR)),
            capacities: vec![1_000, 10_000, 100_000],
            pack: 10,
            pack_window: Duration::from_secs(1),
            cheaper_models: Vec::new(),
            requests_per_minute: None,
            tokens_per_minute: None,
            key_column: "key".to_owned(),
            frame_column: None,
        }
    }
}

/// Returns a duration as text in its largest whole unit, such as `7d`, `90s` or `0s`. A day is `24h`, and milliseconds
/// are shown only below a second.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds, duration.subsec_millis()) {
        (0, millis @ 1..) => format!("{millis}ms"),
        (172_800.., _) if seconds.is_multiple_of(24 * HOUR) => format!("{}d", seconds / (24 * HOUR)),
        (1.., _) if seconds.is_multiple_of(HOUR) => format!("{}h", seconds / HOUR),
        (1.., _) if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
