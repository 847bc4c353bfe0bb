//! Transport that passes the bytes of a stream to the client, cut at given positions.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use llm_providers::{
    OpenAi,
    llm_core::{Call, ChatEvent, ChatRequest, ChatResponse, ChatStream, Error, Output, Provider, Receipt},
};
use tower::Service;

/// Transport that answers every request with the same bytes.
#[derive(Clone)]
pub(crate) struct Canned {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) pieces: Vec<Bytes>,
    /// True if the connection breaks after the last piece.
    pub(crate) breaks: bool,
}

/// Body in pieces.
pub(crate) struct Pieces(std::vec::IntoIter<Bytes>, bool);

impl Canned {
    /// Returns a stream of events in these pieces.
    pub(crate) fn events<P: Into<Bytes>>(pieces: impl IntoIterator<Item = P>) -> Self {
        Self::response("text/event-stream", pieces)
    }

    /// Returns a response with status 200 and a body in these pieces.
    pub(crate) fn response<P: Into<Bytes>>(kind: &'static str, pieces: impl IntoIterator<Item = P>) -> Self {
        let pieces = pieces.into_iter().map(Into::into).collect();
        let headers = vec![("content-type", kind), ("x-request-id", "req_1")];
        Self { status: StatusCode::OK, headers, pieces, breaks: false }
    }

    /// Makes the connection break at the end of the body.
    pub(crate) fn broken(self) -> Self {
        Self { breaks: true, ..self }
    }

    /// Returns a client with this transport.
    pub(crate) fn client(self) -> OpenAi<Self> {
        OpenAi::with_transport("sk-test", self).unwrap()
    }
}

impl Service<Request<Bytes>> for Canned {
    type Response = Response<Pieces>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Pieces>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(*name, *value);
        }
        ready(Ok(response.body(Pieces(self.pieces.clone().into_iter(), self.breaks)).unwrap()))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match self.0.next() {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None if std::mem::take(&mut self.1) => Some(Err(std::io::ErrorKind::ConnectionReset.into())),
            None => None,
        })
    }
}

/// Returns a chat call.
pub(crate) fn question() -> Call<ChatRequest> {
    Call::new("t", ChatRequest::new("asked").user("hello"))
}

/// Result of reading a stream to its end.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) events: Vec<ChatEvent>,
    pub(crate) response: Option<ChatResponse>,
    pub(crate) error: Option<Error>,
    pub(crate) receipt: Receipt,
}

/// Reads a stream to its end.
pub(crate) async fn read(stream: ChatStream, receipt: Receipt) -> Read {
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut stream = stream.on_end(move |end| {
        if let llm_providers::llm_core::layer::End::Complete(response) = end {
            sender.send(response.clone()).unwrap();
        }
    });
    let (mut events, mut error) = (Vec::new(), None);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(broken) => error = Some(broken),
        }
    }
    drop(stream);
    Read { events, response: receiver.try_recv().ok(), error, receipt }
}

/// Requests a stream and reads it. An error before the stream begins is returned as the result.
pub(crate) async fn play(canned: Canned) -> Result<Read, Error> {
    play_to(&canned.client()).await
}

/// Requests a stream from a client and reads it. An error before the stream begins is returned as the result.
pub(crate) async fn play_to(client: &(impl Provider + ?Sized)) -> Result<Read, Error> {
    let reply = client.chat_stream(question()).await?;
    Ok(read(reply.output, reply.receipt).await)
}

/// Returns positions at which recorded bytes are cut: all of them in the full run, and otherwise one in each `step`,
/// different for each recording.
pub(crate) fn cuts(id: &str, len: usize, step: usize) -> impl Iterator<Item = usize> {
    let step = if is_full() { 1 } else { step };
    (1 + id.bytes().map(usize::from).sum::<usize>() % step..len).step_by(step)
}

/// Returns true in the full run.
#[expect(clippy::disallowed_methods, reason = "this is the test's edge")]
pub(crate) fn is_full() -> bool {
    std::env::var("LLM_FULL").is_ok_and(|full| full == "1")
}

/// Returns the positions in a text at which a cut may matter: at the ends of lines, and within and next to characters
/// of several bytes.
pub(crate) fn seams(text: &[u8]) -> impl Iterator<Item = usize> {
    let seam = |byte: &u8| matches!(byte, b'\r' | b'\n' | 128..);
    (1..text.len()).filter(move |at| seam(&text[at - 1]) || seam(&text[*at]))
}

/// Runs a future without a real clock.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}
