use std::{
    io::Write,
    process::{Command, Stdio},
};

/// Writes a log of distinct requests through a pipe and returns the most memory that the program held, in KiB.
fn most_memory(lines: u64, bytes: usize) -> u64 {
    let mut program = Command::new(env!("CARGO_BIN_EXE_llm-savings"))
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut input = std::io::BufWriter::new(program.stdin.take().expect("it is piped"));
    let filler = "The quick brown fox jumps over the lazy dog. ".repeat(bytes / 45);
    for i in 0..lines {
        let second = 1_764_000_000 + i / 10;
        writeln!(
            input,
            r#"{{"ts": {second}, "request": {{"model": "gpt-4o-mini", "messages": [{{"role": "user", "content": "{i} {filler}"}}]}}, "response": {{"usage": {{"prompt_tokens": 2500, "completion_tokens": 100}}}}}}"#
        )
        .expect("the program reads");
    }
    input.flush().expect("the program reads");
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).expect("it still runs");
    drop(input);
    assert!(program.wait().expect("it ends").success());
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux states it");
    most.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn memory_holds_no_texts() {
    // 30 MB of texts.
    let most = most_memory(300, 100_000);
    assert!(most < 20 * 1_024, "{most} KiB");
    #[expect(clippy::disallowed_methods, reason = "the test's edge reads the size")]
    if std::env::var("LLM_FULL").is_ok_and(|full| full == "1") {
        let most = most_memory(1_000_000, 10_000);
        println!("a million distinct requests of 10 KB: {most} KiB");
        assert!(most < 200 * 1_024, "{most} KiB");
    }
}
