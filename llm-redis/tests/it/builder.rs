//! URLs and settings: an error names the part that is wrong.

use std::time::Duration;

use llm_redis::{Command, ErrorKind, Redis, RedisBuilder};
use llm_testkit::redis::RedisServer;

fn spawn_error(builder: RedisBuilder) -> (ErrorKind, String) {
    let error = builder.spawn().expect_err("the settings are invalid");
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn longest_timeouts_are_accepted() {
    let (server, longest) = (RedisServer::spawn(), Duration::MAX);
    for builder in [
        Redis::builder(server.url()).call_timeout(longest),
        Redis::builder(server.url()).connect_timeout(longest).probe_timeout(longest),
        Redis::builder(server.url()).probe_backoff(longest, longest),
    ] {
        let redis = builder.spawn().expect("the settings are valid");
        let key = redis.key_space().tag("p").key("k");
        redis.run(Command::set(&key, "v")).await.expect("the server replies");
        redis.run_with_timeout(longest, Command::get(&key)).await.expect("the server replies");
        redis.close().await;
    }
    // An outage begins the pause.
    let redis = Redis::builder("redis://127.0.0.1:1").probe_backoff(longest, longest).spawn().expect("valid");
    assert!(redis.time().await.is_err_and(|error| error.is_outage()));
}

#[tokio::test]
async fn url_error_names_part_without_text() {
    for (url, part) in [
        ("", "scheme"),
        ("localhost:6379", "scheme"),
        ("http://s3cret@localhost", "scheme"),
        ("redis://", "host"),
        ("redis://u:s3cret@", "host"),
        ("redis://:s3cret@host:0", "port"),
        ("redis://:s3cret@host:99999", "port"),
        ("redis://:s3cret@host:s3cret", "port"),
        ("redis://[::1", "host"),
        ("redis://[::1]x", "port"),
        ("redis://u:s3cret@a,b", "host"),
        ("redis://s3cret@host", "password"),
        ("redis://:%ff@host", "password"),
        ("redis://%ff:p@host", "user"),
        ("redis://host/s3cret", "path"),
        ("redis://host/-1", "path"),
        ("redis://host/?password=s3cret", "query"),
        ("redis://host/#s3cret", "fragment"),
        ("redis://:s3cret/x@host", "password"),
        ("redis://:x?s3cret=1@host", "password"),
        ("redis://:x#s3cret@host", "password"),
    ] {
        let (kind, text) = spawn_error(Redis::builder(url));
        assert_eq!(kind, ErrorKind::InvalidUrl, "{url}");
        assert!(text.contains(part) && !text.contains("s3cret"), "{url}: {text}");
    }
}

#[cfg(feature = "cluster")]
#[tokio::test]
async fn url_of_cluster_refuses_database() {
    assert!(spawn_error(Redis::builder("redis+cluster://a:1,b:2/3")).1.contains("path"));
    Redis::builder("redis+cluster://u:p@a:1,b:2/").spawn().unwrap();
}

#[tokio::test]
async fn url_error_names_missing_feature() {
    let built = [cfg!(feature = "tls"), cfg!(feature = "cluster")];
    for (built, url, feature) in [(built[0], "rediss://h", "`tls`"), (built[1], "redis+cluster://h", "`cluster`")] {
        let made = Redis::builder(url).spawn();
        assert_eq!(made.is_ok(), built, "{url}");
        assert!(made.err().is_none_or(|error| error.to_string().contains(feature)));
    }
}

#[tokio::test]
async fn invalid_settings_are_refused() {
    let plain = || Redis::builder("redis://localhost?protocol=resp3");
    plain().spawn().unwrap();
    let zero = Duration::ZERO;
    for builder in [
        plain().call_timeout(zero),
        plain().probe_timeout(zero),
        plain().connect_timeout(zero),
        plain().probe_backoff(zero, zero),
        plain().max_in_flight(0),
        plain().max_channels(0),
        plain().channel_capacity(usize::MAX),
        plain().failure_threshold(0),
        plain().prefix("a:b"),
        plain().root_certificates("pem"),
    ] {
        assert_eq!(spawn_error(builder).0, ErrorKind::InvalidSetting);
    }
}

#[test]
fn spawn_outside_runtime_is_refused() {
    let (kind, text) = spawn_error(Redis::builder("redis://localhost"));
    assert!(kind == ErrorKind::InvalidSetting && text.contains("runtime"), "{text}");
}
