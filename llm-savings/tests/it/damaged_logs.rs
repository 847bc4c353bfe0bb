use llm_savings::{Analysis, Options};
use serde_json::json;

use crate::chat;

#[test]
fn damaged_lines_are_counted_and_named() {
    let good = chat(0, "a", "hello").to_string();
    let lines: [&[u8]; 12] = [
        good.as_bytes(),
        &good.as_bytes()[..good.len() - 20],
        b"",
        b"not json",
        b"[1, 2]",
        b"\xff\xfe\x00",
        b"{}",
        br#"{"request": {"messages": [{"role": "user", "content": "no model"}]}}"#,
        br#"{"request": {"model": "m", "messages": 7}}"#,
        br#"{"outcome": "completed", "tenant": "a", "labels": {}}"#,
        br#"{"lost_lines": 3}"#,
        good.as_bytes(),
    ];
    let mut analysis = Analysis::new(Options::default());
    analysis.read(&lines.join(&b'\n')[..]).expect("bytes can be read");
    let report = analysis.finish();
    assert_eq!((report.log.calls, report.log.distinct), (2, 1));
    let skipped: Vec<_> = report.log.skipped.iter().map(|(reason, count)| (&**reason, *count)).collect();
    assert_eq!(
        skipped,
        [
            ("no `model` in the request", 1),
            ("no `model` in the stack's line", 1),
            ("no list or text of messages in the request", 1),
            ("the line is cut", 1),
            ("the line is no JSON object", 1),
            ("the line is not JSON", 1),
            ("the line is not UTF-8", 1),
            ("the stack's log lost lines here", 1),
            ("unknown format: no `messages`, `input` or `prompt` in the request", 1),
        ]
    );
    assert!(report.to_string().contains("the line is cut: 1"));
}

#[test]
fn missing_fields_make_levers_not_provable() {
    let line = json!({"request": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}});
    let report = crate::analysed(&[line.clone(), line]);
    let text = report.to_string();
    assert_eq!(report.lever("exact cache").rows()[0].setting, "no expiry");
    assert_eq!(report.lever("exact cache").rows()[0].calls, Some(1));
    for (lever, reason) in [
        ("coalescing", "when a call began"),
        ("packing", "no times"),
        ("prompt caching", "no times"),
        ("service tiers", "no call has a known price"),
        ("cheaper model", "no model to compare with"),
        ("quota and keys", "no times"),
    ] {
        assert!(report.lever(lever).rows().is_empty(), "{lever}");
        assert!(format!("{:?}", report.lever(lever).finding).contains(reason), "{lever}");
    }
    assert_eq!(text.matches("not provable from this log").count(), 7, "{text}");
}

#[test]
fn csv_without_key_column_says_so() {
    let mut analysis = Analysis::new(Options::default());
    analysis.read(&b"ts,request\n1,2\n"[..]).expect("bytes can be read");
    let report = analysis.finish();
    assert_eq!(report.log.calls, 0);
    assert!(report.to_string().contains("names no column `key`"), "{report}");
}

#[test]
fn times_out_of_order_are_named() {
    let report = crate::analysed(&[chat(100, "a", "x"), chat(0, "a", "x"), chat(4_000, "a", "x")]);
    assert_eq!(report.log.out_of_order, 1);
    assert_eq!(crate::row(report.lever("exact cache"), "ttl 1h").calls, Some(1));
}

#[test]
fn empty_log_proves_nothing() {
    let report = crate::analysed(&[]);
    assert_eq!(report.to_string().matches("not provable from this log").count(), 7, "{report}");
}

#[test]
fn absurd_figures_count_as_unknown() {
    let huge = json!({"prompt": "x", "model": "gpt-4o-mini", "ts": 1_764_000_000, "input_tokens": u64::MAX, "output_tokens": u64::MAX});
    let mut later = huge.clone();
    later["ts"] = json!(1_764_000_100);
    let negative = json!({"time": "2026-03-01T09:30:00Z", "tenant": "a", "labels": {}, "model": "gpt-4o-mini",
        "outcome": "completed", "input_tokens": 5, "list_nano_usd": i64::MIN});
    let report = crate::analysed(&[huge.clone(), huge, later, negative]);
    assert_eq!(report.log.without_usage, 3);
    assert!(report.log.tokens < 100 && report.log.saved_already.is_zero(), "{report}");
    assert!(report.log.spent > llm_core::Usd::ZERO && report.log.spent < llm_core::Usd::from_nanos(1_000), "{report}");
}

#[test]
fn names_of_models_are_short_and_printable() {
    let mut line = chat(0, "a", "x");
    line["request"]["model"] = json!("\u{1b}[31mred\n".repeat(1_000));
    let text = crate::analysed(&[line]).to_string();
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.len() < 400), "{text}");
}

#[test]
fn csv_with_quotes_is_read() {
    let mut analysis = Analysis::new(Options::default());
    let csv =
        "\"key\",\"ts\",model\n\"a, \"\"b\"\"\",1764000000,m\n\"a, \"\"b\"\"\",1764000001,m\n\"a, b\",1764000002,m\n";
    analysis.read(csv.as_bytes()).expect("bytes can be read");
    let report = analysis.finish();
    assert_eq!((report.log.calls, report.log.distinct), (3, 2), "{report}");
}

#[test]
fn csv_without_value_of_key_is_skipped() {
    let mut analysis = Analysis::new(Options::default());
    analysis.read(&b"key,ts\n,1764000000\n,1764000001\n"[..]).expect("bytes can be read");
    assert_eq!(analysis.finish().log.skipped["the line has no value in the column of the key"], 2);
}

#[test]
fn csv_without_frame_column_says_so() {
    let mut analysis = Analysis::new(Options { frame_column: Some("header".into()), ..Options::default() });
    analysis.read(&b"key,ts\na,1764000000\n"[..]).expect("bytes can be read");
    let report = analysis.finish();
    assert!(report.to_string().contains("names no column `header`"), "{report}");
}
