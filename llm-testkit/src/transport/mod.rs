//! Transports of a vendor: a server on a socket, and a service in this process.

mod body;
mod guard;
mod http;
mod in_process;
mod timer;

pub use body::Body;
pub use http::Server;
pub use in_process::{ConnectionClosed, ResponseFuture, Transport};
