//! Public traces through packs of ten: the calls that a cache leaves of the BDD trace, and short texts to classify.
//!
//! `LLM_FULL=1 LLM_TRACES=… cargo test -p examples --test pack_traces -- --nocapture` prints calls, tokens and money of the whole
//! trace. Without `LLM_FULL` it is the trace's first part.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::File,
    io::Read,
    path::PathBuf,
};

use examples::packers::simulated::responder;
use flate2::read::GzDecoder;
use futures_util::future::join_all;
use llm_batch::pack::{Check, PackLayer};
use llm_core::{Call, ChatRequest, layer::oneshot};
use llm_providers::OpenAi;
use llm_testkit::{Vendor, openai};
use serde_json::{Value, json};
use tower::Layer;

/// Prompts of a request.
const SIZE: usize = 10;
/// Assumed output tokens of the test cases for one scenario.
const TEST_CASES: u64 = 450;

/// Returns the lines of a packed file of the directory of traces, without the first.
#[expect(clippy::disallowed_methods, reason = "a test's edge: where the public traces lie")]
fn lines(file: &str) -> Option<Vec<String>> {
    let Some(directory) = std::env::var_os("LLM_TRACES").filter(|path| !path.is_empty()).map(PathBuf::from) else {
        eprintln!("skipped: LLM_TRACES names no directory");
        return None;
    };
    let mut text = String::new();
    let file = File::open(directory.join(file)).expect("the trace is there");
    GzDecoder::new(file).read_to_string(&mut text).expect("the trace is whole");
    Some(text.lines().skip(1).map(str::to_owned).collect())
}

/// Number of misses, and the fewest calls by file, by commit, and by commit and header: of the whole trace, and of its first part.
const WHOLE: [usize; 4] = [32_841, 11_227, 7_243, 11_171];
const PART: [usize; 4] = [1_000, 441, 320, 432];

#[expect(clippy::disallowed_methods, reason = "a test's edge: the size of the test")]
fn expected() -> [usize; 4] {
    if std::env::var("LLM_FULL").is_ok_and(|full| full == "1") { WHOLE } else { PART }
}

/// Scenario that no earlier row had: its tenant, commit and file, its header, and the lengths of header and scenario.
#[derive(Clone, Copy)]
struct Miss {
    place: [u64; 3],
    header: u64,
    chars: [usize; 2],
}

fn misses(lines: &[String]) -> Vec<Miss> {
    let mut seen = HashSet::new();
    let miss = |line: &String| {
        let fields: Vec<u64> = line.split(',').map(|field| field.parse().expect("it is a number")).collect();
        let [_, tenant, _, commit, file, _, full, header, header_chars, chars] = fields[..] else { panic!("{line}") };
        let is_new = seen.insert((tenant, full));
        let chars = [header_chars as usize, chars as usize];
        is_new.then_some(Miss { place: [tenant, commit, file], header, chars })
    };
    lines.iter().filter_map(miss).collect()
}

/// Calls, tokens and price of requests, by the vendor's own bills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sent {
    calls: usize,
    input: u64,
    output: u64,
    nano_usd: u64,
}

/// Sends groups of prompts one after the other, those of a group at once, by packs of a size.
async fn sent(
    groups: Vec<Vec<ChatRequest>>,
    size: usize,
    answer: impl Fn(&str) -> Value + Send + Sync + 'static,
) -> Sent {
    let vendor = Vendor::builder().respond_with(responder(answer)).price("", 150_000_000, 75_000_000, 600_000_000);
    let vendor = vendor.recorded_requests(0).build();
    let client = OpenAi::with_transport("sk-a", vendor.transport()).expect("a client");
    let pack = PackLayer::new(Check::new(0.0, 0.05)).start_size(size).max_tokens(1_000_000).layer(client);
    for group in groups {
        let calls = group.into_iter().map(|request| oneshot(pack.clone(), Call::new("acme", request)));
        assert!(join_all(calls).await.iter().all(Result::is_ok));
    }
    let bills = vendor.bills();
    let sum = |of: fn(&llm_testkit::Bill) -> u64| bills.iter().map(of).sum();
    Sent {
        calls: bills.len(),
        input: sum(|bill| bill.input_tokens),
        output: sum(|bill| bill.output_tokens),
        nano_usd: vendor.total_billed(),
    }
}

