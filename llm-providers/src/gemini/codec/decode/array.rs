use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    vec,
};

use futures_core::Stream;
use llm_core::{ChatEvent, ChatResponse, ChatStream, Error};

use super::super::{ChunkDecoder, fields::malformed};
use crate::protocol::Decoded;
use crate::protocol::StreamDecoder;

/// Reads the pieces of a streamed response that came as one list, and puts them together.
pub(super) fn decode(body: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
    let text = std::str::from_utf8(body).map_err(|error| malformed("the response is not UTF-8").with_source(error))?;
    let mut decoder = ChunkDecoder::default();
    let mut events = decoder.decode(text)?;
    events.extend(decoder.finish()?);
    Ok(decoder.response_usage().decoded(together(events)?, decoder.service_tier().cloned()))
}

/// Returns the whole response that these pieces make.
fn together(events: Vec<ChatEvent>) -> Result<ChatResponse, Error> {
    let complete = pin!(ChatStream::new(Ready(events.into_iter())).complete());
    match complete.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => response,
        Poll::Pending => unreachable!("pieces that are all there are not waited for"),
    }
}

/// Pieces that are all there.
struct Ready(vec::IntoIter<ChatEvent>);

impl Stream for Ready {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}
