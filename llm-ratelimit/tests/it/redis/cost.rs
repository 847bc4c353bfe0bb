//! The server's time of a decision, beside that of the same commands without the arithmetic. It is printed, and decides no
//! test.

use std::time::Duration;

use futures_util::future::join_all;
use llm_ratelimit::{
    Limiter, Reservation,
    llm_redis::{Redis, Script},
};
use llm_testkit::redis::RedisServer;

use super::{accounts, ask, build, client};

/// Number of calls that are sent at the same time. The server runs them one after another: if it waited for its client, the
/// client's work in between would slow the same commands down, most where it is largest.
const TOGETHER: usize = 64;

/// Sizes of what decisions have stored in the only hash of accounts: those of the field `#` and of a reservation, and of each
/// counter its field and the size of its value.
struct Stored {
    head: usize,
    reservation: usize,
    counters: Vec<(String, usize)>,
}

const SIZES: &str = "
    local fields, sizes = redis.call('HGETALL', KEYS[1]), {0, 0}
    for n = 1, #fields, 2 do
        if fields[n] == '#' then
            sizes[1] = #fields[n + 1]
        elseif string.sub(fields[n], 1, 1) == 'r' then
            sizes[2] = #fields[n + 1]
        elseif string.sub(fields[n], 1, 1) == '[' then
            sizes[#sizes + 1] = #fields[n + 1] .. ' ' .. fields[n]
        end
    end
    return table.concat(sizes, '\\n')";

impl Stored {
    fn read(server: &RedisServer) -> Self {
        let hash = server.command(&["KEYS", "*:limits"]).expect("it answers");
        let sizes = server.command(&["EVAL", SIZES, "1", &hash]).expect("it answers");
        let mut lines = sizes.lines();
        let number = |text: &str| text.parse().expect("a number");
        let mut size = || lines.next().map(number).expect("there is a size");
        let (head, reservation) = (size(), size());
        let counters = lines.filter_map(|line| line.split_once(' '));
        let counters = counters.map(|(size, field)| (field.to_owned(), number(size))).collect();
        Self { head, reservation, counters }
    }

    /// Returns the commands of a decision. Their arguments and replies are as large, and there is nothing beside them.
    fn commands(&self) -> Script {
        let numbers = 0..self.counters.len();
        let fields: Vec<String> = numbers.map(|n| format!("ARGV[{}]", 4 + 2 * n)).collect();
        let writes: Vec<String> = (4..4 + 2 * self.counters.len()).map(|n| format!("ARGV[{n}]")).collect();
        Script::new(&format!(
            "local id = 'r' .. ARGV[1]
             redis.call('TIME')
             local values = redis.call('HMGET', KEYS[1], '#', id, {})
             redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
             redis.call('HSET', KEYS[1], id, ARGV[3], {})
             return values",
            fields.join(", "),
            writes.join(", ")
        ))
    }
}

/// Returns the microseconds that scripts of some calls took on the server, on average.
async fn cost(server: &RedisServer, calls: impl Future<Output = ()>) -> f64 {
    server.command(&["CONFIG", "RESETSTAT"]).expect("it answers");
    calls.await;
    let stats = server.command(&["INFO", "commandstats"]).expect("it answers");
    let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).expect("scripts have run");
    let (_, rest) = line.split_once("usec_per_call=").expect("it has an average");
    rest.split(',').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

async fn decide(limiter: &Limiter, open: &mut Vec<Reservation>) {
    let demand = ask("a").tokens(1, 0);
    let decisions = join_all((0..TOGETHER).map(|_| limiter.reserve(&demand))).await;
    open.extend(decisions.into_iter().map(|reservation| reservation.expect("there is room")));
}

async fn run(redis: &Redis, script: &Script, stored: &Stored, round: usize) {
    let tag = redis.key_space().tag("floor");
    let run = |n: usize| {
        let call = script.with_keys(&[&tag.key("accounts"), &tag.key("ends")]);
        let call = call.arg(format!("{n:016}")).arg(1_790_000_000_000_000 + n).arg("l".repeat(stored.reservation));
        let counters = stored.counters.iter();
        redis.run(counters.fold(call, |call, (field, size)| call.arg(&**field).arg("b".repeat(*size))))
    };
    for reply in join_all((round * TOGETHER..(round + 1) * TOGETHER).map(run)).await {
        reply.expect("it runs");
    }
}

#[tokio::test]
async fn decision_cost_is_printed_beside_its_commands() {
    let rounds = if crate::full() { 400 } else { 5 };
    for limits in [&["1000000 tokens/minute"][..], &["1000000 tokens/minute", "1000000 tokens/month", "1000000/hour"]] {
        let server = RedisServer::spawn();
        // Renewals of many reservations would count, too.
        let accounts = accounts(&server.url()).lease(Duration::from_secs(3_600));
        let (limiter, redis) = (build(accounts, limits, |builder| builder).await, client(&server.url()));
        let (mut open, mut costs) = (Vec::new(), [const { Vec::new() }; 3]);
        decide(&limiter, &mut open).await;
        let stored = Stored::read(&server);
        assert_eq!(stored.counters.len(), limits.len());
        let (commands, empty) = (stored.commands(), Script::new("return 0"));
        let head = Script::new("return redis.call('HSET', KEYS[1], '#', ARGV[1])");
        let head = head.with_keys(&[&redis.key_space().tag("floor").key("accounts")]).arg("1".repeat(stored.head));
        redis.run(head).await.expect("it runs");
        run(&redis, &commands, &stored, 0).await;
        run(&redis, &empty, &stored, 0).await;
        // In turn, so that what else the machine does reaches all of them alike.
        for round in 1..=rounds {
            costs[0].push(cost(&server, decide(&limiter, &mut open)).await);
            costs[1].push(cost(&server, run(&redis, &commands, &stored, round)).await);
            costs[2].push(cost(&server, run(&redis, &empty, &stored, round)).await);
        }
        let [ours, commands, empty] = costs.map(median);
        println!(
            "{} limits: {ours:.1} us a decision, {:.2} times its commands ({commands:.1}), {:.2} times an empty script \
             ({empty:.1})",
            limits.len(),
            ours / commands,
            ours / empty,
        );
    }
}
