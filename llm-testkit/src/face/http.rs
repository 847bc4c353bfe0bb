//! The face on a real socket.

use super::body::Body;
use super::in_process::Transport;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower_service::Service;

/// The longest request body that is read; a longer one breaks its connection.
const MOST_BYTES: usize = 64 << 20;

/// A vendor that serves HTTP/1.1 on loopback. Dropped, it stops at once, and its connections break.
#[derive(Debug)]
#[must_use = "the server stops when it is dropped"]
pub struct Server {
    address: SocketAddr,
    prefix: &'static str,
    task: JoinHandle<()>,
}

impl Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "`Vendor::serve` says that it spawns a task, and the server's drop ends it"
    )]
    pub(crate) async fn spawn(transport: Transport) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let prefix = transport.vendor().flavor().path_prefix();
        Self { address, prefix, task: tokio::spawn(accept(listener, transport)) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end: for clients that append the version themselves.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what a client of OpenAI's format takes as its base URL, without a slash at the end:
    /// `http://127.0.0.1:PORT/v1`, or with the [path](crate::Flavor::path_prefix) of the vendor's flavor.
    pub fn base_url(&self) -> String {
        format!("http://{}{}", self.address, self.prefix)
    }

    /// Stops, and waits until every connection is closed and every call settled.
    pub async fn close(mut self) {
        self.task.abort();
        // NOTE: the result says that the task was cancelled, which is what was asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// LlmService until it is dropped, and its connections with it.
async fn accept(listener: TcpListener, transport: Transport) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, transport.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, transport: Transport) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(transport.clone(), request));
    // NOTE: the error is a client that left or a connection that was cut on purpose; the books know of it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    mut transport: Transport,
    request: Request<Incoming>,
) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body: Bytes = Limited::new(body, MOST_BYTES).collect().await?.to_bytes();
    Ok(transport.call(Request::from_parts(head, body)).await?)
}
