//! Tests of a server that answers with errors: limits follow their policies, no call hangs, and afterwards the accounts
//! agree with the usage.

use std::{io::Write, net::TcpStream, time::Duration};

use llm_ratelimit::{OutagePolicy, Reason, Settlement, llm_redis::Redis};
use llm_testkit::{Trace, Traces, redis::RedisServer};
use tokio::time::timeout;

use super::{TIMEOUT, accounts_with, ask, build, client_builder, level, settled, until, used};

/// State of the server in which all writes, or all calls, fail.
struct State {
    name: &'static str,
    begin: &'static [&'static [&'static str]],
    end: &'static [&'static [&'static str]],
    /// Text that the cause of a refusal contains.
    cause: &'static str,
}

const STATES: [State; 6] = [
    State {
        name: "full",
        begin: &[&["CONFIG", "SET", "maxmemory", "1"]],
        end: &[&["CONFIG", "SET", "maxmemory", "0"]],
        cause: "memory is full",
    },
    State {
        name: "read-only",
        begin: &[&["REPLICAOF", "127.0.0.1", "1"]],
        end: &[&["REPLICAOF", "NO", "ONE"]],
        cause: "read-only replica",
    },
    State {
        name: "wrong password",
        begin: &[&["ACL", "SETUSER", "shop", "resetpass", ">other"], &["CLIENT", "KILL", "USER", "shop"]],
        end: &[&["ACL", "SETUSER", "shop", "resetpass", ">right"]],
        cause: "user and password",
    },
    State {
        name: "no permission",
        begin: &[&["ACL", "SETUSER", "shop", "-hset"]],
        end: &[&["ACL", "SETUSER", "shop", "+hset"]],
        cause: "has no permission",
    },
    State { name: "busy with a script", begin: &[], end: &[&["SCRIPT", "KILL"]], cause: "BUSY" },
    State {
        name: "loading",
        begin: &[&["DEBUG", "POPULATE", "2000", "key", "2048"], &["CONFIG", "SET", "key-load-delay", "20000"]],
        end: &[&["CONFIG", "SET", "key-load-delay", "0"]],
        cause: "LOADING",
    },
];

/// Returns a client that reconnects soon.
fn impatient(server: &RedisServer) -> Redis {
    let url = format!("redis://shop:right@127.0.0.1:{}", server.port());
    let client = client_builder(&url).probe_backoff(Duration::from_millis(2), Duration::from_millis(10));
    client.spawn().expect("the settings are right")
}

/// Keeps the server busy with a command for as long as the returned connection lives. Waits until the server answers
/// other commands with an error.
async fn occupy(server: &RedisServer, command: &str, error: &str) -> TcpStream {
    let mut connection = TcpStream::connect(("127.0.0.1", server.port())).expect("the server is there");
    connection.write_all(command.as_bytes()).expect("it is sent");
    until(|| async { server.command(&["GET", "x"]).is_err_and(|text| text.contains(error)) }).await;
    connection
}

fn run(server: &RedisServer, commands: &[&[&str]]) {
    for command in commands {
        server.command(command).expect("it answers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn server_errors_keep_policies_and_ledger() {
    let server = RedisServer::builder().line("busy-reply-threshold 1").line("user shop on >right ~* &* +@all");
    let server = server.line("enable-debug-command yes").line("loading-process-events-interval-bytes 1024");
    let server = server.line("rdbcompression no").spawn();
    for State { name, begin, end, cause } in &STATES {
        let open = |limit: &'static str, policy: Option<OutagePolicy>| {
            let accounts = accounts_with(impatient(&server));
            let accounts = match policy {
                Some(policy) => accounts.on_outage(move |_| policy),
                None => accounts,
            };
            async move { build(accounts, &[limit], |builder| builder).await }
        };
        let budget = open("100 tokens/month", None).await;
        let rate = open("10 requests/day burst 10", None).await;
        let allowed = open("10 tokens/week", Some(OutagePolicy::Allow)).await;
        let demand = ask(name).tokens(1, 0);
        let call = async |limiter: &llm_ratelimit::Limiter| {
            let outcome = timeout(TIMEOUT, limiter.reserve(&demand)).await.expect("no call hangs");
            outcome.map(|reservation| reservation.settle(used(1))).map_err(|refusal| refusal.reason())
        };
        let held = budget.reserve(&ask(name).tokens(10, 0)).await.expect("there is room");
        run(&server, begin);
        let _busy = match *name {
            "busy with a script" => Some(occupy(&server, "EVAL \"while true do end\" 0\r\n", cause).await),
            "loading" => Some(occupy(&server, "DEBUG RELOAD\r\n", cause).await),
            _ => None,
        };
        held.settle(used(4));
        let mut passed = [0; 2];
        for _ in 0..20 {
            assert_eq!(call(&budget).await, Err(Reason::Unavailable), "{name}");
            for (limiter, passed) in [&rate, &allowed].into_iter().zip(&mut passed) {
                *passed += u64::from(call(limiter).await.is_ok());
            }
        }
        assert_eq!(passed, [5, 20], "{name}: half of the rate, and all");
        let refusal = budget.reserve(&demand).await.expect_err("a budget refuses");
        assert!(refusal.to_string().contains(cause), "{name}: {refusal}");
        run(&server, end);
        until(|| async { call(&budget).await.is_ok() }).await;
        for (limiter, spent) in [(&budget, 5), (&rate, 5), (&allowed, 20)] {
            settled(limiter).await;
            assert_eq!(level(limiter, name).await, (spent, 0), "{name}");
        }
        println!("{name}: {:?}", budget.stats().redis);
    }
}

#[tokio::test]
async fn server_errors_delay_no_other_account() {
    let server = RedisServer::spawn();
    let limits = ["10000 tokens/month"];
    let (limiter, other) = (super::open(&server, &limits).await, super::open(&server, &limits).await);
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(limiter.reserve(&ask("damaged").tokens(1, 0)).await.expect("there is room"));
    }
    let account = server.command(&["KEYS", "*:limits"]).expect("it answers");
    run(&server, &[&["SET", &account, "no hash"]]);
    held.into_iter().for_each(|reservation| reservation.settle(Settlement::Unknown));
    limiter.reserve(&ask("sound").tokens(9, 0)).await.expect("there is room").settle(used(3));
    until(|| async { level(&other, "sound").await == (3, 0) }).await;
    assert!(limiter.stats().redis.pending_settlements >= 200, "they are tried again");
    run(&server, &[&["DEL", &account]]);
    settled(&limiter).await;
}

#[tokio::test]
async fn server_refusal_is_logged_once_a_minute() {
    for State { name, begin, cause, .. } in &STATES {
        // The client logs outages itself.
        if !["full", "read-only", "no permission"].contains(name) {
            continue;
        }
        let traces = Traces::record();
        let server = RedisServer::builder().line("user shop on >right ~* &* +@all").spawn();
        let limiter = build(accounts_with(impatient(&server)), &["100 tokens/month", "9/minute"], |b| b).await;
        run(&server, begin);
        for _ in 0..3 {
            let refusal = limiter.reserve(&ask("a").tokens(1, 0)).await.expect_err("nothing can be written");
            assert_eq!(refusal.reason(), Reason::Unavailable);
        }
        let warns = |trace: &Trace| trace.fields.iter().any(|(_, value)| value.starts_with("redis refuses"));
        let warnings = traces.take().into_iter().filter(warns).collect::<Vec<_>>();
        assert!(warnings.len() == 1 && format!("{warnings:?}").contains(cause), "{name}: {warnings:?}");
    }
}
