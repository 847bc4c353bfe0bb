//! The small examples run, print what they say, and stay small.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

use llm_providers::ledger::Months;
use llm_testkit::{Fault, Rule, Vendor};
use tokio::task::spawn_blocking;

/// The examples of at most 40 lines each.
const SMALL: [(&str, &str); 10] = [
    ("budgets", include_str!("../src/bin/budgets.rs")),
    ("cache", include_str!("../src/bin/cache.rs")),
    ("embedding_job", include_str!("../src/bin/embedding_job.rs")),
    ("full_stack", include_str!("../src/bin/full_stack.rs")),
    ("ledger", include_str!("../src/bin/ledger.rs")),
    ("limiter", include_str!("../src/bin/limiter.rs")),
    ("metrics", include_str!("../src/bin/metrics.rs")),
    ("own_operation", include_str!("../src/bin/own_operation.rs")),
    ("raw_client", include_str!("../src/bin/raw_client.rs")),
    ("vendors", include_str!("../src/bin/vendors.rs")),
];

/// Runs an example to its end and returns its standard output and error.
fn run(program: &str) -> [String; 2] {
    let output = Command::new(program).stdin(Stdio::null()).output().expect("it was built");
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    assert!(output.status.success(), "{texts:?}");
    texts
}

/// Runs an example, and checks that its output has these parts, in this order.
fn prints(program: &str, parts: &[&str]) -> String {
    let [text, _] = run(program);
    let mut rest = text.as_str();
    for part in parts {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} in {text}")).1;
    }
    text
}

#[test]
fn examples_have_at_most_40_lines() {
    for (name, text) in SMALL {
        let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//");
        let lines = text.lines().map(str::trim).filter(is_code).count();
        assert!(lines <= 40, "{name} has {lines} lines");
    }
}

#[test]
fn examples_are_listed_in_readme() {
    let readme = include_str!("../../README.md");
    for (name, text) in SMALL {
        assert!(readme.contains(&format!("examples/src/bin/{name}.rs")), "{name}");
        assert!(text.contains(&format!("--bin {name}`")) || text.contains(&format!("--bin {name} --")), "{name}");
    }
}

#[test]
fn cache_sends_equal_calls_once() {
    let text = ["at once: 1 request", "streamed from the entry: ", "of its own: 2 requests", "3 requests, 100 hits"];
    prints(env!("CARGO_BIN_EXE_cache"), &text);
}

#[test]
fn limiter_refuses_third_call() {
    let text = ["a basket: rate limited: the limit 2 requests/hour", "0 of 2 left", "of 10000 left"];
    prints(env!("CARGO_BIN_EXE_limiter"), &text);
}

#[test]
fn ledger_prints_table_and_csv() {
    let text = ["acme, search: $0.0000", "label feature=search", "in all", "kind,name,value,calls,", "total,,,3,3,3,"];
    prints(env!("CARGO_BIN_EXE_ledger"), &text);
}

#[test]
fn own_operation_separates_versions() {
    prints(
        env!("CARGO_BIN_EXE_own_operation"),
        &["v1: ", "(Vendor)", "v1: ", "(Cache", "v2: ", "(Vendor)", "v1: ", "(Cache"],
    );
}

#[test]
fn full_stack_needs_few_requests() {
    let parts = ["whole, by key Some(\"b\"): ", "streamed: ", " requests for 102 calls", "tenant acme ", "saved: "];
    let text = prints(env!("CARGO_BIN_EXE_full_stack"), &parts);
    // One chat, two batches, and one at most that the refused key gets.
    let requests = text.lines().find_map(|line| line.strip_suffix(" requests for 102 calls"));
    assert!(matches!(requests, Some("3" | "4")), "{text}");
}

#[test]
fn budgets_alert_refuse_and_change_plan() {
    let parts = [
        "alert: 50% of $0.0001/day per tenant is used by acme",
        "alert: 80% of $0.0001/day",
        "over budget: ",
        "chat 0: llm-cache; fwd=uri-miss",
        "chat 0: llm-cache; hit",
        "news 0: llm-cache; fwd=stale",
    ];
    prints(env!("CARGO_BIN_EXE_budgets"), &parts);
}

#[test]
fn raw_client_is_cached_limited_and_retried() {
    let parts =
        ["a login form: Vendor, 2 requests", "a login form: Cache", "Vendor, 3 requests", "a basket: rate limited"];
    prints(env!("CARGO_BIN_EXE_raw_client"), &parts);
}

#[test]
fn vendors_respond_at_their_addresses() {
    let [text, _] = run(env!("CARGO_BIN_EXE_vendors"));
    assert_eq!(text.lines().filter(|line| line.contains("HOST") && line.contains(": ")).count(), 11);
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_print_prometheus_and_json() {
    let [text, logs] = run(env!("CARGO_BIN_EXE_metrics"));
    for line in [
        "# HELP llm_providers_calls_total ",
        "llm_cache_hits_total{cache=\"test-cases\"} 1",
        "llm_cache_lookup_seconds_bucket{cache=\"test-cases\",tier=\"memory\",le=",
        "llm_providers_call_seconds_bucket{",
        "llm_ratelimit_least_share_left{limit=\"$3.00/day per tenant\"}",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "no {line:?} in {text}");
    }
    let spans = logs.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let calls = spans.filter(|line| line["span"]["name"] == "llm.call").collect::<Vec<_>>();
    assert!(calls.len() == 2 && calls.iter().all(|call| call["span"]["gen_ai.usage.output_tokens"].is_u64()), "{logs}");
}

/// A job that is killed while a request runs pays for nothing twice when it is started again, and states the cost of both
/// runs together.
#[tokio::test]
async fn embedding_job_states_cost_over_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().canonicalize().expect("a directory").join("texts.txt");
    let texts: String = (0..10_000).map(|n| format!("position {n} of the bill of quantities\n")).collect();
    std::fs::write(&path, texts).expect("a file");
    let vendor = Vendor::builder().dimensions(std::num::NonZeroUsize::MIN);
    let vendor = vendor.price("text-embedding-3-small", 20_000_000, 20_000_000, 0).build();
    vendor.script(Rule::new(Fault::NoResponse).skip(10));
    let server = vendor.serve().await;
    let (path, url) = (path.to_str().expect("text"), server.base_url());
    let mut job = Command::new(env!("CARGO_BIN_EXE_embedding_job"));
    job.current_dir(&directory).args(["texts.txt", &url]).stdout(Stdio::piped());

    let mut killed = job.spawn().expect("it was built");
    let output = killed.stdout.take().expect("a pipe");
    let ended = spawn_blocking(|| io::read_to_string(output));
    tokio::select! {
        printed = ended => panic!("it ended: {printed:?}"),
        () = vendor.wait_until(|vendor| vendor.calls() == 11) => killed.kill().expect("it runs"),
    }
    killed.wait().expect("it ends");
    vendor.clear_script();
    let second = spawn_blocking(move || job.output()).await.expect("no panic").expect("it was built");
    assert!(second.status.success(), "{second:?}");

    // The request that was killed is sent again, and no other.
    assert_eq!(vendor.calls(), 21);
    let paid: u64 = vendor.bills().iter().filter(|bill| !bill.cancelled).map(|bill| bill.nano_usd).sum();
    let months = Months::read(Path::new(&format!("{path}.costs"))).expect("the costs");
    assert_eq!(months.of_label("job", path).paid.nanos(), i64::try_from(paid).expect("a small amount"));
}
