//! Reading of response bodies, always with a bound on their size.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::Body;
use llm_core::{BoxError, Charge, Error, ErrorKind};

use crate::deadline::Alarm;

/// Largest number of bytes that are read of an error response's body: 64 KiB.
const REFUSAL: usize = 64 << 10;

/// Reads a complete body of at most `most` bytes.
pub(super) async fn read<B>(body: B, most: usize) -> Result<Vec<u8>, Error>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let (bytes, whole) = read_up_to(body, most).await?;
    if whole { Ok(bytes) } else { Err(too_large(most)) }
}

/// Reads the beginning of the body of an error response. If reading fails, an empty body is returned, because the
/// caller must get the vendor's error and not the failure to read its body.
pub(super) async fn read_refusal<B>(body: B) -> Vec<u8>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    read_up_to(body, REFUSAL).await.map_or_else(|_| Vec::new(), |(bytes, _)| bytes)
}

async fn read_up_to<B>(body: B, most: usize) -> Result<(Vec<u8>, bool), Error>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|error| broke_off(error.into()))?.into_data() else { continue };
        let room = most - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((bytes, false));
        }
    }
    Ok((bytes, true))
}

/// Bytes of a stream of server-sent events, which ends at the call's deadline. Their number is bounded in total and for
/// each event.
///
/// If the last event lacks the blank line that ends it, the line is added and `cut` is set, because the event may be
/// incomplete.
pub(super) struct EventBytes<B> {
    body: Option<Pin<Box<B>>>,
    alarm: Alarm,
    event: EventSize,
    left: usize,
    limits: Limits,
    cut: Arc<AtomicBool>,
}

/// Bounds on the number of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) event: usize,
    pub(super) body: usize,
}

impl<B> EventBytes<B> {
    pub(super) fn new(body: B, limits: Limits, alarm: Alarm) -> Self {
        let cut = Arc::default();
        Self { body: Some(Box::pin(body)), alarm, event: EventSize::default(), left: limits.body, limits, cut }
    }

    /// Returns a flag that is set if the bytes end inside an event.
    pub(super) fn cut(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cut)
    }
}

impl<B> EventBytes<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Poll::Ready(passed) = self.alarm.poll(cx) {
            return Poll::Ready(Some(Err(passed)));
        }
        loop {
            let data = match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data(),
                Some(Err(error)) => return Poll::Ready(Some(Err(broke_off(error.into())))),
                None => return Poll::Ready(None),
            };
            // A frame of trailers has no events.
            let Ok(data) = data else { continue };
            if data.len() > self.left {
                return Poll::Ready(Some(Err(too_large(self.limits.body))));
            }
            self.left -= data.len();
            if !self.event.pass(&data, self.limits.event) {
                return Poll::Ready(Some(Err(event_too_large(self.limits.event))));
            }
            return Poll::Ready(Some(Ok(data)));
        }
    }
}

impl<B> Stream for EventBytes<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.poll_data(cx));
        if !matches!(item, Some(Ok(_))) && self.body.take().is_some() && item.is_none() && self.event.size > 0 {
            self.cut.store(true, Ordering::Release);
            return Poll::Ready(Some(Ok(Bytes::from_static(b"\n\n"))));
        }
        Poll::Ready(item)
    }
}

/// Number of bytes of the current event, up to the blank line that ends it. Lines end with LF, CR or both.
#[derive(Debug, Default)]
struct EventSize {
    size: usize,
    /// True if the current line has at least one byte, so that it is not blank.
    in_line: bool,
    after_cr: bool,
}

impl EventSize {
    /// Counts further bytes. Returns `true` if no event, including those that began before, is larger than `most`.
    fn pass(&mut self, data: &[u8], most: usize) -> bool {
        for byte in data {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' if !self.in_line => self.size = 0,
                b'\n' | b'\r' => {
                    self.in_line = false;
                    self.size += 1;
                }
                _ => {
                    self.in_line = true;
                    self.size += 1;
                }
            }
            if self.size > most {
                return false;
            }
        }
        true
    }
}

/// Returns the error of a connection that failed before the end of the response.
fn broke_off(error: BoxError) -> Error {
    let (kind, message) = match error.downcast_ref::<Error>().map(Error::kind) {
        Some(ErrorKind::Timeout) => (ErrorKind::Timeout, "the response stopped before its end"),
        _ => (ErrorKind::Incomplete, "the connection broke before the response's end"),
    };
    Error::new(kind, message).with_charge(Charge::Unknown).with_source(error)
}

fn too_large(most: usize) -> Error {
    let message = format!("the response is larger than {most} bytes: see max_body_bytes");
    Error::new(ErrorKind::Malformed, message).with_charge(Charge::Unknown)
}

fn event_too_large(most: usize) -> Error {
    let message = format!("an event of the stream is larger than {most} bytes: see max_event_bytes");
    Error::new(ErrorKind::Malformed, message).with_charge(Charge::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_event_bytes_counts_between_blank_lines() {
        for end in ["\n", "\r", "\r\n"] {
            let event = format!("data: 12345{end}data: 12345{end}{end}");
            let mut size = EventSize::default();
            assert!((0..10).all(|_| event.bytes().all(|byte| size.pass(&[byte], 24))), "{end:?}");
            assert_eq!(size.size, 0);
            let mut size = EventSize::default();
            assert!(!size.pass(event.as_bytes(), 23), "{end:?}");
        }
    }

    #[test]
    fn max_event_bytes_counts_comments() {
        let mut size = EventSize::default();
        assert!((0..100).all(|_| size.pass(b": waiting\n\n", 16)));
        assert!(!size.pass(&[b':'; 17], 16));
    }
}
