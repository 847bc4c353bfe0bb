//! Tests of a ledger's totals in a file: restarts, kills, months, wrong files, exports and the request log.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use llm_core::{Call, Error, ErrorKind, ManualClock, Receipt, Reply, Usd};
use llm_providers::{
    Ledger,
    ledger::{LedgerFile, LedgerFileError, Months},
};

use super::vendor::{COST, Head, Plan, call, ledger, stack};

/// 2026-11-30T23:59:00Z.
const LATE_IN_NOVEMBER: u64 = 1_796_083_140;

fn open(path: &Path, clock: &ManualClock) -> (Ledger, LedgerFile) {
    let ledger = ledger();
    let builder = LedgerFile::builder(path).by_tenant().by_model().by_label("job").clock(clock.clone());
    let file = builder.open(&ledger).unwrap();
    (ledger, file)
}

/// Makes calls for one tenant and one job.
async fn run(ledger: &Ledger, tenant: &str, job: &str, calls: u32) {
    let provider = stack(ledger, []);
    for _ in 0..calls {
        let call = call(tenant).with_label("job", job).unwrap().with_label("user", "u1").unwrap();
        provider.chat(call).await.unwrap();
    }
}

fn times(count: i64) -> Usd {
    Usd::from_nanos(COST.nanos() * count)
}

#[tokio::test]
async fn ledger_file_continues_totals_after_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("costs.json");
    let clock = ManualClock::at_unix(LATE_IN_NOVEMBER);
    let (first, file) = open(&path, &clock);
    run(&first, "acme", "nightly", 2).await;
    clock.advance(Duration::from_secs(60));
    run(&first, "acme", "nightly", 1).await;
    file.flush().unwrap();
    run(&first, "acme", "nightly", 1).await;
    drop(file);

    let (second, file) = open(&path, &clock);
    assert_eq!(second.snapshot().total().calls, 0);
    run(&second, "b", "nightly", 1).await;
    run(&second, "b", "other", 1).await;
    file.close().unwrap();

    let months = Months::read(&path).unwrap();
    let names: Vec<String> = months.iter().map(|(month, _)| month.to_string()).collect();
    assert_eq!(names, ["2026-11", "2026-12"]);
    let (november, december) =
        (months.get("2026-11".parse().unwrap()).unwrap(), months.get("2026-12".parse().unwrap()).unwrap());
    assert_eq!((november.total().paid, december.total().paid), (times(2), times(3)));
    assert_eq!(december.tenant("acme").unwrap().paid, times(1));
    assert_eq!(december.tenant("b").unwrap().useful, times(2));
    assert_eq!(december.model("m").unwrap().calls, 3);
    assert_eq!(months.of_label("job", "nightly").paid, times(4));
    assert!(december.label("user", "u1").is_none(), "it is not listed");
    assert!(months.iter().all(|(_, snapshot)| snapshot.balance().is_balanced()));
    assert!(december.to_string().contains("amounts of one month"));
}

#[tokio::test]
async fn ledger_file_settles_in_month_of_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_unix(LATE_IN_NOVEMBER);
    let (ledger, file) = open(&directory.path().join("costs.json"), &clock);
    let reply = stack(&ledger, []).chat_stream(call("acme")).await.unwrap();
    clock.advance(Duration::from_secs(3_600));
    assert!(reply.output.count().await > 0);
    let months = file.months();
    let (month, november) = months.iter().next().unwrap();
    assert_eq!((month.to_string().as_str(), months.iter().count()), ("2026-11", 1));
    assert_eq!((november.total().used, november.total().open), (COST, Usd::ZERO));
}

