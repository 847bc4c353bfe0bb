use llm_core::Usd;
use serde_json::{Value, json};

use crate::{analysed, row};

/// Conversations of an agent: a system prompt of 4,000 tokens, eight turns, gaps of 1 to 20 minutes.
fn agent(model: &str) -> Vec<Value> {
    let system = "Use the tools step by step. ".repeat(572);
    let mut random = 7_u64;
    let mut second = 1_764_000_000;
    let mut lines = Vec::new();
    for conversation in 0..40 {
        let mut messages = Vec::new();
        for turn in 0..8 {
            let observed = format!("conversation {conversation} turn {turn} {}", "observation ".repeat(40));
            messages.push(json!({"role": "user", "content": observed}));
            let bytes: usize = messages.iter().map(|message| message["content"].as_str().map_or(0, str::len)).sum();
            lines.push(json!({
                "ts": second,
                "request": {"model": model, "max_tokens": 500, "system": system, "messages": messages},
                "response": {"usage": {"input_tokens": (system.len() + bytes) / 4, "output_tokens": 150}},
            }));
            messages.push(json!({"role": "assistant", "content": "thought ".repeat(40)}));
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            second += 60 + (random >> 33) % 1_140;
        }
        second += 7_200;
    }
    lines
}

#[test]
fn automatic_caching_costs_more_than_none() {
    let report = analysed(&agent("claude-sonnet-4-5"));
    let lever = report.lever("prompt caching");
    let short = row(lever, "automatic, writes charged, kept 5m").money.expect("an amount");
    let long = row(lever, "automatic, writes charged, kept 1h").money.expect("an amount");
    assert!(short < Usd::ZERO, "{report}");
    assert!(long > Usd::ZERO, "{report}");
    assert!(report.to_string().contains("costs $"), "{report}");
}

#[test]
fn automatic_caching_of_single_questions_costs_more() {
    let system = "Answer by the rules. ".repeat(1_000);
    let line = |i: u64| {
        json!({"ts": 1_764_000_000 + i,
            "request": {"model": "claude-sonnet-4-5", "system": system, "messages": [{"role": "user", "content": format!("question {i}")}]},
            "response": {"usage": {"input_tokens": 5_000, "output_tokens": 1}}})
    };
    let report = analysed(&(0..100).map(line).collect::<Vec<_>>());
    let lever = report.lever("prompt caching");
    // Only whole prompts are written, and none returns: 100 × 5,000 tokens at a quarter of $3 a million more.
    let automatic = row(lever, "automatic, writes charged, kept 5m").money;
    assert_eq!(automatic, Some(Usd::from_nanos(-100 * 5_000 * 750)));
    let breakpoints = row(lever, "breakpoints after system prompt and messages, writes charged, kept 5m").money;
    assert!(breakpoints > Some(Usd::from_nanos(100 * 5_000 * 2_000)), "{report}");
}

#[test]
fn free_writes_read_common_blocks() {
    let system = "Answer by the rules. ".repeat(1_000);
    let line = |i: u64| {
        json!({"ts": 1_764_000_000 + i * 400,
            "request": {"model": "gpt-4o-mini", "messages": [
                {"role": "system", "content": system}, {"role": "user", "content": format!("question {i}")}]},
            "response": {"usage": {"prompt_tokens": 5_000, "completion_tokens": 1}}})
    };
    let report = analysed(&(0..10).map(line).collect::<Vec<_>>());
    let lever = report.lever("prompt caching");
    assert_eq!(row(lever, "writes free, kept 5m").money, Some(Usd::ZERO));
    let hour = row(lever, "writes free, kept 1h").money.expect("an amount");
    // Nine calls read nearly 5,000 tokens each at half of $0.15 a million.
    assert!(hour > Usd::from_nanos(9 * 4_800 * 75) && hour < Usd::from_nanos(9 * 5_000 * 75), "{hour}");
}

#[test]
fn changing_system_prompt_is_located_and_priced() {
    let line = |i: u64| {
        let system = format!(
            "{} Now it is 2026-11-29T10:15:{:02}Z. {}",
            "Be kind. ".repeat(60),
            i,
            "Follow rules. ".repeat(700)
        );
        json!({"ts": 1_764_000_000 + i,
            "request": {"model": "gpt-4o-mini", "messages": [
                {"role": "system", "content": system}, {"role": "user", "content": "question"}]},
            "response": {"usage": {"prompt_tokens": 2_600, "completion_tokens": 1}}})
    };
    let report = analysed(&(0..20).map(line).collect::<Vec<_>>());
    let note = report.lever("prompt caching").notes.iter().find(|note| note.contains("differs")).expect("a place");
    assert!(note.contains("system prompt differs from call to call from about byte 512 (a date)"), "{note}");
    assert!(note.contains("19 calls"), "{note}");
}

#[test]
fn short_prompts_are_not_cached() {
    let line = |i: u64| {
        json!({"ts": 1_764_000_000 + i,
            "request": {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "x".repeat(2_000)}]},
            "response": {"usage": {"input_tokens": 500, "output_tokens": 1}}})
    };
    let report = analysed(&[line(0), line(1)]);
    let saved = row(report.lever("prompt caching"), "automatic, writes charged, kept 5m");
    assert_eq!(saved.detail.as_deref(), Some("0 tokens read, 0 written"));
}

#[test]
fn images_do_not_dilute_system_prompt() {
    let system = "Answer by the rules. ".repeat(800);
    let line = |i: u64, part: fn(String) -> Value| {
        let image = format!("{}{i:04}", "QUJD".repeat(100_000));
        json!({"ts": 1_764_000_000 + i,
            "request": {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": system},
                {"role": "user", "content": [{"type": "text", "text": "describe"}, part(image)]}]},
            "response": {"usage": {"prompt_tokens": 5_000, "completion_tokens": 1}}})
    };
    let parts: [fn(String) -> Value; 2] = [
        |image| json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{image}")}}),
        |image| json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}}),
    ];
    for part in parts {
        let report = analysed(&(0..8).map(|i| line(i, part)).collect::<Vec<_>>());
        assert_eq!(report.log.distinct, 8);
        let detail = row(report.lever("prompt caching"), "writes free, kept 5m").detail.clone().unwrap_or_default();
        // Seven calls read some 4,000 tokens of the system prompt.
        assert!(detail.starts_with("2") || detail.starts_with("3"), "{detail}");
        assert!(detail.split(',').next().is_some_and(|thousands| thousands.len() == 2), "{detail}");
    }
}
