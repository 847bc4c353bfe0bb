//! A Cluster of three nodes. It takes two seconds to form, so one test has all cases.

use std::time::Duration;

use futures_util::future::join_all;
use llm_redis::{Command, ErrorKind, Event, Key, Notification, Redis, Script};
use llm_testkit::redis::RedisCluster;
use tokio::time::{Instant, timeout};

use crate::{ALLOWANCE, answered, builder, open, wait_for};

/// Returns keys whose slots are on the first and on the last node.
fn keys(redis: &Redis) -> [Key; 2] {
    // Slots 3,443 and 12,182.
    [redis.key_space().tag("user1000").key("k"), redis.key_space().tag("foo").key("k")]
}

#[tokio::test]
async fn cluster_serves_calls_through_every_failure() {
    let mut cluster = RedisCluster::spawn();
    let redis = open(&cluster.url());
    commands_and_pipelines(&redis).await;
    scripts_after_a_flush_on_every_node(&cluster, &redis).await;
    one_node_in_the_url_suffices(&cluster).await;
    a_plain_url_names_the_cluster_scheme(&cluster).await;
    a_slot_that_moves_is_followed(&cluster, &redis).await;
    messages_reach_every_process(&cluster, &redis).await;
    a_stalled_node_affects_only_its_slots(&cluster).await;
    a_killed_node_affects_only_its_slots(&mut cluster).await;
    a_killed_node_comes_back(&mut cluster, &redis).await;
    a_replica_takes_over(&mut cluster, &redis).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn cluster_with_tls_serves_known_roots_only() {
    let cluster = RedisCluster::spawn_with_tls();
    let redis = builder(&cluster.url()).root_certificates(cluster.certificate().unwrap()).spawn().unwrap();
    commands_and_pipelines(&redis).await;
    let other = open(&cluster.url());
    let error = other.time().await.unwrap_err();
    assert!(error.is_outage() && error.to_string().contains("certificate"), "{error}");
}

async fn commands_and_pipelines(redis: &Redis) {
    let all: Vec<_> = (0u32..64).map(|n| redis.key_space().hashed_tag(&[&n.to_le_bytes()]).key("k")).collect();
    for reply in redis.run_pipeline(all.iter().map(|key| Command::set(key, key.as_str())).collect()).await {
        reply.unwrap();
    }
    for (key, reply) in all.iter().zip(redis.run_pipeline(all.iter().map(Command::get).collect()).await) {
        assert_eq!(reply.unwrap().into_bytes().unwrap().unwrap(), key.as_str());
    }
    assert!(redis.time().await.is_ok());
    let [a, b] = keys(redis);
    let error = redis.run(Script::new("return 1").with_keys(&[&a, &b])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CrossSlot);
}

async fn scripts_after_a_flush_on_every_node(cluster: &RedisCluster, redis: &Redis) {
    let script = Script::new("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])");
    for round in 0..2 {
        for key in keys(redis) {
            let reply = redis.run(script.with_keys(&[&key]).arg(round as u32)).await.unwrap();
            assert_eq!(reply.into_int().unwrap(), round);
        }
        for node in cluster.nodes() {
            node.command(&["SCRIPT", "FLUSH"]).unwrap();
        }
    }
    assert_eq!(redis.stats().scripts_loaded, 4);
}

async fn one_node_in_the_url_suffices(cluster: &RedisCluster) {
    let redis = open(&format!("redis+cluster://127.0.0.1:{}", cluster.nodes()[1].port()));
    for key in keys(&redis) {
        redis.run(Command::set(&key, "v")).await.unwrap();
    }
}

async fn a_plain_url_names_the_cluster_scheme(cluster: &RedisCluster) {
    let redis = open(&cluster.nodes()[0].url());
    let [_, elsewhere] = keys(&redis);
    let error = redis.run(Command::get(&elsewhere)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::ClusterRedirect && error.to_string().contains("redis+cluster://"), "{error}");
}

/// Moves a slot from the first node to the second, as an operator does.
async fn a_slot_that_moves_is_followed(cluster: &RedisCluster, redis: &Redis) {
    let [key, _] = keys(redis);
    redis.run(Command::del(&key)).await.unwrap();
    let script = Script::new("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])");
    let (from, to) = (&cluster.nodes()[0], &cluster.nodes()[1]);
    let [from_id, to_id] = [from, to].map(|node| node.command(&["CLUSTER", "MYID"]).unwrap());
    let slot = from.command(&["CLUSTER", "KEYSLOT", key.as_str()]).unwrap();
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).unwrap();
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).unwrap();
    assert_eq!(
        redis.run(script.with_keys(&[&key]).arg("moved")).await.unwrap().into_bytes().unwrap().unwrap(),
        "moved"
    );
    for node in [to, from] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).unwrap();
    }
    assert_eq!(redis.run(Command::get(&key)).await.unwrap().into_bytes().unwrap().unwrap(), "moved");
    assert_eq!(redis.stats().timed_out, 0);
}

