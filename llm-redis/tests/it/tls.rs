//! TLS with a certificate of the test.

use llm_redis::{Command, ErrorKind, Notification};
use llm_testkit::redis::RedisServer;

use crate::{builder, open};

#[tokio::test]
async fn tls_serves_commands_and_messages() {
    let server = RedisServer::builder().tls().password("secret").spawn();
    let redis = builder(&server.url()).root_certificates(server.certificate().unwrap()).spawn().unwrap();
    let key = redis.key_space().tag("p").key("k");
    let mut notifications = redis.subscribe(&key).unwrap();
    redis.run(Command::set(&key, "v")).await.unwrap();
    assert_eq!(redis.run(Command::get(&key)).await.unwrap().into_bytes().unwrap().unwrap(), "v");
    assert_eq!(notifications.next().await, Some(Notification::Recheck));
    redis.run(Command::publish(&key, "hello")).await.unwrap();
    assert_eq!(notifications.next().await, Some(Notification::Message("hello".into())));
}

#[tokio::test]
async fn tls_refuses_untrusted_certificate() {
    let server = RedisServer::builder().tls().spawn();
    let other = RedisServer::builder().tls().spawn();
    let untrusting = builder(&server.url()).root_certificates(other.certificate().unwrap()).spawn().unwrap();
    for redis in [untrusting, open(&server.url())] {
        let error = redis.time().await.unwrap_err();
        assert!(error.is_outage() && error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn root_certificates_invalid_pem_opens_breaker() {
    let server = RedisServer::builder().tls().spawn();
    let redis = builder(&server.url()).root_certificates("-----BEGIN CERTIFICATE-----\nno\n").spawn().unwrap();
    let error = redis.time().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.is_outage(), "{error}");
}

#[tokio::test]
async fn tls_server_refuses_plain_url() {
    let server = RedisServer::builder().tls().spawn();
    let redis = open(&format!("redis://127.0.0.1:{}", server.port()));
    let error = redis.time().await.unwrap_err();
    assert!(error.is_outage(), "{error}");
}
