//! TLS with a certificate made on the fly.

use llm_redis::{Command, ErrorKind, Notification};
use llm_testkit::redis::RedisServer;

use crate::{builder, open};

#[tokio::test]
async fn commands_and_messages_go_through_tls() {
    let server = RedisServer::builder().tls().password("secret").spawn();
    let redis = builder(&server.url()).root_certificates(server.certificate().unwrap()).spawn().unwrap();
    let key = redis.key_space().tag("p").key("k");
    let mut wakes = redis.subscribe(&key).unwrap();
    redis.run(Command::set(&key, "v")).await.unwrap();
    assert_eq!(redis.run(Command::get(&key)).await.unwrap().into_bytes().unwrap().unwrap(), "v");
    assert_eq!(wakes.next().await, Some(Notification::Recheck));
    redis.run(Command::publish(&key, "hello")).await.unwrap();
    assert_eq!(wakes.next().await, Some(Notification::Message("hello".into())));
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let server = RedisServer::builder().tls().spawn();
    let other = RedisServer::builder().tls().spawn();
    let strangers = builder(&server.url()).root_certificates(other.certificate().unwrap()).spawn().unwrap();
    for redis in [strangers, open(&server.url())] {
        let error = redis.time().await.unwrap_err();
        assert!(error.is_outage() && error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn certificates_that_are_none_are_told() {
    let server = RedisServer::builder().tls().spawn();
    let redis = builder(&server.url()).root_certificates("-----BEGIN CERTIFICATE-----\nno\n").spawn().unwrap();
    let error = redis.time().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.is_outage(), "{error}");
}

#[tokio::test]
async fn plain_text_to_a_tls_server_fails_clearly() {
    let server = RedisServer::builder().tls().spawn();
    let redis = open(&format!("redis://127.0.0.1:{}", server.port()));
    let error = redis.time().await.unwrap_err();
    assert!(error.is_outage(), "{error}");
}
