//! Transport over a real socket.

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

/// Size of the longest request body, in bytes. If a body is longer, its connection is closed.
const MAX_BYTES: usize = 64 << 20;

/// HTTP/1.1 server of a vendor on loopback, returned by [`Vendor::serve`](crate::Vendor::serve).
///
/// Dropping the server stops it at once and breaks its connections.
///
/// # Example
///
/// ```
/// use llm_testkit::Vendor;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = Vendor::new().serve().await;
/// assert_eq!(server.base_url(), format!("{}/v1", server.origin()));
/// server.close().await;
/// # }
/// ```
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

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http://127.0.0.1:PORT`, without a slash at the end, for clients that append the version themselves.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the base URL for clients of OpenAI's format, without a slash at the end.
    ///
    /// It is `http://127.0.0.1:PORT/v1`, or has the [path](crate::Flavor::path_prefix) of the vendor's flavor.
    pub fn base_url(&self) -> String {
        format!("http://{}{}", self.address, self.prefix)
    }

    /// Stops the server, and waits until every connection is closed and every call settled.
    pub async fn close(mut self) {
        self.task.abort();
        // NOTE: the result only states that the task was cancelled, as intended.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts connections until the task is aborted, which also aborts the tasks of the connections.
async fn accept(listener: TcpListener, transport: Transport) {
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        let peer = transport.clone().from_address(peer.ip());
        connections.spawn(serve(stream, peer));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, transport: Transport) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| response(transport.clone(), request));
    // NOTE: an error means that the client cancelled, or that the connection was cut on purpose. The bills record both.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn response(
    mut transport: Transport,
    request: Request<Incoming>,
) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body: Bytes = Limited::new(body, MAX_BYTES).collect().await?.to_bytes();
    Ok(transport.call(Request::from_parts(head, body)).await?)
}
