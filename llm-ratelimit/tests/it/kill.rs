//! Tests of processes that share one file and are killed under load, one after the other. The vendor, which they call
//! over HTTP, keeps running and records what each process owes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use llm_core::{Call, ChatRequest, ManualClock, into_provider};
use llm_providers::{OpenAi, prices};
use llm_ratelimit::{Balance, BalancePersister, Limiter, Plans, RateLimitLayer, Store, UpperBound};
use llm_testkit::{Latency, Vendor};
use tower::Layer;

use crate::scratch::Scratch;

const DIRECTORY: &str = "LLM_RATELIMIT_KILLED_IN";
const VENDOR: &str = "LLM_RATELIMIT_KILLED_ASKS";
const NUMBER: &str = "LLM_RATELIMIT_KILLED_AS";
/// Requests without charge by which a process reports its progress.
const BEGIN: &str = "a-flush-begins";
const DONE: &str = "a-flush-is-done";

/// Each process writes at least the charges of its calls to the file: all of them if reservations are recorded before
/// calls are sent, and otherwise those for calls that the vendor had received before the last flush began.
#[tokio::test]
async fn durable_reservations_survive_kill() {
    let (scratch, vendor) = (Scratch::new(), vendor());
    let server = vendor.serve().await;
    let mut added = Vec::new();
    for kill in 0..kills() {
        let mut child = start(scratch.path(), &server.base_url(), kill);
        let enough = vendor.calls() + 4 + kill * 37 % 90;
        let called = vendor.wait_until(|vendor| vendor.calls() >= enough);
        tokio::time::timeout(Duration::from_secs(60), called).await.expect("the process calls the vendor");
        child.kill().expect("it still runs");
        child.wait().expect("it is a child");
        let before: u64 = added.iter().sum();
        added.push(books(scratch.path()).checked_sub(before).expect("nothing leaves the books"));
    }
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
    // The bills are read only now, because the vendor may still receive requests that the killed process had sent.
    let mut lost = [0, 0];
    for (kill, added) in (0..).zip(&added) {
        let (all, durable) = billed(&vendor, kill);
        let least = if records(kill) { all } else { durable };
        assert!(*added >= least, "kill {kill}: {added} in the books, and at least {least} were billed");
        let lost = &mut lost[usize::from(!records(kill))];
        *lost = all.saturating_sub(*added).max(*lost);
    }
    let (billed, shown) = (vendor.total_billed(), added.iter().sum::<u64>());
    let [recorded, written] = lost;
    println!("{} kills: billed {billed}, the books show {shown}", kills());
    println!("at most {recorded} lost at a kill where calls are recorded first, {written} where they are not");
    assert!(billed > 0 && vendor.bills().iter().any(|bill| bill.model == DONE));
}

/// Not a test of its own, but the process that is killed. Its loops end only with it.
#[tokio::test]
async fn durable_reservations_killed_process() {
    let (Some(directory), Some(address)) = (variable(DIRECTORY).map(PathBuf::from), variable(VENDOR)) else { return };
    let store = Store::file(directory.join("books")).unwrap();
    // All calls have the same time, so that no window ends during the test.
    let clock = ManualClock::at_unix(1_794_700_800);
    let plans = Plans::uniform(["$1000000/month"]).unwrap();
    let limiter = Limiter::builder(plans).prices(prices::openai()).clock(clock).build().unwrap();
    let every = Duration::from_millis(5);
    let persister =
        BalancePersister::builder(store).every(every).within(Duration::from_secs(30)).start(&limiter).unwrap();
    let number = variable(NUMBER).unwrap();
    let client = OpenAi::new(number.as_str()).unwrap().base_url(&address).unwrap();
    let layer = RateLimitLayer::new(limiter).estimator(UpperBound::new(1_000));
    let layer = if records(number.parse().unwrap()) { layer.durable_reservations(&persister) } else { layer };
    let (bare, provider) = (into_provider(client.clone()), into_provider(layer.layer(client)));
    let question = |model: &str| Call::new("acme", ChatRequest::new(model).user("go on").max_output_tokens(200));
    let calls = join_all((0..8).map(|_| async {
        loop {
            provider.chat(question("gpt-4o-mini")).await.unwrap();
        }
    }));
    let flushes = async {
        loop {
            bare.chat(question(BEGIN)).await.unwrap();
            persister.flush().await.unwrap();
            bare.chat(question(DONE)).await.unwrap();
        }
    };
    let ((), _): ((), Vec<()>) = futures_util::future::join(flushes, calls).await;
}

fn vendor() -> Vendor {
    let latency = Latency::fixed(Duration::from_millis(2), Duration::ZERO);
    let vendor = Vendor::builder().price("", 150_000_000, 75_000_000, 600_000_000).price(BEGIN, 0, 0, 0);
    vendor.price(DONE, 0, 0, 0).response_tokens(200..=200).latency(latency).recorded_requests(0).build()
}

/// Returns true for every other process, which records reservations before calls.
fn records(kill: u64) -> bool {
    kill.is_multiple_of(2)
}

/// Starts a process whose API key contains its number.
fn start(directory: &Path, vendor: &str, kill: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this is a program"));
    command.args(["kill::durable_reservations_killed_process", "--exact"]);
    command.env(DIRECTORY, directory).env(VENDOR, vendor).env(NUMBER, kill.to_string());
    command.stdout(Stdio::null()).spawn().expect("this program starts once more")
}

/// Returns the charges of a process: in total, and for calls that arrived before the last completed flush began.
fn billed(vendor: &Vendor, kill: u64) -> (u64, u64) {
    let mut bills = vendor.bills();
    bills.retain(|bill| bill.key == kill.to_string());
    bills.sort_unstable_by_key(|bill| bill.call);
    let flushes = bills.iter().filter(|bill| bill.model == DONE).count();
    let begun = bills.iter().filter(|bill| bill.model == BEGIN).map(|bill| bill.call).take(flushes);
    let last = begun.last();
    let sum = |bill: &mut dyn Iterator<Item = &llm_testkit::Bill>| bill.map(|bill| bill.nano_usd).sum();
    (sum(&mut bills.iter()), sum(&mut bills.iter().filter(|bill| last.is_some_and(|last| bill.call < last))))
}

fn books(directory: &Path) -> u64 {
    let store = Store::file(directory.join("books")).expect("the books are whole");
    store.balances_of("acme").expect("the books are whole").iter().map(Balance::used).sum()
}

fn kills() -> u64 {
    if crate::full() { 100 } else { 20 }
}

#[expect(clippy::disallowed_methods, reason = "a test's edge: it talks to itself in another process")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
