//! Tests of limits on a Cluster of three nodes. All cases share one Cluster, because it takes seconds to form.

use std::{num::NonZeroU32, time::Duration};

use futures_util::future::join_all;
use llm_ratelimit::{Limit, Limiter, Plans, Reason, RedisAccounts, Settlement};
use llm_testkit::redis::{RedisCluster, RedisServer};

use super::{ask, chunks, client, client_builder, level, processes, settled, until, used};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn cluster_shares_limits_through_kills() {
    let mut cluster = RedisCluster::spawn();
    for node in cluster.nodes() {
        let set = [["appendonly", "yes"], ["appendfsync", "always"], ["cluster-require-full-coverage", "no"]];
        for [name, value] in set {
            node.command(&["CONFIG", "SET", name, value]).expect("it answers");
        }
        // It is the same after a restart.
        node.command(&["CONFIG", "REWRITE"]).expect("it answers");
    }
    limits_of_several_scopes(&cluster).await;
    flush(&cluster);
    global_budget_in_chunks(&cluster).await;
    flush(&cluster);
    processes::killed_on_cluster(&mut cluster).await;
    flush(&cluster);
    node_down_delays_no_other(&mut cluster).await;
}

/// Removes the accounts of a test case.
fn flush(cluster: &RedisCluster) {
    for node in cluster.nodes() {
        node.command(&["FLUSHALL"]).expect("it answers");
    }
}

/// If one scope refuses a call, the amount taken in another one is returned.
async fn limits_of_several_scopes(cluster: &RedisCluster) {
    let plans = || {
        let plans = Plans::uniform(["50 tokens/month"]).expect("it is right");
        plans.limit("120 tokens/month".parse::<Limit>().expect("it is right")).expect("it is new")
    };
    let open = || async {
        let accounts = RedisAccounts::builder(client(&cluster.url()), NonZeroU32::MIN);
        Limiter::builder(plans()).redis(accounts.open().await.expect("it is there")).build().expect("it is right")
    };
    let (one, other) = (open().await, open().await);
    let mut granted = 0;
    for n in 0..60 {
        let limiter = if n % 2 == 0 { &one } else { &other };
        let demand = ask(["a", "b", "c", "d"][n % 4]).tokens(10, 0);
        if let Ok(reservation) = limiter.reserve(&demand).await {
            reservation.settle(used(10));
            granted += 10;
        }
    }
    assert_eq!(granted, 120, "what the limit of all refused went back to the tenant's");
    settled(&one).await;
    settled(&other).await;
    let mut all = 0;
    for tenant in ["a", "b", "c", "d"] {
        let statuses = one.usage(tenant).await;
        let levels: Vec<_> = statuses.iter().map(|status| (status.used, status.reserved)).collect();
        assert_eq!(levels[0], (120, 0));
        all += levels[1].0;
    }
    assert_eq!(all, 120);
}

/// One budget for all tenants, decided from chunks, and one for each tenant.
async fn global_budget_in_chunks(cluster: &RedisCluster) {
    let limits = ["200 tokens/month", "50 tokens/month per tenant"];
    let url = cluster.url();
    let limiters = join_all((0..4).map(|_| chunks::open(&url, &limits))).await;
    let calls = (0..4).map(|n| {
        let limiter = &limiters[n];
        async move {
            let mut granted = 0;
            for call in 0..60 {
                if let Ok(reservation) = limiter.reserve(&ask(&format!("t{}", (n + call) % 6)).tokens(2, 0)).await {
                    reservation.settle(used(1));
                    granted += 1;
                }
            }
            granted
        }
    });
    let granted: u64 = join_all(calls).await.iter().sum();
    for limiter in &limiters {
        limiter.close().await.expect("there is a runtime");
    }
    let other = chunks::open(&cluster.url(), &limits).await;
    assert_eq!(level(&other, "a").await, (granted, 0), "every token is counted once");
    assert!((150..=200).contains(&granted), "{granted} of 200");
}