async fn messages_reach_every_process(cluster: &RedisCluster, redis: &Redis) {
    let other = open(&cluster.url());
    for channel in keys(redis) {
        let mut notifications = other.subscribe(&channel).unwrap();
        let mut next = async || timeout(Duration::from_secs(20), notifications.next()).await.unwrap().unwrap();
        assert_eq!(next().await, Notification::Recheck);
        redis.run(Command::publish(&channel, "hello")).await.unwrap();
        assert_eq!(next().await, Notification::Message("hello".into()));
        // The connection breaks, and the client subscribes again.
        for node in cluster.nodes() {
            node.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
        }
        assert_eq!(next().await, Notification::Recheck);
        redis.run(Command::publish(&channel, "again")).await.unwrap();
        assert_eq!(next().await, Notification::Message("again".into()));
    }
}

async fn a_stalled_node_affects_only_its_slots(cluster: &RedisCluster) {
    let bound = Duration::from_millis(100);
    let redis = builder(&cluster.url()).call_timeout(bound).probe_timeout(bound * 2).spawn().unwrap();
    let [first, last] = keys(&redis);
    let mut events = redis.events();
    for key in [&first, &last] {
        answered(&redis, key).await;
    }
    cluster.nodes()[2].pause();
    loop {
        let start = Instant::now();
        let error = redis.run(Command::get(&last)).await.unwrap_err();
        assert!(start.elapsed() < bound + ALLOWANCE, "{error} after {:?}", start.elapsed());
        if error.kind() == ErrorKind::Unavailable {
            break;
        }
    }
    assert!(redis.health().outage.is_some());
    cluster.nodes()[2].resume();
    wait_for(&mut events, |event| matches!(event, Event::Recovered)).await;
    cluster.wait_until_healthy();
    for key in [&first, &last] {
        answered(&redis, key).await;
    }
}

/// Calls to a killed node are refused, and those to others are answered, however many are in flight.
async fn a_killed_node_affects_only_its_slots(cluster: &mut RedisCluster) {
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).unwrap();
    }
    let bound = Duration::from_millis(200);
    let redis = builder(&cluster.url()).call_timeout(bound).probe_timeout(bound);
    let redis = redis.probe_backoff(Duration::from_millis(10), Duration::from_millis(50)).spawn().unwrap();
    let [first, last] = keys(&redis);
    for key in [&first, &last] {
        answered(&redis, key).await;
    }
    cluster.nodes_mut()[2].kill();
    let burst = || async { join_all((0..200).map(|_| redis.run(Command::get(&last)))).await };
    let settles = async {
        let mut in_a_row = 0;
        while in_a_row < 20 {
            assert!(burst().await.iter().all(Result::is_err));
            in_a_row = if redis.run(Command::get(&first)).await.is_ok() { in_a_row + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let start = Instant::now();
    timeout(Duration::from_secs(20), settles).await.expect("the other nodes serve");
    println!("one node killed with 200 calls in flight: the others serve after {:?}", start.elapsed());
    cluster.nodes_mut()[2].restart();
    cluster.wait_until_healthy();
    timeout(Duration::from_secs(20), answered(&redis, &last)).await.unwrap();
}

async fn a_killed_node_comes_back(cluster: &mut RedisCluster, redis: &Redis) {
    cluster.nodes_mut()[2].kill();
    let [_, last] = keys(redis);
    let error = redis.run(Command::get(&last)).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    cluster.nodes_mut()[2].restart();
    cluster.wait_until_healthy();
    timeout(Duration::from_secs(20), answered(redis, &last)).await.unwrap();
}

async fn a_replica_takes_over(cluster: &mut RedisCluster, redis: &Redis) {
    // Its slot has moved to the second node, and the replica was brought up to date.
    let [key, last] = keys(redis);
    let replica = cluster.replica_of(1);
    cluster.nodes_mut()[1].kill();
    replica.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]).unwrap();
    let killed = Instant::now();
    let found = async {
        loop {
            if let Ok(found) = redis.run(Command::get(&key)).await {
                return found.into_bytes().unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(timeout(Duration::from_secs(20), found).await.unwrap().unwrap(), "moved");
    println!("answered {:?} after the replica took over", killed.elapsed());
    timeout(Duration::from_secs(20), answered(redis, &last)).await.unwrap();
}
