//! The conformance suite on each kind of Redis. All cases run at the same time on one server.

use llm_testkit::redis::RedisServer;

use crate::conformance::{TestStore, over_redis};

#[tokio::test(flavor = "multi_thread")]
async fn redis_conforms() {
    let server = RedisServer::spawn();
    over_redis(async |name| TestStore::redis(&server.url(), None, name).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_without_memory_conforms() {
    let server = RedisServer::builder().password("secret").spawn();
    over_redis(async |name| TestStore::redis(&server.url(), None, name).await.without_memory()).await;
}

#[cfg(feature = "redis-tls")]
#[tokio::test(flavor = "multi_thread")]
async fn redis_tls_conforms() {
    let server = RedisServer::builder().tls().spawn();
    over_redis(async |name| TestStore::redis(&server.url(), server.certificate(), name).await).await;
}

#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_conforms() {
    let cluster = llm_testkit::redis::RedisCluster::spawn();
    over_redis(async |name| TestStore::redis(&cluster.url(), None, name).await).await;
}

#[cfg(all(feature = "redis-cluster", feature = "redis-tls"))]
#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_with_tls_conforms() {
    let cluster = llm_testkit::redis::RedisCluster::spawn_with_tls();
    over_redis(async |name| TestStore::redis(&cluster.url(), cluster.certificate(), name).await).await;
}
