//! Target of whole responses: chat, embeddings, lists of models, counts.

use std::sync::Arc;

use bytes::Bytes;
use llm_core::{Call, ChatRequest, ChatStream, Output, Provider};
use llm_providers::protocol::VendorProtocol;

use crate::{
    canned::{BODY, Canned, StreamCut, block_on},
    held,
    secret::{KEY, assert_hidden},
};

/// Bytes that may be held for each byte of a response: as for streams, without the copies that are passed on.
const FACTOR: u64 = 256;

/// Reads the bytes as whole responses of every kind, and of chat through a client, too.
///
/// # Panics
///
/// If the client returns something else than the codec, if too much is held, or if a response differs from its own
/// replay.
pub fn response<W: VendorProtocol>(protocol: &W, data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let canned = Canned::new(data.clone(), StreamCut::of(&data));
    let breaks = canned.breaks();
    let size = data.len().min(BODY);
    let came = held::bounded(size, FACTOR, || {
        let call = Call::new("acme", ChatRequest::new("model").user("hello"));
        block_on(canned.client(protocol.clone(), "application/json").chat(call))
    });
    came.as_ref().err().into_iter().for_each(|error| assert_hidden(error, &data));
    if data.len() > BODY || breaks {
        return assert!(came.is_err(), "a response that is not whole was taken");
    }
    let decoded = held::bounded(size, FACTOR, || protocol.read_chat(&data));
    match (came, decoded) {
        (Ok(came), Ok(decoded)) => {
            assert_eq!(came.output, decoded.output);
            assert_eq!(came.receipt.usage(), decoded.usage);
            let response = Arc::new(decoded.output);
            let stream = ChatStream::replay(Arc::clone(&response), decoded.usage);
            assert_eq!(
                block_on(stream.complete()).expect("a replay does not fail"),
                *response,
                "a replay is the response"
            );
        }
        (Err(came), Err(decoded)) => {
            assert_eq!((came.kind(), came.charge()), (decoded.kind(), decoded.charge()));
            // The codec does not know the key. The client removes it from the message, and then bounds the message.
            let (ours, theirs) = (came.message(), decoded.message());
            assert!(ours == theirs || theirs.contains(KEY) || theirs.chars().count() > 1_000);
        }
        (came, decoded) => panic!("the client says {came:?}, the codec {decoded:?}"),
    }
    for inputs in 0..3 {
        if let Ok(vectors) = held::bounded(size, FACTOR, || protocol.read_embeddings(&data, inputs)) {
            assert_eq!(vectors.output.vectors.len(), inputs, "as many vectors as inputs");
        }
    }
    drop(held::bounded(size, FACTOR, || protocol.read_models(&data)));
    drop(protocol.read_count(&data));
}
