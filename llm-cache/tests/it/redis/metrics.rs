//! Tests of the connection's metrics next to those of the cache.

#![cfg(feature = "metrics")]

use llm_testkit::redis::RedisServer;
use metrics_util::debugging::DebuggingRecorder;

use super::{open, put};

#[test]
fn metrics_include_those_of_redis() {
    let (server, recorder) = (RedisServer::spawn(), DebuggingRecorder::new());
    let snapshots = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cache = open(&server, |builder| builder);
            put(&cache, 1).await;
            cache.close().await.unwrap();
        });
    });
    let recorded = snapshots.snapshot().into_vec();
    let names: Vec<_> = recorded.iter().map(|(key, ..)| key.key().name()).collect();
    for wanted in ["llm_redis_up", "llm_redis_calls_total", "llm_cache_misses_total"] {
        assert!(names.contains(&wanted), "{wanted} is not among {names:?}");
    }
}