#[tokio::test]
async fn ledger_file_round_trips_every_row_field() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("costs.json");
    let (ledger, file) = open(&path, &ManualClock::at_unix(LATE_IN_NOVEMBER));
    let failed = Error::new(ErrorKind::Malformed, "").with_charge(llm_core::Charge::Known(llm_core::Usage::new(7, 1)));
    let plans = [
        Plan { tier: Some("flex"), ..Plan::default() },
        Plan { head: Head::Fails(failed), ..Plan::default() },
        Plan { head: Head::Hangs, ..Plan::default() },
        Plan { usage: None, ..Plan::default() },
        Plan::default(),
    ];
    let provider = stack(&ledger, plans.clone());
    for _ in &plans {
        let _ = provider.chat(call("acme, \"north\"\n").with_units(3)).now_or_never();
    }
    file.flush().unwrap();
    let (kept, read) = (file.months(), Months::read(&path).unwrap());
    let rows = |months: &Months| months.iter().map(|(_, snapshot)| snapshot.total().clone()).collect::<Vec<_>>();
    let [total] = &rows(&read)[..] else { panic!("one month") };
    assert_eq!(rows(&kept).len(), 1);
    // Attempts are numbered separately in each process.
    assert_eq!(serde_json::to_value(total).unwrap(), serde_json::to_value(&rows(&kept)[0]).unwrap());
    assert!(total.unconfirmed.count > 0 && !total.wasted.total().is_zero() && total.unpriced_attempts > 0);
    let mut twice = total.clone();
    twice.merge(total);
    assert_eq!((twice.calls, twice.paid, twice.usage), (10, total.paid + total.paid, total.usage + total.usage));
    let json = |months: &Months| {
        let mut text = Vec::new();
        months.write_json(&mut text).unwrap();
        text
    };
    assert_eq!(json(&kept), std::fs::read(&path).unwrap());
    let value: serde_json::Value = serde_json::from_slice(&json(&read)).unwrap();
    assert_eq!(value["rows"][0]["account"]["paid_nano_usd"], total.paid.nanos());
}

#[tokio::test]
async fn months_csv_has_month_and_exact_amounts() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, file) = open(&directory.path().join("costs.json"), &ManualClock::at_unix(LATE_IN_NOVEMBER));
    run(&ledger, "acme", "nightly", 3).await;
    let mut text = Vec::new();
    file.months().write_csv(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let paid = lines[0].iter().position(|name| *name == "paid_nano_usd").unwrap();
    assert_eq!(lines[0][..5], ["month", "kind", "name", "value", "calls"]);
    let job = lines.iter().find(|line| line[1..4] == ["label", "job", "nightly"]).unwrap();
    assert_eq!((job[0], job[paid]), ("2026-11", "60000"));
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
}

#[tokio::test]
async fn ledger_file_reads_former_name_of_completed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("costs.json");
    let (ledger, file) = open(&path, &ManualClock::at_unix(LATE_IN_NOVEMBER));
    run(&ledger, "acme", "nightly", 3).await;
    file.close().unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    let former = written.replace("\"completed\"", "\"answered\"");
    assert_ne!(former, written);
    std::fs::write(&path, former).unwrap();
    let mut read = Vec::new();
    Months::read(&path).unwrap().write_json(&mut read).unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), written);
}

#[tokio::test]
async fn ledger_file_refuses_and_keeps_wrong_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("costs.json");
    let row = |account: &str| {
        format!(
            r#"{{"format":"llm-providers ledger","version":1,"rows":[{{"month":"2026-11","kind":"total","account":{account}}}]}}"#
        )
    };
    let cases = [
        ("", "damaged"),
        ("{\"format\":\"llm-providers ledger\",\"version\":1,\"ro", "damaged"),
        ("{\"format\":\"notes\",\"version\":1,\"rows\":[]}", "its format is \"notes\""),
        ("[]", "damaged"),
        ("{\"format\":\"llm-providers ledger\",\"version\":2,\"lines\":[]}", "reads up to 1"),
        (&row("{\"calls\":1}"), "missing field"),
        (&row("{\"calls\":1,\"later\":2}"), "unknown field"),
        ("SQLite format 3\0", "damaged"),
    ];
    for (text, expected) in cases {
        std::fs::write(&path, text).unwrap();
        let error = LedgerFile::builder(&path).open(&ledger()).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}: {error}");
        assert_eq!(Months::read(&path).unwrap_err(), error);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let missing = directory.path().join("none").join("costs.json");
    assert!(matches!(LedgerFile::builder(missing).open(&ledger()), Err(LedgerFileError::Write { .. })));
}

