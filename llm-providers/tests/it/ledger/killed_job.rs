//! Tests of the cost of a job that is killed and started again: 10,000 texts of a file are embedded over HTTP.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use llm_core::{Call, EmbedRequest, Usd, layer::oneshot};
use llm_providers::{
    Ledger, OpenAi,
    ledger::{LedgerFile, Months, Row},
    prices,
};
use llm_testkit::Vendor;

const TEXTS: usize = 10_000;
/// Number of texts in one call.
const BATCH: usize = 500;
const MODEL: &str = "text-embedding-3-small";
/// Environment variable with the directory and the URL of the vendor, separated by a blank.
const JOB: &str = "LLM_PROVIDERS_KILLED_JOB";

fn start(directory: &Path, address: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["ledger::killed_job::killed_job_process", "--exact", "--nocapture"]);
    command.env(JOB, format!("{} {address}", directory.display())).stdout(Stdio::piped()).spawn().unwrap()
}

fn row(directory: &Path) -> Row {
    Months::read(directory.join("costs.json")).unwrap().of_label("job", "tenders")
}

#[test]
fn killed_job_cost_matches_vendor_bill() {
    let directory = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..TEXTS).map(|n| format!("Tender {n}: a bridge over the river number {n}.")).collect();
    std::fs::write(directory.path().join("texts"), texts.join("\n")).unwrap();
    let vendor = Vendor::builder().price(MODEL, 20_000_000, 20_000_000, 0).build();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(vendor.serve());
    let kills = [1, 4, 7];
    for after in kills {
        let mut job = start(directory.path(), &server.base_url());
        let lines = BufReader::new(job.stdout.take().unwrap()).lines().map_while(Result::ok);
        lines.filter(|line| line.contains("embedded ")).nth(after - 1).unwrap();
        job.kill().unwrap();
        job.wait().unwrap();
    }
    let known = row(directory.path()).paid;
    assert!(known > Usd::ZERO, "the cost so far is known while no process runs");
    assert!(start(directory.path(), &server.base_url()).wait_with_output().unwrap().status.success());
    let (row, billed) = (row(directory.path()), Usd::from_nanos(vendor.total_billed().try_into().unwrap()));
    let dearest = vendor.bills().iter().map(|bill| bill.nano_usd).max().unwrap();
    // A kill loses at most one call: the call that was running or had not been flushed.
    let lost = billed - row.paid;
    assert!(lost >= Usd::ZERO && lost.nanos() as u64 <= kills.len() as u64 * dearest, "{} of {billed}", row.paid);
    assert!(row.attempts + kills.len() as u64 >= vendor.calls() && row.attempts >= (TEXTS / BATCH) as u64);
    assert_eq!(std::fs::read_to_string(directory.path().join("progress")).unwrap(), TEXTS.to_string());
}

/// Not a test of its own, but the job, which continues where an earlier process was killed.
#[tokio::test]
async fn killed_job_process() {
    let Some(job) = variable(JOB) else { return };
    let (directory, address) = job.rsplit_once(' ').unwrap();
    let directory = PathBuf::from(directory);
    let ledger = Ledger::new(prices::openai());
    let file = LedgerFile::builder(directory.join("costs.json")).by_label("job").open(&ledger).unwrap();
    let client = OpenAi::new("no-real-key").unwrap().base_url(address).unwrap();
    let stack = tower::ServiceBuilder::new().layer(ledger.requests()).layer(ledger.attempts()).service(client);
    let texts = std::fs::read_to_string(directory.join("texts")).unwrap();
    let texts: Vec<&str> = texts.lines().collect();
    let progress = directory.join("progress");
    let mut done = std::fs::read_to_string(&progress).ok().map_or(0, |count| count.parse().unwrap());
    while done < texts.len() {
        let batch = &texts[done..texts.len().min(done + BATCH)];
        let request = EmbedRequest::new(MODEL, batch.iter().copied());
        let call = Call::new("acme", request).with_label("job", "tenders").unwrap();
        let reply = oneshot(stack.clone(), call).await.unwrap();
        assert_eq!(reply.output.vectors.len(), batch.len());
        drop(reply);
        // The cost is written first, so that no result is kept without its cost.
        file.flush().unwrap();
        done += batch.len();
        std::fs::write(directory.join("progress.new"), done.to_string()).unwrap();
        std::fs::rename(directory.join("progress.new"), &progress).unwrap();
        println!("embedded {done}");
    }
    file.close().unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test's edge: it talks to itself in another process")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
