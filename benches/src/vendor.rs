//! Vendor that responds at once.

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::stream;
use llm_core::{
    Call, ChatEvent, ChatRequest, ChatResponse, ChatStream, Choice, EmbedRequest, Embeddings, Error, FinishReason,
    Part, Receipt, Reply, Usage, Usd,
    layer::{Accounting, Streamed, always_ready},
};
use tower::Service;

/// Client that responds at once without a connection. Its time is the floor under every layer. Clones share the count
/// of their calls.
#[derive(Clone, Debug)]
pub struct AtOnce {
    response: Arc<ChatResponse>,
    events: Arc<Vec<ChatEvent>>,
    vector: Arc<[f32]>,
    calls: Arc<AtomicU64>,
}

/// Number of bytes of text in each event of a streamed response.
pub const EVENT_BYTES: usize = 8;

impl AtOnce {
    /// Creates a client that responds with `text`, in one piece or in events of [`EVENT_BYTES`].
    pub fn saying(text: &str) -> Self {
        let choice = Choice::new(0, vec![Part::text(text)], FinishReason::Stop);
        let response = Arc::new(ChatResponse::new("chatcmpl-1", "gpt-4o-mini", vec![choice]));
        let start = ChatEvent::Start { id: response.id.clone(), model: response.model.clone() };
        let pieces = text.as_bytes().chunks(EVENT_BYTES).map(|piece| {
            let text = std::str::from_utf8(piece).expect("the text is ASCII").into();
            ChatEvent::Text { choice: 0, text }
        });
        let end = [ChatEvent::Finish { choice: 0, reason: FinishReason::Stop }, ChatEvent::Usage(Usage::new(512, 512))];
        let events = Arc::new([start].into_iter().chain(pieces).chain(end).collect());
        Self { response, events, vector: vec![0.5; 256].into(), calls: Arc::default() }
    }

    /// Returns the client's response.
    pub fn response(&self) -> &ChatResponse {
        &self.response
    }

    /// Returns the events with which the client responds to a streamed call.
    pub fn events(&self) -> &[ChatEvent] {
        &self.events
    }

    /// Returns the number of calls that reached the client or its clones.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn reply<O>(&self, output: O) -> Ready<Result<Reply<O>, Error>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut accounting = Accounting::default();
        accounting.usage = Some(Usage::new(512, 512));
        accounting.cost = Some(Usd::from_nanos(1));
        ready(Ok(Reply::new(output, Receipt::new(accounting))))
    }
}

macro_rules! responses {
    ($( $request:ty => $response:ty: |$self:ident, $call:ident| $make:expr; )*) => { $(
        impl Service<Call<$request>> for AtOnce {
            always_ready!($response, Ready<Result<Reply<$response>, Error>>);

            fn call(&mut self, $call: Call<$request>) -> Self::Future {
                let $self = &*self;
                self.reply($make)
            }
        }
    )* };
}

responses! {
    ChatRequest => ChatResponse: |vendor, _call| (*vendor.response).clone();
    Streamed<ChatRequest> => ChatStream: |vendor, _call| {
        let events = Arc::clone(&vendor.events);
        ChatStream::new(stream::iter((0..events.len()).map(move |at| Ok(events[at].clone()))))
    };
    EmbedRequest => Embeddings: |vendor, call| {
        Embeddings::new(call.body.model.clone(), vec![Arc::clone(&vendor.vector); call.body.inputs.len()])
    };
}
