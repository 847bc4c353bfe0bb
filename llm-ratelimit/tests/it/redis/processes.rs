//! A budget that several processes share, of which one is killed, on a server that restarts.

use std::{
    io::Write,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use futures_util::future::join_all;
use llm_core::{Usage, Usd};
use llm_ratelimit::{Demand, Limiter, Reason, RedisAccounts, Settlement, llm_redis::Redis};
use llm_testkit::redis::RedisServer;

use super::{
    TIMEOUT, build,
    child::{Child, ready},
    open, until,
};

/// Amount that a call reserves, in nano-dollars.
const RESERVED: u64 = 1_000_000;
const LEASE: Duration = Duration::from_millis(300);
/// Calls that a process makes at the same time.
const TOGETHER: u64 = 8;
const PROCESSES: usize = 4;

/// The limits: a budget of so many calls' worth, and slots.
fn limits(budget: u64) -> [String; 2] {
    [
        format!("{}/month", Usd::from_nanos(i64::try_from(budget * RESERVED).expect("it is small"))),
        "100 concurrent".to_owned(),
    ]
}

/// The calls of one process. It says what each used before it is settled.
pub(super) async fn spend(redis: &str, calls: u64, seed: u64, is_chunked: bool) {
    let client = Redis::builder(redis).call_timeout(TIMEOUT).probe_timeout(TIMEOUT);
    let client = client
        .probe_backoff(Duration::from_millis(2), Duration::from_millis(10))
        .spawn()
        .expect("the settings are right");
    let accounts = RedisAccounts::builder(client, NonZeroU32::new(4).expect("it is not zero"))
        .lease(LEASE)
        .chunked(move |_, _| is_chunked)
        .decision_timeout(TIMEOUT);
    let limits = limits(budget());
    let limiter = build(accounts, &limits.each_ref().map(String::as_str), |builder| builder).await;
    ready();
    join_all((0..TOGETHER).map(|n| spend_in_turn(&limiter, calls / TOGETHER, seed * TOGETHER + n))).await;
    limiter.close().await.expect("there is a runtime");
    let stats = limiter.stats().redis;
    println!("child done {} {}", stats.dropped_settlements, stats.refused_in_outage);
}

async fn spend_in_turn(limiter: &Limiter, calls: u64, mut random: u64) {
    for _ in 0..calls {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let demand = Demand::new("acme", "m").cost(Usd::from_nanos(i64::try_from(RESERVED).expect("it is small")));
        let reservation = match limiter.reserve(&demand).await {
            Ok(reservation) => reservation,
            Err(refusal) if refusal.reason() == Reason::Unavailable => {
                // Until the server is back.
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            Err(_) => continue,
        };
        tokio::task::yield_now().await;
        if random >> 60 < 4 {
            // Cancelled before it was sent.
            continue;
        }
        let nanos = RESERVED / 2 + (random >> 33) % (RESERVED / 2);
        let mut out = std::io::stdout().lock();
        writeln!(out, "child spent {nanos}").and_then(|()| out.flush()).expect("the parent reads");
        drop(out);
        let cost = Some(Usd::from_nanos(i64::try_from(nanos).expect("it is small")));
        reservation.settle(Settlement::Used { usage: Usage::default(), cost });
    }
}

fn budget() -> u64 {
    if crate::full() { 1_000 } else { 100 }
}

/// Runs the processes. Kills the first after a third of the budget, and restarts the server after two thirds. Returns
/// what the calls of the killed process used, and those of the others.
fn run(server: &mut RedisServer, is_chunked: bool) -> [u64; 2] {
    let (says, said) = mpsc::channel();
    let (url, calls) = (server.url(), budget() * 10 / PROCESSES as u64);
    let start = |n: usize| Child::spawn(&format!("spend {url} {calls} {n} {is_chunked}"), n, says.clone());
    let mut children: Vec<_> = (0..PROCESSES).map(start).collect();
    let next = || said.recv_timeout(3 * TIMEOUT).expect("a process says something");
    for _ in 0..PROCESSES {
        assert_eq!(next().1.as_deref(), Some("ready"));
    }
    children.iter_mut().for_each(Child::go);
    let (mut spent, mut number, mut ended) = ([0, 0], 0, 0);
    while ended < PROCESSES {
        let (process, line) = next();
        let Some(line) = line else {
            ended += 1;
            continue;
        };
        if let Some(nanos) = line.strip_prefix("spent ") {
            spent[usize::from(process > 0)] += nanos.parse::<u64>().expect("a number");
            number += 1;
            if number == budget() / 3 {
                children[0].kill();
            }
            if number == budget() * 2 / 3 {
                server.kill();
                server.restart();
            }
        }
    }
    println!("{number} calls were sent");
    spent
}

/// Two loops that keep the processors busy until they are dropped; none in the default sizes.
struct BusyLoops(Arc<AtomicBool>);

impl BusyLoops {
    fn begin() -> Self {
        let ends = Arc::new(AtomicBool::new(!crate::full()));
        for _ in 0..2 {
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || while !ends.load(Relaxed) {});
        }
        Self(ends)
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Returns the number of reservations that are not settled, and that of the processes that hold them.
fn unsettled(server: &RedisServer) -> (u64, u64) {
    const SCRIPT: &str = "
        local fields, processes, open, of = redis.call('HGETALL', KEYS[1]), {}, 0, 0
        for n = 1, #fields, 2 do
            if string.sub(fields[n], 1, 1) == 'r' and fields[n + 1] ~= 'x' then
                local process = string.sub(fields[n], 2, 9)
                open, of = open + 1, of + (processes[process] and 0 or 1)
                processes[process] = true
            end
        end
        return open .. ' ' .. of";
    let accounts = server.command(&["KEYS", "*:limits"]).expect("it answers");
    let counts = server.command(&["EVAL", SCRIPT, "1", &accounts]).expect("it answers");
    let (open, of) = counts.split_once(' ').expect("two numbers");
    (open.parse().expect("a number"), of.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn processes_killed_and_restarted_do_not_overspend() {
    let mut server = RedisServer::builder().line("appendonly yes").line("appendfsync always").spawn();
    let _busy = BusyLoops::begin();
    let [of_killed, of_others] = run(&mut server, false);
    let spent = of_killed + of_others;
    let (budget, limits) = (budget() * RESERVED, limits(budget()));
    let limiter = open(&server, &limits.each_ref().map(String::as_str)).await;
    let statuses = || async { limiter.usage("acme").await.iter().collect::<Vec<_>>() };
    let slots = || async { statuses().await[1].reserved };
    until(|| async {
        // The next decision finds the leases that have ended.
        drop(limiter.reserve(&Demand::new("acme", "m")).await);
        slots().await == 0
    })
    .await;
    let money = statuses().await.swap_remove(0);
    let counted = money.used + money.reserved;
    println!("budget {budget}, spent {spent}, counted {counted}, overspend {}", counted.saturating_sub(budget));
    assert!(spent <= budget && counted <= budget, "{spent} and {counted} of {budget}");
    assert!(counted >= spent, "{spent} was spent and only {counted} is counted");
    // What is reserved is of the killed process alone. All else is what calls used, to the nano-dollar.
    let (open, of) = unsettled(&server);
    println!("{} is held by {open} calls that nobody settled, of {of} process", money.reserved);
    assert_eq!(money.reserved, open * RESERVED);
    assert!(of <= 1, "{of} processes left reservations");
    let settled_by_killed = money.used.checked_sub(of_others).expect("all that the others used is counted");
    let unconfirmed = of_killed.checked_sub(settled_by_killed).expect("nothing is counted that no call used");
    assert!(unconfirmed <= money.reserved, "{unconfirmed} was spent without a reservation");
    assert!(spent > budget / 2, "the budget was used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn processes_with_chunks_do_not_overspend() {
    let mut server = RedisServer::builder().line("appendonly yes").line("appendfsync always").spawn();
    let _busy = BusyLoops::begin();
    let spent: u64 = run(&mut server, true).iter().sum();
    let (budget, limits) = (budget() * RESERVED, limits(budget()));
    let limiter = open(&server, &limits.each_ref().map(String::as_str)).await;
    let slots = || async { limiter.usage("acme").await.iter().nth(1).expect("it has slots").reserved };
    until(|| async {
        drop(limiter.reserve(&Demand::new("acme", "m")).await);
        slots().await == 0
    })
    .await;
    let money = limiter.usage("acme").await.iter().next().expect("it has a budget");
    let counted = money.used + money.reserved;
    println!(
        "in chunks: budget {budget}, spent {spent}, counted {counted}, overspend {}",
        counted.saturating_sub(budget)
    );
    println!("{} is held by chunks that nobody reported", money.reserved);
    assert!(spent <= budget && counted <= budget, "{spent} and {counted} of {budget}");
    assert!(counted >= spent, "{spent} was spent and only {counted} is counted");
    assert!(spent > budget / 3, "the budget was used");
}
