//! Tests of the Redis servers that tests of other crates use.

use llm_testkit::redis::{RedisCluster, RedisServer};

#[test]
fn redis_server_ends_on_drop() {
    let server = RedisServer::spawn();
    assert_eq!(server.command(&["SET", "k", "v"]).as_deref(), Ok("OK"));
    assert_eq!(server.command(&["MGET", "k", "none"]).as_deref(), Ok("v\n"));
    assert!(server.command(&["NO-SUCH-COMMAND"]).is_err_and(|error| error.contains("unknown command")));
    let address = ("127.0.0.1", server.port());
    assert!(std::net::TcpStream::connect(address).is_ok());
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn redis_server_restart_keeps_port_only() {
    let mut server = RedisServer::builder().password("secret").spawn();
    server.command(&["SET", "k", "v"]).unwrap();
    let url = server.url();
    assert!(url.starts_with("redis://:secret@127.0.0.1:"));
    server.kill();
    assert!(server.command(&["PING"]).is_err());
    server.restart();
    assert_eq!((server.command(&["EXISTS", "k"]).as_deref(), server.url()), (Ok("0"), url));
}

#[test]
fn redis_server_resume_keeps_data() {
    let server = RedisServer::spawn();
    server.command(&["SET", "k", "v"]).unwrap();
    server.pause();
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port())).is_ok(), "the kernel still accepts");
    server.resume();
    assert_eq!(server.command(&["GET", "k"]).as_deref(), Ok("v"));
}

#[test]
fn redis_server_builder_applies_settings() {
    let server = RedisServer::builder().max_memory(7 << 20, "noeviction").line("rename-command GET \"\"").spawn();
    assert_eq!(server.command(&["CONFIG", "GET", "maxmemory"]).as_deref(), Ok("maxmemory\n7340032"));
    assert!(server.command(&["GET", "k"]).is_err());
    let replica = RedisServer::builder().replica_of(&server).spawn();
    assert!(replica.command(&["SET", "k", "v"]).is_err_and(|error| error.starts_with("READONLY")));
    let tls = RedisServer::builder().tls().spawn();
    assert!(tls.url().starts_with("rediss://") && tls.certificate().unwrap().contains("BEGIN CERTIFICATE"));
}

#[test]
fn redis_cluster_serves_all_slots() {
    let cluster = RedisCluster::spawn();
    assert_eq!(cluster.nodes().len(), 3);
    // Slot 12,182 belongs to the last node.
    assert!(cluster.nodes()[0].command(&["SET", "foo", "x"]).is_err_and(|error| error.starts_with("MOVED 12182")));
    assert_eq!(cluster.nodes()[2].command(&["SET", "foo", "x"]).as_deref(), Ok("OK"));
}
