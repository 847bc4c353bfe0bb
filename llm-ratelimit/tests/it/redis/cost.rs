//! The server's time of a decision, beside that of the same commands without the arithmetic. It is printed, and decides no
//! test.

use std::time::Duration;

use llm_ratelimit::{
    Limiter,
    llm_redis::{Redis, Script},
};
use llm_testkit::redis::RedisServer;

use super::{accounts, ask, build, client};

/// The commands of a decision by so many counters, with values of the same size.
fn commands(counters: usize) -> Script {
    let fields: Vec<String> = (0..counters).map(|n| format!("ARGV[{}]", n + 3)).collect();
    let writes: Vec<String> = fields.iter().map(|field| format!("{field}, ARGV[2]")).collect();
    Script::new(&format!(
        "local id = 'r' .. ARGV[1]
         redis.call('TIME')
         local values = redis.call('HMGET', KEYS[1], '#', id, {})
         redis.call('ZADD', KEYS[2], '99', id)
         redis.call('HSET', KEYS[1], id, ARGV[2], {})
         return values",
        fields.join(", "),
        writes.join(", ")
    ))
}

/// Returns the microseconds that a script took on the server, on average.
fn average(server: &RedisServer) -> f64 {
    let stats = server.command(&["INFO", "commandstats"]).expect("it answers");
    let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).expect("scripts have run");
    let (_, rest) = line.split_once("usec_per_call=").expect("it has an average");
    rest.split(',').next().and_then(|number| number.parse().ok()).expect("a number")
}

async fn decisions(server: &RedisServer, limiter: &Limiter, calls: usize) -> f64 {
    let mut open = Vec::new();
    for n in 0..calls {
        if n == calls / 10 {
            server.command(&["CONFIG", "RESETSTAT"]).expect("it answers");
        }
        open.push(limiter.reserve(&ask("a").tokens(1, 0)).await.expect("there is room"));
    }
    average(server)
}

async fn floor(server: &RedisServer, redis: &Redis, script: &Script, counters: usize, calls: usize) -> f64 {
    let tag = redis.key_space().tag("floor");
    for n in 0..calls {
        if n == calls / 10 {
            server.command(&["CONFIG", "RESETSTAT"]).expect("it answers");
        }
        let call = script.with_keys(&[&tag.key("accounts"), &tag.key("ends")]);
        let call = call.arg(format!("{n:016}")).arg("b".repeat(49));
        let call = (0..counters).fold(call, |call, n| call.arg(format!("[\"a counter of a tenant\", {n}]")));
        redis.run(call).await.expect("it runs");
    }
    average(server)
}

#[tokio::test]
async fn decision_cost_is_printed_beside_its_commands() {
    let calls = if crate::full() { 20_000 } else { 200 };
    for limits in [&["1000000 tokens/minute"][..], &["1000000 tokens/minute", "1000000 tokens/month", "1000000/hour"]] {
        let server = RedisServer::spawn();
        // Renewals of many reservations would count, too.
        let accounts = accounts(&server.url()).lease(Duration::from_secs(3_600));
        let (limiter, redis) = (build(accounts, limits, |builder| builder).await, client(&server.url()));
        let ours = decisions(&server, &limiter, calls).await;
        let commands = floor(&server, &redis, &commands(limits.len()), limits.len(), calls).await;
        let empty = floor(&server, &redis, &Script::new("return 0"), limits.len(), calls).await;
        println!(
            "{} limits: {ours:.1} us a decision, {:.2} times its commands ({commands:.1}), {:.2} times an empty script \
             ({empty:.1})",
            limits.len(),
            ours / commands,
            ours / empty,
        );
    }
}
