//! Transport in this process, without a network.

use super::body::Body;
use super::guard::CallGuard;
use super::timer::Timer;
use crate::limits::ClientAddress;
use crate::plan::{Head, Outcome, Plan};
use crate::vendor::Vendor;
use bytes::Bytes;
use http::{Request, Response};
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// Tower service of a vendor in this process, returned by [`Vendor::transport`](crate::Vendor::transport).
///
/// It is always ready, and clones share the vendor. The vendor receives a call when its future is first polled. Dropping
/// the future after that, or the body before its end, cancels the call.
#[derive(Debug, Clone)]
pub struct Transport {
    vendor: Vendor,
    address: IpAddr,
}

impl Transport {
    pub(crate) fn new(vendor: Vendor) -> Self {
        Self { vendor, address: IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }

    /// Returns a transport of the same vendor for a client with this address, in place of 127.0.0.1.
    ///
    /// ```
    /// use llm_testkit::Vendor;
    ///
    /// let transport = Vendor::new().transport().from_address([10, 0, 0, 7].into());
    /// # drop(transport);
    /// ```
    #[must_use]
    pub fn from_address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    pub(crate) fn vendor(&self) -> &Vendor {
        &self.vendor
    }
}

impl Service<Request<Bytes>> for Transport {
    type Response = Response<Body>;
    type Error = ConnectionClosed;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectionClosed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Bytes>) -> ResponseFuture {
        request.extensions_mut().insert(ClientAddress(self.address));
        ResponseFuture { vendor: self.vendor.clone(), state: State::Unsent(Box::new(request)) }
    }
}

/// Future of a [`Transport`]. It resolves when the head of the response is due.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    vendor: Vendor,
    state: State,
}

#[derive(Debug)]
enum State {
    Unsent(Box<Request<Bytes>>),
    Waiting(Box<Waiting>),
    Done,
}

#[derive(Debug)]
struct Waiting {
    plan: Plan,
    timer: Timer,
    guard: CallGuard,
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.plan.head {
            Head::At(at) | Head::Reset(at) => self.timer.poll(cx, at),
            Head::Never => Poll::Pending,
        }
    }

    fn finish(mut self) -> Result<Response<Body>, ConnectionClosed> {
        if matches!(self.plan.head, Head::Reset(_)) {
            self.guard.settle(Outcome::Cut);
            return Err(ConnectionClosed);
        }
        let mut response = Response::new(Body::new(self.timer, self.plan.frames, self.plan.end, self.guard));
        *response.status_mut() = self.plan.status;
        *response.headers_mut() = self.plan.headers;
        Ok(response)
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, ConnectionClosed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let State::Unsent(request) = &this.state {
            let timer = Timer::start();
            let plan = this.vendor.decide(this.vendor.now(), request);
            let guard = CallGuard::new(this.vendor.clone(), plan.call);
            this.state = State::Waiting(Box::new(Waiting { plan, timer, guard }));
        }
        if let State::Waiting(waiting) = &mut this.state {
            ready!(waiting.poll(cx));
        }
        match std::mem::replace(&mut this.state, State::Done) {
            State::Waiting(waiting) => Poll::Ready(waiting.finish()),
            State::Unsent(_) | State::Done => panic!("the future was polled after it had resolved"),
        }
    }
}

/// Error of a connection that the vendor closed, before or in the middle of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionClosed;

impl fmt::Display for ConnectionClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection closed by the simulated vendor")
    }
}

impl std::error::Error for ConnectionClosed {}
