use std::{
    io::Write,
    path::Path,
    process::{Command, Output},
};

use flate2::{Compression, write::GzEncoder};

use crate::chat;

fn run(args: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_llm-savings")).args(args).output().expect("the program starts")
}

#[test]
fn gzip_that_is_cut_is_reported_to_its_end() {
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
