//! Counters of the cache, for [`Stats`] and, with feature `metrics`, for the recorder of the `metrics` facade.
//!
//! Each row of the table names a field of the statistics and a metric, with the text that describes both.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use llm_core::Usd;

use super::Stats;
use crate::store::StoreStats;

/// Number that only grows, and the metric that reports it.
pub(crate) struct Counter {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    meter: metrics::Counter,
}

impl Counter {
    /// Adds 1 to the counter.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Adds a number to the counter. Does nothing for zero, because an atomic addition invalidates the cache line of
    /// other threads.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        if more == 0 {
            return;
        }
        self.value.fetch_add(more, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.meter.increment(more);
    }

    /// Raises the counter to a total that is counted elsewhere, if the total is larger.
    fn raise_to(&self, total: u64) {
        let before = self.value.fetch_max(total, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.meter.increment(total.saturating_sub(before));
        let _ = before;
    }

    fn get(&self) -> u64 {
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
            /// Number of failures that the store counted itself and that `store_errors` already includes.
            store_failures: AtomicU64,
            pub(crate) meters: Meters,
        }

        impl Counts {
            /// Creates the counters of a cache with this namespace.
            pub(crate) fn new(cache: &Arc<str>) -> Self {
                Self {
                    $($field: Counter::new($name, cache),)+
                    saved: Counter::new("llm_cache_saved_nano_usd_total", cache),
                    store_failures: AtomicU64::new(0),
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
    /// Entries at rest that could not be read.
    corrupt => "llm_cache_corrupt_total",
    /// Entries that were not written to a file or Redis.
    dropped_writes => "llm_cache_dropped_writes_total",
    /// Entries evicted from any tier.
    evictions => "llm_cache_evictions_total",
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

impl Counts {
    /// Copies the totals that the store counts itself, and records the size of the store.
    pub(crate) fn take_store(&self, stats: &StoreStats, evictions: u64) {
        self.corrupt.raise_to(stats.corrupt);
        self.dropped_writes.raise_to(stats.dropped_writes);
        self.evictions.raise_to(evictions);
        let known = self.store_failures.fetch_max(stats.failed, Ordering::Relaxed);
        self.store_errors.add(stats.failed.saturating_sub(known));
        self.meters.record_size(stats);
    }
}

/// Metrics without a row in the table of counters. Without the feature `metrics`, the type is empty.
pub(crate) struct Meters(#[cfg(feature = "metrics")] Recorded);

#[cfg(feature = "metrics")]
struct Recorded {
    /// Durations of lookups in the local tier, in seconds.
    local: metrics::Histogram,
    /// Durations of lookups in the remote tier, in seconds.
    remote: metrics::Histogram,
    /// Number of entries in the store.
    entries: metrics::Gauge,
    /// Size of the entries in the store, in bytes.
    bytes: metrics::Gauge,
}

/// Start time of a lookup. Without the feature `metrics`, the type is empty.
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
    /// Records the duration of a lookup in the local tier, measured since `timer`.
    pub(crate) fn record_local_lookup(&self, timer: LookupTimer) {
        #[cfg(feature = "metrics")]
        self.0.local.record(timer.0.elapsed());
        let _ = timer;
    }

    /// Records the duration of a lookup in the remote tier, measured since `timer`.
    pub(crate) fn record_remote_lookup(&self, timer: LookupTimer) {
        #[cfg(feature = "metrics")]
        self.0.remote.record(timer.0.elapsed());
        let _ = timer;
    }

    fn record_size(&self, stats: &StoreStats) {
        #[cfg(feature = "metrics")]
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
        {
            self.0.entries.set(stats.entries as f64);
            self.0.bytes.set(stats.bytes as f64);
        }
        let _ = stats;
    }

    #[cfg(not(feature = "metrics"))]
    fn new(_: &Arc<str>) -> Self {
        Self()
    }

    #[cfg(feature = "metrics")]
    fn new(cache: &Arc<str>) -> Self {
        let cache = || metrics::SharedString::from(Arc::clone(cache));
        let lookups = |tier| metrics::histogram!("llm_cache_lookup_seconds", "cache" => cache(), "tier" => tier);
        Self(Recorded {
            local: lookups("memory"),
            remote: lookups("remote"),
            entries: metrics::gauge!("llm_cache_entries", "cache" => cache()),
            bytes: metrics::gauge!("llm_cache_bytes", "cache" => cache()),
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
            counts.take_store(&stats, 5);
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