/// Opens limits for each tenant, and one for all together, with short timeouts so that an outage is noticed soon.
async fn open_impatient(cluster: &RedisCluster) -> Limiter {
    let soon = Duration::from_millis(200);
    let client = client_builder(&cluster.url()).call_timeout(soon).probe_timeout(soon);
    let client = client.probe_backoff(soon / 20, soon / 4).spawn().expect("right");
    let accounts = RedisAccounts::builder(client, NonZeroU32::MIN).decision_timeout(soon);
    let plans = Plans::uniform(["10000 input tokens/month"]).expect("it is right");
    let plans = plans.limit("100000 input tokens/month".parse::<Limit>().expect("it is right")).expect("it is new");
    Limiter::builder(plans).redis(accounts.open().await.expect("it is there")).build().expect("it is right")
}

/// Returns the slot of the account whose name contains this text.
fn slot_of(cluster: &RedisCluster, account: &str) -> u16 {
    let hash = |node: &RedisServer| {
        let hashes = node.command(&["KEYS", "*:limits"]).expect("it answers");
        let has_it = |hash: &&str| node.command(&["HKEYS", hash]).expect("it answers").contains(account);
        let hash = hashes.lines().find(has_it)?;
        Some(node.command(&["CLUSTER", "KEYSLOT", hash]).expect("it answers"))
    };
    let slot = cluster.nodes().iter().find_map(hash).expect("a node has it");
    slot.parse().expect("a number")
}

/// Returns the node of a slot; `None` if the client's breaker for the slot covers slots of two nodes.
fn node_of(slot: u16) -> Option<usize> {
    match slot / 1_024 {
        5 | 10 => None,
        sixteenth => Some(usize::from(sixteenth / 5).min(2)),
    }
}

/// Settlements that wait for one node delay no tenant on other nodes, and no chunk.
async fn node_down_delays_no_other(cluster: &mut RedisCluster) {
    let (limiter, observer) = (open_impatient(cluster).await, open_impatient(cluster).await);
    let reserve = async |tenant: &str| limiter.reserve(&ask(tenant).tokens(1, 0)).await;
    let mut tenants = Vec::new();
    for n in 0..30 {
        let tenant = format!("node {n}");
        drop(reserve(&tenant).await.expect("there is room"));
        tenants.extend(node_of(slot_of(cluster, &tenant)).map(|node| (node, tenant)));
    }
    let of_all = node_of(slot_of(cluster, ",[],false,")).expect("it is on one node");
    let find = |is_it: &dyn Fn(usize) -> bool| tenants.iter().find(|(node, _)| is_it(*node)).expect("they are spread");
    let ((node, down), (_, up)) = (find(&|node| node != of_all), find(&|node| node == of_all));
    settled(&limiter).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(reserve(down).await.expect("there is room"));
    }
    cluster.nodes_mut()[*node].kill();
    held.into_iter().for_each(|reservation| reservation.settle(Settlement::Unknown));
    until(|| async { reserve(down).await.is_err_and(|refusal| refusal.reason() == Reason::Unavailable) }).await;
    // The client may first have to learn which nodes are left.
    for _ in 0..100 {
        until(|| async { reserve(up).await.map(|reservation| reservation.settle(used(1))).is_ok() }).await;
    }
    until(|| async { tenant_level(&observer, up).await == (100, 0) }).await;
    assert!(limiter.stats().redis.pending_settlements >= 100, "they wait for the node");
    cluster.nodes_mut()[*node].restart();
    cluster.wait_until_healthy();
    settled(&limiter).await;
    until(|| async { tenant_level(&observer, down).await == (100, 0) }).await;
}

/// Returns the used and reserved amounts of a tenant's own limit.
async fn tenant_level(limiter: &Limiter, tenant: &str) -> (u64, u64) {
    let status = limiter.usage(tenant).await.iter().nth(1).expect("it has two limits");
    (status.used, status.reserved)
}
