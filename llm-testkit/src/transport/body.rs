//! The body of a response.

use super::guard::CallGuard;
use super::in_process::ConnectionClosed;
use super::timer::Timer;
use crate::plan::{End, Frame, Outcome};
use bytes::Bytes;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Body of a response. It yields each frame of a plan when the frame is due.
///
/// Dropping the body before its end cancels the call.
#[derive(Debug)]
pub struct Body {
    timer: Timer,
    frames: VecDeque<Frame>,
    end: End,
    flushed: bool,
    guard: CallGuard,
}

impl Body {
    pub(super) fn new(timer: Timer, frames: Vec<Frame>, end: End, guard: CallGuard) -> Self {
        let mut body = Self { timer, frames: frames.into(), end, flushed: false, guard };
        body.settle_at_end();
        body
    }

    fn is_over(&self) -> bool {
        self.frames.is_empty() && self.end == End::Done
    }

    fn settle_at_end(&mut self) {
        if self.is_over() {
            self.guard.settle(Outcome::Delivered);
        }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, ConnectionClosed>>> {
        // NOTE: when a body fails, a server drops the bytes that it has not flushed. One more poll lets it flush them.
        if !self.flushed {
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.guard.settle(Outcome::Cut);
        self.end = End::Done;
        Poll::Ready(Some(Err(ConnectionClosed)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = ConnectionClosed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, ConnectionClosed>>> {
        let this = &mut *self;
        let Some(next) = this.frames.front() else {
            return match this.end {
                End::Done => Poll::Ready(None),
                End::Cut => this.poll_cut(cx),
                End::Stall => Poll::Pending,
            };
        };
        ready!(this.timer.poll(cx, next.at));
        let frame = this.frames.pop_front().map(|frame| Ok(http_body::Frame::data(frame.bytes)));
        this.settle_at_end();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }
}