/// Prints a row of figures, the price in cents.
fn print(name: &str, sent: Sent) {
    let cents = sent.nano_usd / 10_000_000;
    println!("{name:28} | {:6} calls | {:9} in | {:9} out | {cents:5} cents", sent.calls, sent.input, sent.output);
}

const INSTRUCTION: &str = "You write test cases. For the scenario that follows, list the cases that a careful tester would run: the ordinary \
    ones first, then limits, then wrong input. For each case give a name, the preconditions, the steps and the expected result.";

/// Returns the prompts of each group of scenarios. A header stands before its scenario, or in the frame.
fn groups(misses: &[Miss], key: impl Fn(&Miss) -> [u64; 4], in_frame: bool) -> Vec<Vec<ChatRequest>> {
    let mut groups = BTreeMap::<_, Vec<ChatRequest>>::new();
    for (number, miss) in misses.iter().enumerate() {
        let made = |name: u64, chars: usize| format!("{name:<chars$}");
        let (header, scenario) = (made(miss.header, miss.chars[0]), made(number as u64, miss.chars[1]));
        let request = ChatRequest::new("m").max_output_tokens(TEST_CASES * 2);
        let request = match in_frame {
            true => request.system(format!("{INSTRUCTION}\n{header}")).user(scenario),
            false => request.system(INSTRUCTION).user(format!("{header}\n{scenario}")),
        };
        groups.entry(key(miss)).or_default().push(request);
    }
    groups.into_values().collect()
}

/// Returns the test cases of one scenario, as text of [`TEST_CASES`] tokens.
fn test_cases(scenario: &str) -> Value {
    let body = json!({"messages": [{"role": "user", "content": scenario}]});
    Value::String(openai::response_text(&body, 0, TEST_CASES))
}

#[tokio::test(start_paused = true)]
async fn pack_of_ten_leaves_fewest_bdd_calls() {
    let Some(lines) = lines("bdd_regen_trace.csv.gz") else { return };
    let mut misses = misses(&lines);
    assert_eq!(misses.len(), WHOLE[0]);
    let [size, by_file, by_commit, by_header] = expected();
    misses.truncate(size);
    let commit = |miss: &Miss| [miss.place[0], miss.place[1], 0, 0];
    let file = |miss: &Miss| [miss.place[0], miss.place[1], miss.place[2], 0];
    let header = |miss: &Miss| [miss.place[0], miss.place[1], 0, miss.header];
    let alone = sent(groups(&misses, commit, false), 1, test_cases).await;
    print("one by one", alone);
    assert_eq!(alone.calls, misses.len());
    for (name, groups, least) in [
        ("by file", groups(&misses, file, false), by_file),
        ("by commit", groups(&misses, commit, false), by_commit),
        ("by commit, header in frame", groups(&misses, header, true), by_header),
    ] {
        let packed = sent(groups, SIZE, test_cases).await;
        print(name, packed);
        assert_eq!(packed.calls, least, "{name}: as few as there can be");
    }
}

#[tokio::test(start_paused = true)]
async fn pack_of_banking_texts_takes_fewer_tokens() {
    let Some(lines) = lines("banking77_test.csv.gz") else { return };
    // A quoted text may go over several lines.
    let mut records: Vec<String> = Vec::new();
    for line in lines {
        match records.last_mut().filter(|record| !record.matches('"').count().is_multiple_of(2)) {
            Some(record) => *record += &line,
            None => records.push(line),
        }
    }
    let rows: Vec<_> = records.iter().map(|line| line.rsplit_once(',').expect("there are two columns")).collect();
    let classes: BTreeSet<&str> = rows.iter().map(|(_, class)| *class).collect();
    let classes = classes.into_iter().collect::<Vec<_>>().join(", ");
    let frame = format!("Name the class of the message: {classes}");
    let request = |text: &str| ChatRequest::new("m").system(&*frame).user(text).max_output_tokens(20);
    let requests: Vec<_> = rows.iter().map(|(text, _)| request(text)).collect();
    let known: HashMap<String, Value> = rows.iter().map(|(text, class)| ((*text).into(), json!(class))).collect();
    let answer = move |text: &str| known[text].clone();
    let alone = sent(vec![requests.clone()], 1, answer.clone()).await;
    let packed = sent(vec![requests], SIZE, answer).await;
    print("banking texts, one by one", alone);
    print("banking texts, packed", packed);
    assert_eq!((alone.calls, packed.calls), (rows.len(), rows.len().div_ceil(SIZE)));
    assert!(packed.input * 3 < alone.input && packed.nano_usd < alone.nano_usd);
}
