//! What the vendor will do about one call.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// Names one call of one vendor: the number of its arrival, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// The whole answer to one call, with its times. A face plays it; nothing in it waits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// The call that this answers, to be given to [`Vendor::settle`](crate::Vendor::settle) when it has ended.
    pub call: CallId,
    /// When the head (status and headers) goes out.
    pub head: Head,
    /// The status.
    pub status: StatusCode,
    /// The headers, all of them.
    pub headers: HeaderMap,
    /// The body's frames in order; their times never decrease.
    pub frames: Vec<Frame>,
    /// What comes after the last frame.
    pub end: End,
}

/// When an answer's head goes out, from the call's arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// After this time.
    At(Duration),
    /// Never: the call hangs until the client leaves.
    Never,
    /// Not at all: the connection is closed after this time.
    Reset(Duration),
}

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it is due, from the call's arrival.
    pub at: Duration,
    /// The bytes.
    pub bytes: Bytes,
    /// Output tokens that it carries.
    pub tokens: u64,
}

/// What comes after the last frame of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The body ends as it should.
    Done,
    /// The connection is closed in the middle of the body.
    Cut,
    /// Nothing more, ever: the call hangs until the client leaves.
    Stall,
}

/// How a call ended, as far as the vendor knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The whole plan was played.
    Delivered,
    /// The vendor closed the connection.
    Cut,
    /// The client left before the end.
    Cancelled,
}
