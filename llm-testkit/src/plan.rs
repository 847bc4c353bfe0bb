//! Plan of the response to one call.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// Number of a call of one vendor in the order of arrival, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Whole response to one call, with its times. A transport plays it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// Number of the call, for [`Vendor::settle`](crate::Vendor::settle) when it has ended.
    pub call: CallId,
    /// Time of the head (status and headers).
    pub head: Head,
    /// Status.
    pub status: StatusCode,
    /// Headers of the request.
    pub headers: HeaderMap,
    /// Frames of the body in order. Their times never decrease.
    pub frames: Vec<Frame>,
    /// End of the body after the last frame.
    pub end: End,
}

/// Time of a response's head, from the call's arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Sent after this time.
    At(Duration),
    /// Never: the call hangs until the client cancels it.
    Never,
    /// Closes the connection after this time, without a response.
    Reset(Duration),
}

/// Piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Time at which it is due, from the call's arrival.
    pub at: Duration,
    /// Bytes.
    pub bytes: Bytes,
    /// Number of output tokens in it.
    pub tokens: u64,
}

/// End of a body after its last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The body ends as it should.
    Done,
    /// The connection is closed in the middle of the body.
    Cut,
    /// The body stalls: the call hangs until the client cancels it.
    Stall,
}

/// Outcome of a call as the vendor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The whole plan was played.
    Delivered,
    /// The vendor closed the connection.
    Cut,
    /// The client cancelled before the end.
    Cancelled,
}
