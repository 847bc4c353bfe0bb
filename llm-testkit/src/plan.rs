//! Plan of the response to one call.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// Number of a call of one vendor in the order of arrival, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Complete response to one call, with the times of its parts. A transport sends the parts at these times.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// Number of the call, to be passed to [`Vendor::settle`](crate::Vendor::settle) when the call has ended.
    pub call: CallId,
    /// Time of the head (status and headers).
    pub head: Head,
    /// HTTP status of the response.
    pub status: StatusCode,
    /// Headers of the response.
    pub headers: HeaderMap,
    /// Frames of the body in order. Their times never decrease.
    pub frames: Vec<Frame>,
    /// Way in which the body ends after the last frame.
    pub end: End,
}

/// Time of a response's head, from the arrival of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The head is sent after this time.
    At(Duration),
    /// The head is never sent: the call hangs until the client cancels it.
    Never,
    /// The connection is closed after this time, without a response.
    Reset(Duration),
}

/// Piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Time at which the frame is due, from the arrival of the call.
    pub at: Duration,
    /// Bytes of the frame.
    pub bytes: Bytes,
    /// Number of output tokens in the frame.
    pub tokens: u64,
}

/// Way in which a body ends after its last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The body ends normally.
    Done,
    /// The connection is closed in the middle of the body.
    Cut,
    /// The body stalls: the call hangs until the client cancels it.
    Stall,
}

/// Outcome of a call, from the vendor's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The transport sent the whole plan.
    Delivered,
    /// The vendor closed the connection because of a fault.
    Cut,
    /// The client cancelled the call before the end of the response.
    Cancelled,
}
