//! Counters of the cache, for [`Stats`] and, with feature `metrics`, for the recorder of the `metrics` facade.
//!
//! Each row of the table names a field of the statistics and a metric, with the text that describes both.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use llm_core::Usd;

use crate::{stats::Stats, store::StoreStats};

/// Number that only grows, and its metric.
pub(crate) struct Counter {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    meter: metrics::Counter,
}

impl Counter {
    /// Adds one.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Adds a number. Zero is skipped, because an atomic addition takes the cache line from other threads.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        if more == 0 {
            return;
        }
        self.value.fetch_add(more, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.meter.increment(more);
    }

    pub(crate) fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Creates the counter of a cache with this namespace, under the name of its metric.
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "only a metric has a name"))]
    fn new(name: &'static str, cache: &Arc<str>) -> Self {
        Self {
            value: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            meter: metrics::counter!(name, "cache" => metrics::SharedString::from(Arc::clone(cache))),
        }
    }
}

macro_rules! counts {
    ($(#[doc = $text:literal] $field:ident => $name:literal,)+) => {
        /// Counters of one cache.
        pub(crate) struct Counts {
            $(#[doc = $text] pub(crate) $field: Counter,)+
            /// List price of the responses that did not have to be paid again, in nano-dollars.
            pub(crate) saved: Counter,
            pub(crate) meters: Meters,
        }

        impl Counts {
            /// Creates the counters of a cache with this namespace.
            pub(crate) fn new(cache: &Arc<str>) -> Self {
                Self {
                    $($field: Counter::new($name, cache),)+
                    saved: Counter::new("llm_cache_saved_nano_usd_total", cache),
                    meters: Meters::new(cache),
                }
            }

            /// Returns the statistics that are counted here. The other fields are zero.
            pub(crate) fn stats(&self) -> Stats {
                let saved = Usd::from_nanos(i64::try_from(self.saved.get()).unwrap_or(i64::MAX));
                Stats { $($field: self.$field.get(),)+ saved, ..Stats::default() }
            }

            /// Describes each counter of the table to the recorder.
            #[cfg(feature = "metrics")]
            pub(crate) fn describe() {
                $(metrics::describe_counter!($name, metrics::Unit::Count, $text.trim().trim_end_matches('.'));)+
            }
        }
    };
}

counts! {
    /// Entries that were served, including stale ones.
    hits => "llm_cache_hits_total",
    /// Hits of a file or Redis.
    remote_hits => "llm_cache_remote_hits_total",
    /// Hits that were stale.
    stale => "llm_cache_stale_total",
    /// Calls sent because no entry could be served, including failed ones.
    misses => "llm_cache_misses_total",
    /// Calls sent because of `no_store` or `no_cache`.
    bypassed => "llm_cache_bypassed_total",
    /// Calls that failed.
    failed_calls => "llm_cache_failed_calls_total",
    /// Responses of calls that were already running for an equal request.
    coalesced => "llm_cache_coalesced_total",
    /// Errors served from the negative cache.
    negative_hits => "llm_cache_negative_hits_total",
    /// Responses stored.
    stored => "llm_cache_stored_total",
    /// Responses that were too large to store.
    too_large => "llm_cache_too_large_total",
    /// Failures of a store.
    store_errors => "llm_cache_store_errors_total",
    /// Calls sent to replace stale entries.
    revalidated => "llm_cache_revalidated_total",
    /// Background calls that were not sent because too many were running.
    skipped => "llm_cache_skipped_total",
    /// Calls completed after all callers had left.
    detached => "llm_cache_detached_total",
    /// Hits whose request was sent again.
    verified => "llm_cache_verified_total",
    /// Verified hits whose new response differed.
    mismatched => "llm_cache_mismatched_total",
}

/// Metrics without a counter in the table. Empty without the feature.
pub(crate) struct Meters(#[cfg(feature = "metrics")] Recorded);

#[cfg(feature = "metrics")]
struct Recorded {
    /// Failures of the store.
    failed: metrics::Counter,
    /// Entries that could not be read.
    corrupt: metrics::Counter,
    /// Entries that were not written.
    dropped_writes: metrics::Counter,
    /// Times of lookups in the local tier.
    local: metrics::Histogram,
    /// Times of lookups in the remote tier.
    remote: metrics::Histogram,
    /// Number of entries.
    entries: metrics::Gauge,
    /// Bytes of the entries.
    bytes: metrics::Gauge,
    /// Entries evicted from any tier.
    evictions: metrics::Counter,
}

/// Start time of a lookup. Empty without the feature.
#[derive(Clone, Copy)]
pub(crate) struct LookupTimer(#[cfg(feature = "metrics")] tokio::time::Instant);

impl LookupTimer {
    pub(crate) fn now() -> Self {
        Self(
            #[cfg(feature = "metrics")]
            tokio::time::Instant::now(),
        )
    }
}

impl Meters {
    /// Records a lookup in the local tier.
    pub(crate) fn record_local_lookup(&self, timer: LookupTimer) {
        #[cfg(feature = "metrics")]
        self.0.local.record(timer.0.elapsed());
        let _ = timer;
    }

    /// Records a lookup in the remote tier.
    pub(crate) fn record_remote_lookup(&self, timer: LookupTimer) {
        #[cfg(feature = "metrics")]
        self.0.remote.record(timer.0.elapsed());
        let _ = timer;
    }

    /// Records the statistics of a store. `read_stats` returns them, the number of the store's evictions, and the
    /// number of failures that the cache counted.
    pub(crate) fn stats(&self, read_stats: impl FnOnce() -> (StoreStats, u64, u64)) {
        #[cfg(feature = "metrics")]
        {
            let (stats, evictions, failures) = read_stats();
            #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
            {
                self.0.entries.set(stats.entries as f64);
                self.0.bytes.set(stats.bytes as f64);
            }
            self.0.evictions.absolute(evictions);
            self.0.failed.absolute(failures + stats.failed);
            self.0.corrupt.absolute(stats.corrupt);
            self.0.dropped_writes.absolute(stats.dropped_writes);
        }
        #[cfg(not(feature = "metrics"))]
        drop(read_stats);
    }

    #[cfg(not(feature = "metrics"))]
    fn new(_: &Arc<str>) -> Self {
        Self()
    }

    #[cfg(feature = "metrics")]
    fn new(cache: &Arc<str>) -> Self {
        let cache = || metrics::SharedString::from(Arc::clone(cache));
        let counter = |name: &'static str| metrics::counter!(name, "cache" => cache());
        let lookups = |tier| metrics::histogram!("llm_cache_lookup_seconds", "cache" => cache(), "tier" => tier);
        Self(Recorded {
            local: lookups("memory"),
            remote: lookups("remote"),
            entries: metrics::gauge!("llm_cache_entries", "cache" => cache()),
            bytes: metrics::gauge!("llm_cache_bytes", "cache" => cache()),
            evictions: counter("llm_cache_evictions_total"),
            failed: counter("llm_cache_store_errors_total"),
            corrupt: counter("llm_cache_corrupt_total"),
            dropped_writes: counter("llm_cache_dropped_writes_total"),
        })
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use std::collections::HashMap;

    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    #[test]
    fn metrics_record_failures_of_a_store() {
        let recorder = DebuggingRecorder::new();
        let counts = metrics::with_local_recorder(&recorder, || Counts::new(&"ns".into()));
        let stats = StoreStats { corrupt: 3, dropped_writes: 4, failed: 2, ..StoreStats::default() };
        counts.store_errors.one();
        for _ in 0..2 {
            counts.meters.stats(|| (stats, 5, counts.store_errors.get()));
        }
        counts.store_errors.one();
        let recorded = recorder.snapshotter().snapshot().into_vec().into_iter();
        let recorded: HashMap<_, _> = recorded
            .map(|(key, _, _, value)| (key.key().name().trim_start_matches("llm_cache_").to_owned(), value))
            .collect();
        let names = ["store_errors_total", "corrupt_total", "dropped_writes_total", "evictions_total"];
        assert_eq!(names.map(|name| &recorded[name]), [4, 3, 4, 5].map(DebugValue::Counter).each_ref());
    }
}
