use std::time::Duration;

use llm_core::Usd;
use llm_savings::{Effect, Options};
use serde_json::json;

use crate::{analysed, analysed_by, chat, row};

/// Cost of 1,000 input and 500 output tokens at $0.15 and $0.60 a million.
const COST: i64 = 150_000 + 300_000;

#[test]
fn exact_cache_counts_from_first_request() {
    let lines = [0, 3_000, 3_599, 3_600, 7_000, 7_200].map(|second| chat(second, "a", "x"));
    let report = analysed(&lines);
    let cache = report.lever("exact cache");
    let saved = row(cache, "ttl 1h");
    assert_eq!((saved.calls, saved.tokens, saved.money), (Some(3), Some(4_500), Some(Usd::from_nanos(3 * COST))));
    assert_eq!(row(cache, "ttl 24h").calls, Some(5));
    assert_eq!(cache.effect, Effect::SameResponses);
}

#[test]
fn exact_cache_keeps_tenants_apart() {
    let report = analysed(&[chat(0, "a", "x"), chat(1, "b", "x")]);
    assert_eq!(row(report.lever("exact cache"), "no expiry").calls, Some(0));
}

#[test]
fn exact_cache_evicts_by_least_recent_use() {
    let lines = ["x", "y", "x", "z", "x", "y"].map(|text| chat(0, "a", text));
    let report = analysed_by(Options { capacities: vec![2], ..Options::default() }, &lines);
    assert_eq!(row(report.lever("exact cache"), "no expiry, 2 entries").calls, Some(2));
}

#[test]
fn coalescing_counts_calls_while_one_runs() {
    let mut lines = [0, 5, 9, 10, 12].map(|second| chat(second, "a", "x"));
    lines.iter_mut().for_each(|line| line["latency_ms"] = json!(10_000));
    let report = analysed(&lines);
    assert_eq!(report.lever("coalescing").rows()[0].calls, Some(3));
}

#[test]
fn packing_groups_by_frame_window_and_size() {
    let line = |second: u64, system: &str, text: &str| {
        let mut line = chat(second, "a", text);
        line["request"]["messages"] = json!([{"role": "system", "content": system}, {"role": "user", "content": text}]);
        line
    };
    let system = "s".repeat(96);
    let mut lines: Vec<_> = (0..5).map(|i| line(0, &system, &format!("aaa{i}"))).collect();
    lines.push(line(0, "another frame", "bbbb"));
    lines.push(line(60, &system, "late"));
    let options = Options { pack: 4, pack_window: Duration::from_secs(10), ..Options::default() };
    let report = analysed_by(options, &lines);
    let saved = row(report.lever("packing"), "all calls");
    // Four share one request, the fifth opens another; 96 of 100 bytes are the frame's.
    assert_eq!((saved.calls, saved.tokens, saved.money), (Some(3), Some(3 * 960), Some(Usd::from_nanos(3 * 144_000))));
    assert_eq!(report.lever("packing").effect, Effect::OtherResponses);
}

#[test]
fn packing_leaves_tools_alone() {
    let mut line = chat(0, "a", "x");
    line["request"]["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
    assert!(analysed(&[line.clone(), line]).lever("packing").rows().is_empty());
}

#[test]
fn tiers_halve_the_price_in_batches() {
    let report = analysed(&[chat(0, "a", "x"), chat(1, "a", "x")]);
    let tiers = report.lever("service tiers");
    assert_eq!(row(tiers, "batch, all calls").money, Some(Usd::from_nanos(COST)));
    assert_eq!(row(tiers, "batch, after the cache").money, Some(Usd::from_nanos(COST / 2)));
}

#[test]
fn quota_names_busiest_minute_and_keys() {
    let lines: Vec<_> = [0, 59, 60, 61].map(|second| chat(second, "a", "x")).into();
    let options = Options { requests_per_minute: Some(2), tokens_per_minute: Some(1_000), ..Options::default() };
    let report = analysed_by(options, &lines);
    let detail = |which: &str| row(report.lever("quota and keys"), which).detail.clone().expect("figures");
    assert_eq!(
        detail("gpt-4o-mini, all calls"),
        "busiest minute: 3 requests, 4,500 tokens, keys of separate quotas needed: 5"
    );
    assert_eq!(
        detail("gpt-4o-mini, after the cache"),
        "busiest minute: 1 requests, 1,500 tokens, keys of separate quotas needed: 2"
    );
}

#[test]
fn cheaper_model_prices_the_same_tokens() {
    let mut dear = chat(0, "a", "x");
    dear["request"]["model"] = json!("gpt-4o");
    let options = Options { cheaper_models: vec!["gpt-4o-mini".into(), "no-such-model".into()], ..Options::default() };
    let report = analysed_by(options, &[dear, chat(1, "a", "x")]);
    let lever = report.lever("cheaper model");
    // 1,000 and 500 tokens at $2.50 and $10 a million, less those at $0.15 and $0.60.
    let saved: Vec<_> = lever.rows().iter().map(|row| (row.setting.as_str(), row.money)).collect();
    assert_eq!(saved, [("gpt-4o-mini", Some(Usd::from_nanos(2_500_000 + 5_000_000 - COST)))]);
    assert_eq!(lever.effect, Effect::OtherResponses);
}

#[test]
fn packing_money_excludes_what_vendor_cached() {
    let lines: Vec<_> = ["aaaa", "bbbb"]
        .map(|text| {
            let mut line = chat(0, "a", text);
            line["request"]["messages"] =
                json!([{"role": "system", "content": "s".repeat(96)}, {"role": "user", "content": text}]);
            line["response"]["usage"]["prompt_tokens_details"] = json!({"cached_tokens": 900});
            line
        })
        .into();
    let report = analysed(&lines);
    // Of the frame's 960 tokens, 900 were read from the vendor's cache at half the price.
    let money = row(report.lever("packing"), "all calls").money;
    assert_eq!(money, Some(Usd::from_nanos(60 * 150 + 900 * 75)));
}

#[test]
fn calls_without_usage_prove_no_money() {
    let mut lines = vec![chat(0, "a", "x")];
    lines.extend((1..50).map(|second| {
        let mut line = chat(second, "a", &"long text ".repeat(1_000));
        line["request"]["messages"][0]["content"] = json!(format!("{} {second}", "long text ".repeat(1_000)));
        line["response"] = json!({});
        line
    }));
    let report = analysed(&lines);
    for lever in ["packing", "prompt caching"] {
        for row in report.lever(lever).rows() {
            assert_eq!(row.money.unwrap_or_default(), Usd::ZERO, "{lever}: {row:?}");
        }
    }
}

#[test]
fn cheaper_model_needs_logged_usage() {
    let line = json!({"tenant": "a", "labels": {}, "model": "gpt-4o", "outcome": "completed", "list_nano_usd": 45_000,
        "texts": {"request": [{"role": "user", "text": "x".repeat(4_000)}]}});
    let options = Options { cheaper_models: vec!["gpt-4o-mini".into()], ..Options::default() };
    assert!(analysed_by(options, &[line]).lever("cheaper model").rows().is_empty());
}
