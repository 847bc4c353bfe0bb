//! Tests of the gauges of remaining shares.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use llm_core::{ManualClock, Usage};
use llm_ratelimit::{Demand, Limiter, MetricsSampler, Plans, Settlement};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

/// Returns the sampled values by name and labels.
fn sampled(sampler: &mut MetricsSampler) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || sampler.sample().now_or_never().expect("memory decides at once"));
    let all = snapshots.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        let labels: Vec<&str> = key.key().labels().map(|label| label.value()).collect();
        let name = key.key().name().strip_prefix("llm_ratelimit_").expect("a metric of this crate");
        let DebugValue::Gauge(value) = value else { panic!("{name} is a gauge") };
        (format!("{name} {}", labels.join(" ")).trim().to_owned(), value.0)
    });
    all.collect()
}

fn spend(limiter: &Limiter, tenant: &str, tokens: u64) {
    let reservation = limiter.try_reserve(&Demand::new(tenant, "m").tokens(tokens, 0)).expect("room");
    reservation.settle(Settlement::Used { usage: Usage::new(tokens, 0), cost: None });
}

#[test]
fn metrics_sampler_records_least_share_left() {
    let clock = ManualClock::at_unix(1_794_700_800);
    let plans = Plans::uniform(["100 tokens/day"]).unwrap();
    let limiter = Limiter::builder(plans).clock(clock.clone()).build().unwrap();
    let mut sampler = MetricsSampler::new(limiter.clone());
    assert_eq!(sampled(&mut sampler), BTreeMap::from([("waiting_calls".to_owned(), 0.0)]));

    spend(&limiter, "a", 25);
    spend(&limiter, "b", 75);
    let found = sampled(&mut sampler);
    let least = found.keys().find(|name| name.starts_with("least_share_left ")).unwrap().clone();
    assert_eq!((found[&least], found.len()), (0.25, 2));

    clock.advance(std::time::Duration::from_secs(2 * 86_400));
    limiter.sweep();
    assert_eq!(sampled(&mut sampler)[&least], 1.0, "a new window is full");
}

#[test]
fn metrics_sampler_names_tenants_by_choice() {
    let limiter = Limiter::builder(Plans::uniform(["100 tokens/day"]).unwrap()).build().unwrap();
    spend(&limiter, "a", 25);
    let found = sampled(&mut MetricsSampler::new(limiter).by_tenant());
    let own: Vec<_> = found.iter().filter(|(name, _)| name.starts_with("tenant_share_left ")).collect();
    assert_eq!((own.len(), *own[0].1), (1, 0.75));
    assert!(own[0].0.ends_with(" a"));
}
