//! Errors: each refusal of a server has its kind and says what to do.

use llm_redis::{Command, Error, ErrorKind, Redis, Script};
use llm_testkit::{Traces, redis::RedisServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{builder, open};

async fn set(redis: &Redis) -> Error {
    let key = redis.key_space().tag("p").key("k");
    redis.run(Command::set(&key, "a value")).await.unwrap_err()
}

/// Returns the error that opened the breaker.
fn cause(error: &Error) -> Error {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    source.cloned().unwrap_or_else(|| error.clone())
}

#[tokio::test]
async fn error_names_wrong_or_missing_password() {
    let server = RedisServer::builder().password("right").spawn();
    let port = server.port();
    for url in [format!("redis://:wrong@127.0.0.1:{port}"), format!("redis://127.0.0.1:{port}")] {
        let error = set(&open(&url)).await;
        assert_eq!((cause(&error).kind(), error.is_outage()), (ErrorKind::Auth, true), "{url}: {error}");
    }
    let open_server = RedisServer::spawn();
    let error = set(&open(&format!("redis://u:p@127.0.0.1:{}", open_server.port()))).await;
    assert_eq!(cause(&error).kind(), ErrorKind::Auth, "{error}");
    assert!(open(&server.url()).time().await.is_ok());
}

#[tokio::test]
async fn error_names_unknown_or_forbidden_command() {
    let server = RedisServer::builder().line("rename-command SET \"\"").line("rename-command EVALSHA \"\"").spawn();
    let redis = open(&server.url());
    let error = set(&redis).await;
    assert_eq!(error.kind(), ErrorKind::MissingCommand);
    assert!(error.to_string().starts_with("SET: ") && !error.to_string().contains("a value"), "{error}");
    let key = redis.key_space().tag("p").key("k");
    let error = redis.run(Script::new("return 1").with_keys(&[&key])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingCommand, "{error}");

    let server = RedisServer::builder().line("user default on nopass ~* &* +@all -set").spawn();
    let redis = open(&server.url());
    let error = set(&redis).await;
    assert!(error.kind() == ErrorKind::NotPermitted && !error.is_outage(), "{error}");
    let script = Script::new("redis.call('SET', KEYS[1], 'v')").with_keys(&[&key]);
    let error = redis.run(script).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotPermitted && error.to_string().contains("docs/fleet.md"), "{error}");
}

#[tokio::test]
async fn refusals_are_logged_once_a_minute() {
    let line = "user default on nopass ~* &* +@all -set -del";
    let server = RedisServer::builder().line(line).spawn();
    let traces = Traces::record();
    let redis = open(&server.url());
    let key = redis.key_space().tag("p").key("k");
    // A pipeline has a reply for each command, and an error may be one of them.
    assert!(redis.run_pipeline(vec![Command::get(&key), Command::del(&key)]).await[1].is_err());
    set(&redis).await;
    let logged = traces.take();
    let logged = logged.iter().flat_map(|trace| &trace.fields).filter(|(name, _)| *name == "error");
    let errors = logged.map(|(_, error)| &**error).collect::<Vec<_>>();
    assert!(errors.len() == 1 && errors[0].starts_with("DEL: the user has no permission"), "{errors:?}");
}

/// Runs the command that docs/fleet.md tells operators to type.
#[tokio::test]
async fn documented_acl_user_has_all_permissions() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fleet.md")).unwrap();
    let from = page.find("ACL SETUSER shop").unwrap();
    let line = page[from..].split("```").next().unwrap();
    let server = RedisServer::spawn();
    server.command(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
    let redis = builder(&format!("redis://shop:password@127.0.0.1:{}", server.port())).prefix("shop").spawn().unwrap();
    let key = redis.key_space().tag("p").key("k");
    let mut notifications = redis.subscribe(&key).unwrap();
    assert_eq!(notifications.next().await, Some(llm_redis::Notification::Recheck));
    redis.run(Command::set(&key, "v")).await.unwrap();
    let script = Script::new("redis.call('PUBLISH', KEYS[1], now()) return redis.call('GET', KEYS[1])");
    redis.run(script.with_keys(&[&key])).await.unwrap();
    redis.time().await.unwrap();
    drop(notifications);
    let other = builder(&format!("redis://shop:password@127.0.0.1:{}", server.port())).spawn().unwrap();
    assert_eq!(set(&other).await.kind(), ErrorKind::NotPermitted, "another prefix");
}

#[tokio::test]
async fn error_names_read_only_replica() {
    let primary = RedisServer::spawn();
    let replica = RedisServer::builder().replica_of(&primary).spawn();
    let redis = open(&replica.url());
    let error = set(&redis).await;
    assert!(error.kind() == ErrorKind::ReadOnly && error.to_string().contains("primary"), "{error}");
    let key = redis.key_space().tag("p").key("k");
    let error = redis.run(Script::new("return redis.call('SET', KEYS[1], 1)").with_keys(&[&key])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
}

#[tokio::test]
async fn error_names_full_memory() {
    let server = RedisServer::builder().max_memory(1, "noeviction").spawn();
    let redis = open(&server.url());
    let error = set(&redis).await;
    assert!(error.kind() == ErrorKind::OutOfMemory && error.to_string().contains("maxmemory"), "{error}");
    let key = redis.key_space().tag("p").key("k");
    let error = redis.run(Script::new("return redis.call('SET', KEYS[1], 1)").with_keys(&[&key])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    assert!(redis.run(Command::get(&key)).await.unwrap().is_nil(), "reads still succeed");
}

#[tokio::test]
async fn error_of_failing_script_says_where() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let key = redis.key_space().tag("p").key("k");
    let error = redis.run(Script::new("return nothing.there").with_keys(&[&key])).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Server && error.to_string().contains("nothing"), "{error}");
}

#[tokio::test]
async fn error_names_cluster_node_without_slots() {
    let node = RedisServer::builder().line("cluster-enabled yes").line("cluster-require-full-coverage no").spawn();
    let redis = open(&node.url());
    let error = set(&redis).await;
    assert_eq!(cause(&error).kind(), ErrorKind::NotReady, "it has no slots: {error}");
}

#[tokio::test]
async fn error_names_unexpected_reply_type() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let key = redis.key_space().tag("p").key("k");
    redis.run(Command::new("LPUSH", &key).arg("x")).await.unwrap();
    let list = redis.run(Command::new("LRANGE", &key).arg("0").arg("-1")).await.unwrap();
    assert_eq!(list.into_int().unwrap_err().kind(), ErrorKind::UnexpectedReply);
}

/// Starts a server that replies with the same bytes to everything.
async fn spawn_garbage_server(garbage: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                while stream.read(&mut request).await.is_ok_and(|n| n > 0) && stream.write_all(garbage).await.is_ok() {}
            });
        }
    });
    url
}

#[tokio::test]
async fn error_names_other_protocol() {
    for garbage in [&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], b"\xff\xfe\x00garbage\r\n\r\n"] {
        let redis = builder(&spawn_garbage_server(garbage).await).spawn().unwrap();
        let error = set(&redis).await;
        assert_eq!(cause(&error).kind(), ErrorKind::Protocol, "{error}");
        assert!(error.to_string().contains("host and port"), "{error}");
    }
}
