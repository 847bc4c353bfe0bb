//! Tests of a budget that several processes share. One process is killed, and the server restarts.

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
use llm_ratelimit::{
    Demand, Limit, Limiter, Plans, Reason, RedisAccounts, RedisAccountsBuilder, Settlement, llm_redis::Redis,
};
use llm_testkit::redis::RedisServer;

use super::{
    TIMEOUT,
    child::{Child, ready},
    client, client_builder, until,
};

/// Amount that each call reserves, in nano-dollars.
const RESERVED: u64 = 1_000_000;
const LEASE: Duration = Duration::from_millis(300);
/// Number of calls that a process makes at the same time.
const TOGETHER: u64 = 8;
const PROCESSES: usize = 4;

/// Way in which the processes share their limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sharing {
    /// Each decision asks the server.
    Exact,
    /// A tenant's limits are decided from chunks.
    Chunks,
    /// Limits of all tenants are decided from chunks.
    GlobalChunks,
}

impl Sharing {
    /// Parses the name that is passed to a child process.
    pub(super) fn of(name: &str) -> Self {
        let all = [Self::Exact, Self::Chunks, Self::GlobalChunks];
        all.into_iter().find(|sharing| format!("{sharing:?}") == name).expect("it is one of them")
    }

    /// Opens a limiter with slots, and a budget for `calls` calls.
    async fn open(self, accounts: RedisAccountsBuilder) -> Limiter {
        let budget = Usd::from_nanos(i64::try_from(budget() * RESERVED).expect("it is small"));
        let limits = [format!("{budget}/month"), "100 concurrent".to_owned()];
        let plans = match self {
            Self::Exact | Self::Chunks => Plans::uniform(limits.iter().map(String::as_str)).expect("they are right"),
            Self::GlobalChunks => limits.iter().fold(Plans::default(), |plans, limit| {
                plans.limit(limit.parse::<Limit>().expect("it is right")).expect("it is new")
            }),
        };
        let accounts = accounts.open().await.expect("the server is there");
        let prices = llm_core::price::PriceTable::default();
        Limiter::builder(plans).prices(prices).redis(accounts).build().expect("the plans are right")
    }
}

fn accounts(client: Redis) -> RedisAccountsBuilder {
    let instances = NonZeroU32::new(4).expect("it is not zero");
    RedisAccounts::builder(client, instances).lease(LEASE).decision_timeout(TIMEOUT)
}

/// Makes the calls of one process. Prints the usage of each call before it is settled.
pub(super) async fn spend(redis: &str, calls: u64, seed: u64, sharing: Sharing) {
    let client = client_builder(redis).probe_backoff(Duration::from_millis(2), Duration::from_millis(10));
    let accounts = accounts(client.spawn().expect("the settings are right"));
    let limiter = sharing.open(accounts.chunked(move |_, _| sharing != Sharing::Exact)).await;
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
                // Waits until the server is back.
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            Err(_) => continue,
        };
        tokio::task::yield_now().await;
        if random >> 60 < 4 {
            // The call is cancelled before it is sent.
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
/// the usage of the killed process's calls, and that of the others.
fn run(url: &str, sharing: Sharing, mut restart: impl FnMut()) -> [u64; 2] {
    let (says, said) = mpsc::channel();
    let calls = budget() * 10 / PROCESSES as u64;
    let start = |n: usize| Child::spawn(&format!("spend {url} {calls} {n} {sharing:?}"), n, says.clone());
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
                restart();
            }
        }
    }
    println!("{sharing:?}: {number} calls were sent");
    spent
}

/// Two loops that keep the processors busy until they are dropped; none at the default sizes.
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

