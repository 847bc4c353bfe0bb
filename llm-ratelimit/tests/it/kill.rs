//! A process that is killed under load, again and again, over one file.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use llm_core::{ManualClock, Usage, Usd};
use llm_ratelimit::{Actual, Balance, Bookkeeper, Demand, Limiter, Plans, Store};

use crate::scratch::Scratch;

const DIRECTORY: &str = "LLM_RATELIMIT_KILLED_IN";
const FLUSHES: &str = "LLM_RATELIMIT_KILLED_FLUSHES";
/// What a call reserves, and the most that it is billed.
const MOST: u64 = 1_000;

/// After each kill the books show at least what the vendor had billed: all of it where calls flush before they are sent,
/// otherwise all that was billed before the last flush.
#[tokio::test]
async fn the_books_show_what_was_billed_however_often_the_process_is_killed() {
    let scratch = Scratch::new();
    let (mut shown, mut lost, mut billed) = (0, 0, 0);
    for kill in 0..kills() {
        let flushes = kill % 2 == 0;
        let bills = run_and_kill(scratch.path(), flushes, Duration::from_millis(3 + kill * 37 % 90)).await;
        let before = shown;
        shown = books(scratch.path());
        let least = before + if flushes { bills.all } else { bills.durable };
        assert!(shown >= least, "kill {kill}: the books show {shown}, and at least {least} were billed");
        lost = lost.max((before + bills.all).saturating_sub(shown));
        billed += bills.all;
    }
    println!("{} kills: billed {billed}, the books show {shown}, at most {lost} lost at a kill", kills());
    assert!(billed > 0 && shown > 0);
}

/// Not a test of its own: the process that is killed. Its loop ends only with it.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(directory) = variable(DIRECTORY).map(PathBuf::from) else { return };
    let flushes = variable(FLUSHES).is_some();
    let limiter = limiter();
    let store = Store::file(directory.join("books")).unwrap();
    let every = Duration::from_millis(5);
    let bookkeeper = Bookkeeper::builder(store).every(every).start(&limiter).unwrap();
    let bills = std::sync::Mutex::new((OpenOptions::new().append(true).open(directory.join("bills")).unwrap(), 0));
    let call = async |number: u64| {
        for round in 0.. {
            let cost = Usd::from_nanos(i64::try_from(MOST).unwrap());
            let mut reservation = limiter.try_reserve(&Demand::new("acme", "m").cost(cost)).unwrap();
            if flushes {
                bookkeeper.flush().await.unwrap();
            }
            reservation.mark_sent();
            let bill = (number * 7_919 + round * 104_729) % MOST + 1;
            {
                let mut bills = bills.lock().unwrap();
                bills.1 += bill;
                bills.0.write_all(format!("billed {bill}\n").as_bytes()).unwrap();
            }
            tokio::task::yield_now().await;
            let cost = Some(Usd::from_nanos(i64::try_from(bill).unwrap()));
            // Every fifth answer never says what it used.
            if round % 5 != 0 {
                reservation.settle(Actual::Used { usage: Usage::default(), cost });
            }
        }
    };
    let mark = async {
        loop {
            let durable = bills.lock().unwrap().1;
            bookkeeper.flush().await.unwrap();
            bills.lock().unwrap().0.write_all(format!("durable {durable}\n").as_bytes()).unwrap();
        }
    };
    futures_util::future::join(join_all((0..8).map(call)), mark).await;
}

/// What one process had billed before it was killed, in all and before its last flush.
#[derive(Default)]
struct Bills {
    all: u64,
    durable: u64,
}

async fn run_and_kill(directory: &Path, flushes: bool, after: Duration) -> Bills {
    let bills = directory.join("bills");
    std::fs::write(&bills, "").expect("a file can be written");
    let mut command = Command::new(std::env::current_exe().expect("this is a program"));
    command.args(["kill::the_process_that_is_killed", "--exact"]).env(DIRECTORY, directory);
    if flushes {
        command.env(FLUSHES, "1");
    }
    let mut child = command.stdout(Stdio::null()).spawn().expect("this program starts once more");
    while std::fs::metadata(&bills).expect("it was written").len() == 0 {
        assert!(child.try_wait().expect("it is a child").is_none(), "the process ended by itself");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(after).await;
    child.kill().expect("it still runs");
    child.wait().expect("it is a child");
    read(&bills)
}

fn read(path: &Path) -> Bills {
    let mut text = String::new();
    std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).expect("the bills can be read");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().fold(Bills::default(), |mut bills, line| {
        match line.split_once(' ').expect("a word and an amount") {
            ("billed", amount) => bills.all += amount.parse::<u64>().expect("an amount"),
            (_, amount) => bills.durable = amount.parse().expect("an amount"),
        }
        bills
    })
}

fn books(directory: &Path) -> u64 {
    let store = Store::file(directory.join("books")).expect("the books are whole");
    store.balances_of("acme").expect("the books are whole").iter().map(Balance::used).sum()
}

fn limiter() -> Limiter {
    // One instant, so that no window ends while this runs.
    Limiter::builder(Plans::each(["$1000000/month"]).expect("a limit"))
        .clock(ManualClock::at_unix(1_794_700_800))
        .build()
}

fn kills() -> u64 {
    if crate::full() { 100 } else { 20 }
}

#[expect(clippy::disallowed_methods, reason = "a test's edge: it talks to itself in another process")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
