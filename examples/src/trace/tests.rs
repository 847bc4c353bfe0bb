use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::tree::scratch::Scratch;

const TRACE: &str = "ts,tenant,author,commit,file,key_scenario,key_full,key_header,header_chars,scenario_chars\n\
    100,0,1,1,1,7,20,3,12,17\n\
    100,0,1,1,1,8,21,3,12,25\n\
    200,1,2,2,2,7,22,4,15,17\n";
const TEXTS: &str = "{\"key_scenario\": 7, \"tenant\": 0, \"text\": \"Scenario: a\\nGiven\"}\n";

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).expect("memory");
    packed.finish().expect("memory")
}

fn requests(trace: Trace) -> Vec<Request> {
    trace.into_source().expect("readable").map(|r| r.expect("checked before")).collect()
}

#[test]
fn trace_rows_become_requests_in_order() {
    let scratch = Scratch::new();
    let (rows, texts) = (scratch.file("t.csv.gz", gzip(TRACE)), scratch.file("s.jsonl.gz", gzip(TEXTS)));
    let trace = Trace::open(&rows, &[texts], Key::Scenario).expect("readable");
    assert_eq!((trace.rows(), trace.synthesised()), (3, 1));

    let sent = requests(trace);
    assert_eq!(
        sent[0],
        Request::new("tenant 0", "Scenario: a\nGiven").at(SystemTime::UNIX_EPOCH + Duration::from_secs(100))
    );
    assert_eq!(sent[1].text.chars().count(), 25);
    assert_eq!((&*sent[2].organisation, &sent[2].text), ("tenant 1", &sent[0].text));
}

#[test]
fn trace_full_text_joins_headers_and_scenarios() {
    let scratch = Scratch::new();
    let (rows, texts) = (scratch.file("t.csv", TRACE), scratch.file("s.jsonl", TEXTS));
    let sent = requests(Trace::open(&rows, &[texts], Key::Full).expect("readable"));
    let (header, scenario) = sent[0].text.split_once('\n').expect("two parts");
    assert_eq!((header.len(), scenario), (12, "Scenario: a\nGiven"));
    assert!(sent[1].text.starts_with(header), "one key, one header");
    assert!(!sent[2].text.starts_with(header), "another key, another header");
}

#[test]
fn trace_without_texts_makes_scenarios() {
    let scratch = Scratch::new();
    let trace = Trace::open(&scratch.file("t.csv", TRACE), &[], Key::Scenario).expect("readable");
    assert_eq!(trace.synthesised(), 2);
    let source = trace.into_source().expect("readable");
    assert_eq!(source.calls(), 3);
    assert!(
        source.notes()[0].starts_with("3 rows of t.csv;") && source.notes()[0].contains("2 scenarios"),
        "{:?}",
        source.notes()
    );
}

fn error(trace: impl AsRef<[u8]>, texts: &str) -> String {
    let scratch = Scratch::new();
    let (rows, texts) = (scratch.file("t.csv", trace), scratch.file("s.jsonl", texts));
    Trace::open(&rows, &[texts], Key::Full).expect_err("bad input").to_string()
}

#[test]
fn bad_files_are_told_with_their_line() {
    let ends_with = |message: String, end: &str| assert!(message.ends_with(end), "{message}");
    ends_with(error("ts,tenant\n", TEXTS), "t.csv, line 1: there is no column key_scenario");
    ends_with(error("", TEXTS), "t.csv, line 1: there is no column ts");
    ends_with(error(TRACE.replace(",8,", ",x,"), TEXTS), "t.csv, line 3: key_scenario is no number: \"x\"");
    ends_with(error(format!("{TRACE}300,1\n"), TEXTS), "t.csv, line 5: key_scenario is no number: \"\"");
    ends_with(error(TRACE.replace(",15,", ",99999999999,"), TEXTS), "t.csv, line 4: a length is too great");
    ends_with(error(TRACE.replace("200,", "18446744073709551615,"), TEXTS), "t.csv, line 4: ts is too great");
    ends_with(
        error(TRACE, &format!("{TEXTS}{{\"key_scenario\": 7, \"text\": \"b\"}}\n")),
        "s.jsonl, line 2: scenario 7 has two texts",
    );
    assert!(error(TRACE, "no json\n").contains("s.jsonl, line 1: "));
    ends_with(error(TRACE.replace(",21,", ",20,"), TEXTS), "t.csv, line 3: key_full 20 stands for two texts");
    ends_with(
        error(format!("{TRACE}300,1,2,2,2,7,23,4,15,17\n"), TEXTS),
        "t.csv, line 5: key_full 22 and 23 stand for one text",
    );
    let packed = gzip(TRACE);
    assert!(error(&packed[..packed.len() - 9], TEXTS).contains("t.csv, line "), "a cut file is no shorter trace");
}

#[test]
fn trace_error_names_missing_file() {
    let message = Trace::open(Path::new("no-such-file.csv"), &[], Key::Full).expect_err("missing").to_string();
    assert!(message.starts_with("no-such-file.csv: "), "{message}");
}

/// Returns the directory of public traces, if this machine has one.
#[expect(clippy::disallowed_methods, reason = "a test's edge: where the public traces lie")]
fn public_traces() -> Option<PathBuf> {
    let found = std::env::var_os("LLM_TRACES").map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: LLM_TRACES names no directory");
    }
    found
}

fn public(key: Key, files: &[&str]) -> Option<Trace> {
    let traces = public_traces()?;
    let texts: Vec<_> = files.iter().map(|name| traces.join(name)).collect();
    Some(Trace::open(&traces.join("bdd_regen_trace.csv.gz"), &texts, key).expect("readable"))
}

/// Counts the requests whose text the same organisation sent before. Also checks that texts are equal exactly if keys
/// are.
fn hits(trace: Trace, key_of: impl Fn(&Row) -> u64) -> usize {
    let rows = Rows::open(&trace.path).expect("readable");
    let (mut seen, mut texts, mut hits) = (HashSet::new(), HashMap::new(), 0);
    for (request, row) in trace.into_source().expect("readable").zip(rows) {
        let (request, row) = (request.expect("checked before"), row.expect("checked before"));
        let known = texts.entry((row.tenant, key_of(&row))).or_insert_with(|| request.text.clone());
        assert_eq!(*known, request.text, "one key, one text");
        if !seen.insert((request.organisation, request.text)) {
            hits += 1;
        }
    }
    assert_eq!(texts.len(), seen.len(), "one text, one key");
    hits
}

#[test]
fn trace_full_texts_repeat_like_keys() {
    let Some(trace) = public(Key::Full, &["bdd_scenarios_mit.jsonl.gz"]) else { return };
    assert_eq!((trace.rows(), trace.synthesised()), (100_630, 352));
    assert_eq!(hits(trace, |row| row.key_full), 67_789);
}

#[test]
fn trace_scenario_texts_repeat_like_keys() {
    let Some(trace) = public(Key::Scenario, &["bdd_scenarios_mit.jsonl.gz", "bdd_scenarios_es_mpl.jsonl.gz"]) else {
        return;
    };
    assert_eq!((trace.rows(), trace.synthesised()), (100_630, 0));
    assert_eq!(hits(trace, |row| row.key_scenario), 81_198);
}