#[tokio::test]
async fn ledger_file_refuses_second_writer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("costs.json");
    let clock = ManualClock::at_unix(LATE_IN_NOVEMBER);
    let (first, file) = open(&path, &clock);
    let second = LedgerFile::builder(&path).open(&ledger()).unwrap_err();
    assert_eq!(second, LedgerFileError::InUse { path: path.clone() });
    assert!(second.to_string().contains("give each a file of its own"), "{second}");
    run(&first, "acme", "x", 1).await;
    file.flush().unwrap();
    assert_eq!(Months::read(&path).unwrap().of_label("job", "x").calls, 1, "it can be read meanwhile");
    let again = LedgerFile::builder(directory.path().join("other.json")).open(&first);
    assert_eq!(again.unwrap_err(), LedgerFileError::LedgerInUse);
    drop(file);
    let (_, next) = open(&path, &clock);
    assert_eq!(next.months().of_label("job", "x").calls, 1);
}

#[tokio::test]
async fn ledger_file_keeps_what_others_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("costs.json");
    let (ledger, file) = open(&path, &ManualClock::at_unix(LATE_IN_NOVEMBER));
    let backup = std::fs::read(&path).unwrap();
    run(&ledger, "acme", "x", 1).await;
    file.flush().unwrap();
    std::fs::write(&path, &backup).unwrap();
    run(&ledger, "acme", "x", 1).await;
    assert_eq!(file.flush(), Err(LedgerFileError::Changed { path: path.clone() }));
    assert_eq!(std::fs::read(&path).unwrap(), backup);
    std::fs::rename(&path, directory.path().join("other.json")).unwrap();
    file.flush().unwrap();
    assert_eq!(Months::read(&path).unwrap().of_label("job", "x").calls, 2);
}

#[tokio::test]
async fn request_log_has_lines_without_texts() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("requests.jsonl");
    // The rest of a line that a killed process left.
    std::fs::write(&log, "{\"time\":\"20").unwrap();
    let ledger = ledger();
    let builder = LedgerFile::builder(directory.path().join("costs.json"));
    let file = builder.request_log(&log).clock(ManualClock::at_unix(LATE_IN_NOVEMBER)).open(&ledger).unwrap();
    let plans = [
        Plan { request_id: Some("req_1"), ..Plan::default() },
        Plan { head: Head::Fails(Error::new(ErrorKind::Server, "a secret")), ..Plan::default() },
        Plan { head: Head::Hangs, ..Plan::default() },
    ];
    let provider = stack(&ledger, plans);
    for _ in 0..3 {
        let _ = provider.chat(call("acme").with_label("job", "nightly").unwrap()).now_or_never();
    }
    file.flush().unwrap();
    file.flush().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.ends_with('\n') && !text.contains("safe") && !text.contains("yes") && !text.contains("secret"));
    let lines: Vec<serde_json::Value> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes: Vec<&str> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["completed", "failed", "dropped"]);
    assert_eq!(lines[0]["time"], "2026-11-30T23:59:00.000Z");
    assert_eq!((&lines[0]["request_id"], &lines[0]["labels"]["job"]), (&"req_1".into(), &"nightly".into()));
    assert_eq!((&lines[0]["paid_nano_usd"], &lines[0]["input_tokens"]), (&COST.nanos().into(), &10.into()));
}

/// An application's own operation.
#[derive(Clone)]
struct Count;

impl llm_core::Operation for Count {
    type Output = Vec<u64>;

    const NAME: &'static str = "count";

