//! The servers that other crates' tests rely on.

use llm_testkit::redis::{RedisCluster, RedisServer};

#[test]
fn a_server_answers_and_is_gone_after_its_drop() {
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
fn a_restarted_server_is_empty_and_keeps_its_port() {
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
fn a_stopped_server_goes_on_where_it_stood() {
    let server = RedisServer::spawn();
    server.command(&["SET", "k", "v"]).unwrap();
    server.pause();
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port())).is_ok(), "the kernel still accepts");
    server.resume();
    assert_eq!(server.command(&["GET", "k"]).as_deref(), Ok("v"));
}

#[test]
fn settings_reach_the_server() {
    let server = RedisServer::builder().max_memory(7 << 20, "noeviction").line("rename-command GET \"\"").spawn();
    assert_eq!(server.command(&["CONFIG", "GET", "maxmemory"]).as_deref(), Ok("maxmemory\n7340032"));
    assert!(server.command(&["GET", "k"]).is_err());
    let replica = RedisServer::builder().replica_of(&server).spawn();
    assert!(replica.command(&["SET", "k", "v"]).is_err_and(|error| error.starts_with("READONLY")));
    let tls = RedisServer::builder().tls().spawn();
    assert!(tls.url().starts_with("rediss://") && tls.certificate().unwrap().contains("BEGIN CERTIFICATE"));
}

#[test]
fn a_cluster_serves_all_slots_from_three_nodes() {
    let cluster = RedisCluster::spawn();
    assert_eq!(cluster.nodes().len(), 3);
    // Slot 12,182 is the last node's.
    assert!(cluster.nodes()[0].command(&["SET", "foo", "x"]).is_err_and(|error| error.starts_with("MOVED 12182")));
    assert_eq!(cluster.nodes()[2].command(&["SET", "foo", "x"]).as_deref(), Ok("OK"));
}
