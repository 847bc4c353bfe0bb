//! Tests of accounts to which a later version has written as well, as during a rolling deploy.

use llm_ratelimit::{OutagePolicy, Reason};
use llm_testkit::redis::RedisServer;

use super::{accounts, ask, build, level, open, settled, used};

const LIMITS: [&str; 3] = ["1000 tokens/month", "10 concurrent", "100/minute burst 100"];

/// Runs a script on the only hash of accounts.
fn run(server: &RedisServer, script: &str) -> String {
    let hash = server.command(&["KEYS", "*:limits"]).expect("it answers");
    server.command(&["EVAL", script, "1", &hash]).expect("it answers")
}

/// Adds data that a later version with the same layout version may add: a field, a kind of counter, and more numbers
/// behind each value.
const ADD: &str = "
    local fields = redis.call('HGETALL', KEYS[1])
    local unknown
    for n = 1, #fields, 2 do
        if string.sub(fields[n], 1, 1) == '[' then
            redis.call('HSET', KEYS[1], fields[n], fields[n + 1] .. ' 7 later')
            unknown = string.gsub(fields[n], ',\"[^\"]*\"]$', ',\"sparks\"]')
        end
    end
    redis.call('HSET', KEYS[1], unknown, 'q12 later', 'zeta', 'later', '#', redis.call('HGET', KEYS[1], '#') .. ' later')
    return 'ok'";

/// Counts the values that contain the additions.
const COUNT: &str = "
    local fields, found = redis.call('HGETALL', KEYS[1]), 0
    for n = 2, #fields, 2 do
        if string.sub(fields[n], -5) == 'later' then found = found + 1 end
    end
    return tostring(found)";

#[tokio::test]
async fn versions_share_accounts_and_carry_unknown_through() {
    let server = RedisServer::spawn();
    let limiter = open(&server, &LIMITS).await;
    limiter.reserve(&ask("a").tokens(100, 0)).await.unwrap().settle(used(60));
    settled(&limiter).await;
    assert_eq!(run(&server, ADD), "ok");
    assert_eq!(run(&server, COUNT), "6");
    assert_eq!(level(&limiter, "a").await, (60, 0));
    let running = limiter.reserve(&ask("a").tokens(50, 0)).await.unwrap();
    limiter.reserve(&ask("a").tokens(100, 0)).await.unwrap().settle(used(10));
    settled(&limiter).await;
    assert_eq!(level(&limiter, "a").await, (70, 50));
    assert_eq!(run(&server, COUNT), "6", "after decisions and settlements");
    let balances = limiter.balances().await;
    limiter.reconcile(balances.into_iter().map(|balance| balance.with_spent(400))).await.unwrap();
    assert_eq!((level(&limiter, "a").await, &*run(&server, COUNT)), ((400, 50), "6"), "after totals");
    limiter.forget("a").await;
    assert_eq!((level(&limiter, "a").await, &*run(&server, COUNT)), ((0, 50), "6"), "its reservation is open");
    running.settle(used(50));
}

#[tokio::test]
async fn versions_with_later_layout_are_refused() {
    let server = RedisServer::spawn();
    let accounts = accounts(&server.url()).on_outage(|_| OutagePolicy::Refuse);
    let limiter = build(accounts, &LIMITS, |builder| builder).await;
    limiter.reserve(&ask("a").tokens(100, 0)).await.unwrap().settle(used(60));
    settled(&limiter).await;
    let running = limiter.reserve(&ask("a").tokens(2, 0)).await.unwrap();
    run(&server, "return redis.call('HSET', KEYS[1], '#', '2 0 0')");
    let before = run(&server, "return table.concat(redis.call('HGETALL', KEYS[1]), '|')");
    assert_eq!(limiter.reserve(&ask("a").tokens(1, 0)).await.unwrap_err().reason(), Reason::Unavailable);
    running.settle(used(2));
    settled(&limiter).await;
    let error = limiter.reconcile(limiter.balances().await).await.unwrap_err();
    assert!(error.to_string().contains("update this process"), "{error}");
    assert_eq!(run(&server, "return table.concat(redis.call('HGETALL', KEYS[1]), '|')"), before);
}
