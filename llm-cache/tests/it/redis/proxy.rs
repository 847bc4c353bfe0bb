//! Proxy that delays the replies of a server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use llm_testkit::redis::RedisServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// Proxy that passes bytes on after a delay.
pub(super) struct Proxy {
    pub(super) url: String,
    /// Delay in milliseconds.
    pub(super) delay: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn spawn(server: &RedisServer, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("redis://{}", listener.local_addr().expect("it is bound"));
        let delay = Arc::new(AtomicU64::new(u64::try_from(delay.as_millis()).expect("a short delay")));
        let (port, late) = (server.port(), Arc::clone(&delay));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let ((from, to), (back, responses)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(from, responses, Arc::clone(&late)));
                tokio::spawn(pass(back, to, Arc::clone(&late)));
            }
        });
        Self { url, delay, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    delay: Arc<AtomicU64>,
) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read) = from.read(&mut bytes).await {
        sleep(Duration::from_millis(delay.load(Ordering::SeqCst))).await;
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
