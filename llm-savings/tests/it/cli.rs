use std::{
    io::Write,
    path::Path,
    process::{Command, Output},
};

use flate2::{Compression, write::GzEncoder};

use serde_json::json;

use crate::chat;

fn run(args: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_llm-savings")).args(args).output().expect("the program starts")
}

#[test]
fn gzip_cut_is_reported_to_its_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("log.jsonl.gz");
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    (0..2_000).for_each(|i| writeln!(packed, "{}", chat(i, "a", &format!("question {i}"))).expect("memory"));
    let packed = packed.finish().expect("memory");
    std::fs::write(&file, &packed[..packed.len() - 100]).expect("it can be written");
    let output = run(&[&file]);
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && error.contains("what was read before"), "{error}");
    assert!(text.contains(" calls, 0 failed") && !text.starts_with("0 calls"), "{text}");
}

#[test]
fn report_is_printed_before_files_are_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log.jsonl");
    std::fs::write(&log, chat(0, "a", "x").to_string()).expect("it can be written");
    let output = run(&[&log, Path::new("--html"), &directory.path().join("none").join("report.html")]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("1 calls"));
}

#[test]
fn log_that_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    for file in [directory.path().to_owned(), directory.path().join("none.jsonl")] {
        let output = run(&[&file]);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(&file.display().to_string()));
    }
}

#[test]
fn litellm_prices_plain_and_prefixed_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, prices) = (directory.path().join("log.jsonl"), directory.path().join("prices.json"));
    let row = |provider: &str, input: f64| json!({"litellm_provider": provider, "mode": "chat", "input_cost_per_token": input, "output_cost_per_token": 0.01});
    let list = json!({"gpt-4.1": row("openai", 0.001), "azure/gpt-4.1": row("azure", 0.002), "mistral/new": row("mistral", 0.003),
        "odd": {"litellm_provider": "openai", "input_cost_per_second": 1}});
    std::fs::write(&prices, list.to_string()).expect("it can be written");
    for (model, spent) in [
        ("gpt-4.1", "$6.00"),
        ("openai/gpt-4.1", "$6.00"),
        ("azure/gpt-4.1", "$7.00"),
        ("mistral/new", "$8.00"),
        ("new", "$8.00"),
    ] {
        let mut line = chat(0, "a", "x");
        line["request"]["model"] = json!(model);
        std::fs::write(&log, line.to_string()).expect("it can be written");
        let output = run(&[&log, Path::new("--prices"), &prices]);
        let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            text.contains(&format!("{spent} at list prices of")) && text.contains("prices.json"),
            "{model}: {text}{error}"
        );
        assert!(error.contains("odd") && error.contains("1 rows or fields"), "{error}");
    }
    std::fs::write(&prices, "{}").expect("it can be written");
    let output = run(&[&log, Path::new("--prices"), &prices]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no price"));
}