/// Returns the money that reservations and leases hold, and the number of processes that own them.
fn held(server: &RedisServer) -> [u64; 2] {
    const SCRIPT: &str = "
        local fields, processes, held, of = redis.call('HGETALL', KEYS[1]), {}, 0, 0
        for n = 1, #fields, 2 do
            if string.sub(fields[n], 1, 1) == 'r' and string.sub(fields[n + 1], 1, 1) ~= 'x' then
                local process, record, at = string.sub(fields[n], 2, 9), fields[n + 1], 10
                while at <= #record do
                    local name, taken, _
                    name, taken, _, _, at = struct.unpack('<I2c0ddd', record, at)
                    if string.sub(redis.call('HGET', KEYS[1], name), 1, 1) == 'w' and taken > 0 then
                        held, of = held + taken, of + (processes[process] and 0 or 1)
                        processes[process] = true
                    end
                end
            end
        end
        return string.format('%d %d', held, of)";
    let accounts = server.command(&["KEYS", "*:limits"]).expect("it answers");
    let counts = accounts.lines().map(|hash| server.command(&["EVAL", SCRIPT, "1", hash]).expect("it answers"));
    counts.fold([0, 0], |[held, of], counts| {
        let mut numbers = counts.split(' ').map(|number| number.parse::<u64>().expect("a number"));
        let mut next = || numbers.next().expect("two numbers");
        [held + next(), of + next()]
    })
}

/// After the processes have ended, checks that all usage is counted, and that nothing else is.
async fn check(url: &str, sharing: Sharing, [of_killed, of_others]: [u64; 2], held: impl Fn() -> [u64; 2]) {
    // This limiter decides without chunks, so that it leases nothing.
    let limiter = sharing.open(accounts(client(url)).chunked(|_, _| false)).await;
    let statuses = || async { limiter.usage("acme").await.iter().collect::<Vec<_>>() };
    until(|| async {
        // The next decision removes the leases that have ended.
        drop(limiter.reserve(&Demand::new("acme", "m")).await);
        statuses().await[1].reserved == 0
    })
    .await;
    super::settled(&limiter).await;
    let money = statuses().await.swap_remove(0);
    let (budget, spent, counted) = (budget() * RESERVED, of_killed + of_others, money.used + money.reserved);
    println!("budget {budget}, spent {spent}, counted {counted}, overspend {}", counted.saturating_sub(budget));
    assert!(spent <= budget && counted <= budget, "{spent} and {counted} of {budget}");
    assert!(counted >= spent, "{spent} was spent and only {counted} is counted");
    // All reserved amounts belong to the killed process. The rest is the usage of calls, to the nano-dollar.
    let [held, of] = held();
    println!("{} is held by {of} process, which was killed", money.reserved);
    assert_eq!(money.reserved, held);
    assert!(of <= 1, "{of} processes hold something");
    let settled_by_killed = money.used.checked_sub(of_others).expect("all that the others used is counted");
    let unconfirmed = of_killed.checked_sub(settled_by_killed).expect("nothing is counted that no call used");
    println!("it settled {settled_by_killed}, and {unconfirmed} of what it holds is known to be spent");
    assert!(unconfirmed <= money.reserved, "{unconfirmed} was spent without a reservation");
    assert!(spent > budget / 3, "the budget was used");
}

async fn killed_and_restarted(sharing: Sharing) {
    let mut server = RedisServer::builder().line("appendonly yes").line("appendfsync always").spawn();
    let _busy = BusyLoops::begin();
    let url = server.url();
    let spent = run(&url, sharing, || server.restart());
    check(&url, sharing, spent, || held(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn processes_killed_and_restarted_do_not_overspend() {
    killed_and_restarted(Sharing::Exact).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn processes_with_chunks_do_not_overspend() {
    killed_and_restarted(Sharing::Chunks).await;
}

/// Processes share a global budget in chunks on a Cluster. The node of the budget restarts.
pub(super) async fn killed_on_cluster(cluster: &mut llm_testkit::redis::RedisCluster) {
    let _busy = BusyLoops::begin();
    let url = cluster.url();
    let spent = run(&url, Sharing::GlobalChunks, || {
        let has_budget = |node: &RedisServer| held(node)[0] > 0;
        let node = cluster.nodes().iter().position(has_budget).expect("a node has the budget");
        cluster.nodes_mut()[node].restart();
        cluster.wait_until_healthy();
    });
    let held = || cluster.nodes().iter().map(held).fold([0, 0], |sum, node| [sum[0] + node[0], sum[1] + node[1]]);
    check(&url, Sharing::GlobalChunks, spent, held).await;
}
