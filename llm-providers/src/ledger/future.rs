use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use llm_core::{
    Call, Error, Operation, Reply,
    layer::{LlmService, Oneshot, oneshot},
};
use pin_project_lite::pin_project;
use tower_service::Service;

/// Call that is booked when its reply arrives or when it is dropped.
pub trait Booking<T: Operation> {
    /// Books the call if it failed. Otherwise returns the reply with a hook that books the call when its response ends.
    fn on_reply(self, reply: Result<Reply<T::Output>, Error>) -> Result<Reply<T::Output>, Error>;
}

pin_project! {
    /// Future of a call that is booked. It holds the inner future directly, without a box of its own.
    pub struct Booked<T, S, B>
    where
        S: Service<Call<T>>,
    {
        #[pin]
        reply: Oneshot<T, S>,
        booking: Option<B>,
    }
}

impl<T: Operation, S: LlmService<T>, B: Booking<T>> Booked<T, S, B> {
    pub(super) fn new(service: S, call: Call<T>, booking: B) -> Self {
        Self { reply: oneshot(service, call), booking: Some(booking) }
    }
}

impl<T: Operation, S: LlmService<T>, B: Booking<T>> Future for Booked<T, S, B> {
    type Output = Result<Reply<T::Output>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let reply = ready!(this.reply.poll(cx));
        Poll::Ready(this.booking.take().expect("polled after it was ready").on_reply(reply))
    }
}

impl<T, S: Service<Call<T>>, B> fmt::Debug for Booked<T, S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Booked")
    }
}
