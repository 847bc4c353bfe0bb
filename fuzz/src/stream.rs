//! Target of streamed responses, from bytes to pieces.

use std::sync::{Arc, Mutex, atomic::Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use llm_core::{Call, ChatEvent, ChatRequest, ChatResponse, ChatStream, Error, Output, Provider, layer::End};
use llm_providers::protocol::VendorProtocol;

use crate::{
    canned::{BODY, Canned, StreamCut, block_on},
    held,
    random::Random,
    secret::assert_hidden,
};

/// Number of bytes that may be held for each byte of a response. It is large because a JSON object of three bytes takes a
/// node of 632 bytes, its parts are copied when they are passed on, and the response is aggregated at the same time.
const FACTOR: u64 = 384;

/// Result of a stream.
#[derive(Debug, Default)]
pub struct Came {
    /// Pieces of the stream.
    pub events: Vec<ChatEvent>,
    /// Error with which the stream broke off.
    pub error: Option<Error>,
    /// Whole response, if the stream is complete.
    pub response: Option<ChatResponse>,
    /// Number of bytes that were taken from the transport.
    pub taken: usize,
}

/// Reads the bytes as a streamed response, whole and cut.
///
/// # Panics
///
/// If the two differ, if too much is held or taken, or if a whole response differs from its own replay.
pub fn stream<W: VendorProtocol>(protocol: &W, data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let cut = StreamCut::of(&data);
    let [whole, pieces] = [StreamCut::Whole, cut].map(|cut| read(protocol, &data, cut, true));
    whole.error.iter().chain(&pieces.error).for_each(|error| assert_hidden(error, &data));
    held::bounded(data.len().min(BODY), FACTOR, || read(protocol, &data, cut, false));
    let most = if let StreamCut::Pieces(most) = cut { most } else { 1 };
    assert!(pieces.taken <= BODY + most, "{} bytes were taken", pieces.taken);
    compare(&whole, &pieces);
    if let Some(response) = pieces.response {
        let response = Arc::new(response);
        let again =
            block_on(ChatStream::replay(Arc::clone(&response), None).complete()).expect("a replay does not fail");
        assert_eq!(again, *response, "a replay is the response");
    }
}

/// Reads the bytes as a response that comes cut in this way; keeps the pieces, or drops each as it comes.
pub fn read<W: VendorProtocol>(protocol: &W, data: &Bytes, cut: StreamCut, keep: bool) -> Came {
    let canned = Canned::new(data.clone(), cut);
    let taken = canned.taken();
    let client = canned.client(protocol.clone(), "text/event-stream");
    let mut came = Came::default();
    block_on(async {
        let call = Call::new("acme", request(protocol, data));
        let response = Arc::new(Mutex::new(None));
        let mut stream = match client.chat_stream(call).await {
            Ok(reply) => {
                let response = Arc::clone(&response);
                reply.output.on_end(move |end| {
                    if let (End::Complete(whole), true, Ok(mut response)) = (end, keep, response.lock()) {
                        *response = Some(whole.clone());
                    }
                })
            }
            Err(error) => return came.error = Some(error),
        };
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) if keep => came.events.push(event),
                Ok(_) => {}
                Err(error) => came.error = Some(error),
            }
        }
        drop(stream);
        came.response = response.lock().expect("no hook panics").take();
    });
    assert!(came.error.is_none() || came.response.is_none());
    came.taken = taken.load(Ordering::Relaxed);
    came
}

/// Returns a request for as many responses as the bytes choose, if the format has several.
fn request<W: VendorProtocol>(protocol: &W, data: &[u8]) -> ChatRequest {
    let one = ChatRequest::new("model").user("hello");
    let mut several = one.clone();
    let mut random = Random::of(data);
    // The first number chose the server.
    random.number();
    several.sampling.n = Some(*random.pick(&[1, 1, 2, 3]));
    if protocol.chat(&several, true).is_ok() { several } else { one }
}

/// Returns true if a response was refused for its size.
pub fn is_too_large(came: &Came) -> bool {
    came.error.as_ref().is_some_and(|error| error.message().contains("is larger than"))
}

/// Checks that both are equal. If one was too large, the shorter one must be a prefix of the other, because bounds are
/// checked before the bytes of a piece are read.
fn compare(whole: &Came, pieces: &Came) {
    if is_too_large(whole) || is_too_large(pieces) {
        let both = whole.events.iter().zip(&pieces.events);
        return both.for_each(|(one, other)| assert_eq!(one, other, "a piece depends on how the stream is cut"));
    }
    assert_eq!(whole.events, pieces.events, "the pieces depend on how the stream is cut");
    assert_eq!(whole.response, pieces.response, "the response depends on how the stream is cut");
    let told = |came: &Came| came.error.as_ref().map(|error| (error.kind(), error.to_string(), error.charge()));
    assert_eq!(told(whole), told(pieces), "the error depends on how the stream is cut");
}