    fn model(&self) -> &str {
        "m"
    }

    fn fingerprint(&self, _: &mut llm_core::layer::Fingerprinter) {}
}

#[tokio::test]
async fn request_log_with_texts_has_no_keys() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("requests.jsonl");
    let ledger = ledger();
    let file = LedgerFile::builder(directory.path().join("costs.json")).request_log_with_texts(&log);
    let file = file.open(&ledger).unwrap();
    let failed = Plan { head: Head::Fails(Error::new(ErrorKind::Server, "down")), ..Plan::default() };
    let provider = stack(&ledger, [Plan::default(), Plan::default(), failed]);
    let call = || call("acme").map(|request| request.user("my key is sk-0123456789abcdef"));
    provider.chat(call()).await.unwrap();
    assert!(provider.chat_stream(call()).await.unwrap().output.count().await > 0);
    provider.chat(call()).await.unwrap_err();
    let own = tower::service_fn(|_: Call<Count>| async { Ok::<_, Error>(Reply::new(vec![1, 2], Receipt::default())) });
    let own = tower::ServiceBuilder::new().layer(ledger.requests()).service(own);
    llm_core::layer::oneshot(own, Call::new("acme", Count)).await.unwrap();
    file.flush().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let request = serde_json::json!([
        {"role": "user", "text": "is it safe?"}, {"role": "user", "text": "my key is [key]"}]);
    let texts: Vec<_> = lines.iter().map(|line| (&line["texts"]["request"], &line["texts"]["response"])).collect();
    assert_eq!(texts[0], (&request, &"yes".into()));
    assert_eq!(texts[1], (&request, &"yes".into()), "of a stream as well");
    assert_eq!(texts[2], (&request, &serde_json::Value::Null));
    assert_eq!(texts[3], (&serde_json::json!([]), &serde_json::json!([1, 2])));
}

#[tokio::test]
async fn ledger_file_thread_flushes_at_close() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("costs.json");
    let ledger = ledger();
    let never = Duration::from_secs(3_600);
    let file = LedgerFile::builder(&path).by_label("job").start(&ledger, never).unwrap();
    run(&ledger, "acme", "nightly", 1).await;
    drop(file);
    assert_eq!(Months::read(&path).unwrap().of_label("job", "nightly").paid, COST);
}

const PATH: &str = "LLM_PROVIDERS_KILLED_AT";

/// Nothing that was flushed is lost, over several processes and kills.
#[test]
fn ledger_file_survives_kill_after_flush() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("costs.json");
    let mut flushed = 0;
    for kill in 1..=5 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["ledger::file::ledger_file_killed_process", "--exact", "--nocapture"]);
        let mut child = command.env(PATH, &path).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut totals = lines.filter_map(|line| line.rsplit_once("flushed ")?.1.parse::<u64>().ok());
        let reported = totals.nth(kill * 3).unwrap();
        let second = LedgerFile::builder(&path).open(&ledger());
        assert!(matches!(second, Err(LedgerFileError::InUse { .. })), "one process has the file");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reported > flushed, "the next process continues");
        let row = Months::read(&path).unwrap().of_label("job", "killed");
        assert!(row.calls >= reported, "{} calls in the file, {reported} were flushed", row.calls);
        assert_eq!(row.paid, times(row.calls as i64));
        flushed = row.calls;
    }
}

/// Not a test of its own: the process that is killed. Its loop ends only with it.
#[tokio::test]
async fn ledger_file_killed_process() {
    let Some(path) = variable(PATH).map(PathBuf::from) else { return };
    let (ledger, file) = open(&path, &ManualClock::at_unix(LATE_IN_NOVEMBER));
    loop {
        run(&ledger, "acme", "killed", 7).await;
        let calls = file.months().of_label("job", "killed").calls;
        file.flush().unwrap();
        println!("flushed {calls}");
        run(&ledger, "acme", "killed", 2).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's edge: it talks to itself in another process")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
