//! The two ways to reach a vendor.

mod body;
mod guard;
mod http;
mod in_process;
mod timer;

pub use body::Body;
pub use http::Server;
pub use in_process::{ConnectionClosed, ResponseFuture, Transport};
