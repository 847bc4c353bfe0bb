use serde_json::json;

use crate::{analysed, chat, row};

/// Two hours apart, so that no time to live of an hour has a response.
const GAP: u64 = 7_200;

fn hits_within_hour(units_per_second: u64) -> Option<u64> {
    let line = |i: u64| {
        let mut line = chat(0, "a", "x");
        line["ts"] = json!((1_764_000_000 + i * GAP) * units_per_second);
        line
    };
    row(analysed(&(0..5).map(line).collect::<Vec<_>>()).lever("exact cache"), "ttl 1h").calls
}

#[test]
fn times_in_each_unit_mean_the_same() {
    for units in [1, 1_000, 1_000_000, 1_000_000_000] {
        assert_eq!(hits_within_hour(units), Some(0), "{units}");
    }
}

#[test]
fn times_in_reverse_order_invent_no_savings() {
    let lines: Vec<_> = (0..5).rev().map(|i| chat(i * GAP, "a", "x")).collect();
    let report = analysed(&lines);
    assert_eq!((report.log.out_of_order, report.log.misplaced), (0, 4));
    assert!(report.to_string().contains("sort the log"), "{report}");
    assert_eq!(row(report.lever("exact cache"), "ttl 1h").calls, Some(0));
    assert_eq!(row(report.lever("packing"), "all calls").calls, Some(0));
    assert!(
        row(report.lever("quota and keys"), "gpt-4o-mini, all")
            .detail
            .as_deref()
            .is_some_and(|d| d.contains(" 1 requests"))
    );
}

#[test]
fn time_is_first_valid_field() {
    let mut lines = [chat(0, "a", "x"), chat(GAP, "a", "x")];
    for line in &mut lines {
        line["time"] = json!("1.5 s");
    }
    assert_eq!(row(analysed(&lines).lever("exact cache"), "ttl 24h").calls, Some(1));
}

#[test]
fn call_without_time_leaves_others_provable() {
    let mut lines: Vec<_> = [0, 60, 120].map(|second| chat(second, "a", "x")).into();
    lines[1]["ts"] = json!("soon");
    let report = analysed(&lines);
    assert_eq!(row(report.lever("exact cache"), "ttl 1h").calls, Some(1));
    assert!(report.to_string().contains("1 calls state no time"), "{report}");
}
