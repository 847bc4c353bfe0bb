//! Retries of commands whose connection breaks, through a proxy that breaks it on purpose.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use llm_redis::{Command, ErrorKind, Redis};
use llm_testkit::redis::RedisServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::{builder, key};

/// Forwards connections to a server, and breaks as many as `breaks` says when they carry the key of the tests.
async fn proxy(server: &RedisServer, breaks: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let port = server.port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(forward(client, port, Arc::clone(&breaks)));
        }
    });
    url
}

async fn forward(mut client: TcpStream, port: u16, breaks: Arc<AtomicUsize>) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    let requests = async {
        let mut bytes = vec![0; 4096];
        while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
            let is_command = bytes[..length].windows(5).any(|part| part == b"{p}:k");
            let breaks_now = |left: usize| (is_command && left > 0).then(|| left - 1);
            if breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, breaks_now).is_ok() {
                return;
            }
            to_server.write_all(&bytes[..length]).await.unwrap();
        }
    };
    tokio::select! {
        () = requests => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

#[tokio::test]
async fn retries_send_command_again_until_spent() {
    let server = RedisServer::spawn();
    for (retries, breaks, succeeds) in [(0, 1, false), (1, 1, true), (1, 2, false), (2, 2, true)] {
        let url = proxy(&server, Arc::new(AtomicUsize::new(breaks))).await;
        let redis = builder(&url).retries(retries).spawn().unwrap();
        let result = redis.run(Command::get(&key(&redis))).await;
        let case = format!("{retries} retries, {breaks} breaks: {result:?}");
        assert_eq!(result.is_ok(), succeeds, "{case}");
        if let Err(error) = result {
            assert!(error.kind() == ErrorKind::Connection && error.may_have_run(), "{case}");
        }
        assert_eq!(redis.stats().retried, u64::from(retries), "{case}");
    }
}

#[tokio::test]
async fn no_retry_sends_command_only_once() {
    let server = RedisServer::spawn();
    let command = |redis: &Redis| Command::new("INCR", &key(redis)).no_retry();
    let url = proxy(&server, Arc::new(AtomicUsize::new(1))).await;
    let redis = builder(&url).spawn().unwrap();
    let error = redis.run(command(&redis)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Connection && error.may_have_run(), "{error}");
    assert_eq!(redis.run(command(&redis)).await.unwrap().into_int().unwrap(), 1);
    assert_eq!(redis.stats().retried, 0);
}
