//! Transport that responds to every request with the same bytes, cut into chosen pieces.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use llm_providers::{Client, protocol::VendorProtocol, transport::Transport};
use tokio::runtime::{Builder, Runtime};

use crate::{random::Random, secret::KEY};

/// Largest event that the clients here accept, in bytes.
pub const EVENT: usize = 2 << 10;
/// Largest response that the clients here accept, in bytes.
pub const BODY: usize = 32 << 10;

/// Pieces in which the bytes of a response arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCut {
    /// All bytes at once.
    Whole,
    /// One byte at a time.
    Bytes,
    /// Pieces up to this size, sometimes late.
    Pieces(usize),
}

impl StreamCut {
    /// Returns a cut that the bytes themselves choose, never the whole.
    pub fn of(data: &[u8]) -> Self {
        *Random::of(data).pick(&[
            Self::Bytes,
            Self::Pieces(3),
            Self::Pieces(16),
            Self::Pieces(200),
            Self::Pieces(4_096),
        ])
    }
}

/// Transport with one response.
#[derive(Clone, Debug)]
pub struct Canned {
    rest: Bytes,
    cut: StreamCut,
    breaks: bool,
    random: Random,
    taken: Arc<AtomicUsize>,
}

impl Canned {
    /// Creates a response of these bytes. One in eight, as the bytes choose, ends with a broken connection.
    pub fn new(data: Bytes, cut: StreamCut) -> Self {
        let mut random = Random::of(&data);
        Self { breaks: random.number().is_multiple_of(8), rest: data, cut, random, taken: Arc::default() }
    }

    /// Returns true if the response ends with a broken connection.
    pub fn breaks(&self) -> bool {
        self.breaks
    }

    /// Returns the counter of bytes that were taken from all clones.
    pub fn taken(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.taken)
    }

    /// Creates a client with small bounds that gets this response with this content type.
    pub fn client<W: VendorProtocol>(self, protocol: W, content_type: &'static str) -> Client<W, impl Transport> {
        let transport = tower::service_fn(move |_| {
            let response = Response::builder().header(CONTENT_TYPE, content_type).body(self.clone());
            async move { response }
        });
        let client = Client::with_protocol(protocol, Some(KEY.into()), transport).expect("the key is one");
        client.max_event_bytes(EVENT).max_body_bytes(BODY)
    }
}

impl Body for Canned {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest.is_empty() {
            let broken = std::mem::take(&mut self.breaks);
            return Poll::Ready(broken.then(|| Err(io::ErrorKind::ConnectionReset.into())));
        }
        let cut = self.cut;
        let size = match cut {
            StreamCut::Whole => self.rest.len(),
            StreamCut::Bytes => 1,
            StreamCut::Pieces(_) if self.random.number().is_multiple_of(16) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            StreamCut::Pieces(most) => (1 + self.random.below(most)).min(self.rest.len()),
        };
        let piece = self.rest.split_to(size);
        self.taken.fetch_add(size, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime without input or output"),
    );
}

/// Runs a future to its end on paused time.
pub fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}
