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
    /// Prices of models. [`prices::all`] by default.
    pub prices: PriceTable,
    /// Times to live of the exact cache to try, besides none.
    pub ttls: Vec<Duration>,
    /// Time to live of the cache above the levers that are also stated "after the cache"; `None` is no expiry.
    pub cache_ttl: Option<Duration>,
    /// Capacities of the exact cache to try, in entries, evicted by least recent use.
    pub capacities: Vec<usize>,
    /// Most prompts in one packed request.
    pub pack: u32,
    /// Longest wait of a prompt for others to be packed with.
    pub pack_window: Duration,
    /// Models whose prices are compared with those of the logged ones.
    pub cheaper_models: Vec<String>,
    /// Requests a minute that one key may make.
    pub requests_per_minute: Option<u64>,
    /// Tokens a minute that one key may use.
    pub tokens_per_minute: Option<u64>,
    /// Column of a CSV trace that identifies the request.
    pub key_column: String,
    /// Column of a CSV trace that identifies what stands before the request's own text.
    pub frame_column: Option<String>,
}

const HOUR: u64 = 3_600;

impl Default for Options {
    /// Times to live of 1 hour, 24 hours, 7 and 30 days, a cache of 7 days, capacities of 1,000, 10,000 and 100,000
    /// entries, packs of ten gathered for a second, no model to compare with, the column `key`.
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

/// Returns a time in its largest whole unit: `7d`, `90s`, `0s`.
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
