//! The client as a provider and as a tower service.

use std::sync::Arc;

use async_trait::async_trait;
use llm_core::{
    Call, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, Output, Provider, Reply,
    layer::provider_services,
};

use super::{
    body::Limits,
    exchange::{EVENTS, JSON, settle},
    peek::Peeked,
    setup::Client,
    stream::Events,
};
use crate::{forward::Forward, protocol::VendorProtocol, telemetry::CallSpan, transport::Transport};

impl<W: VendorProtocol, T: Transport> Client<W, T> {
    async fn ask(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        self.accept(&call)?;
        let (span, protocol) = (CallSpan::open("chat", &self.config.name, &call.body.model), &self.config.protocol);
        span.run(async {
            let model = &call.body.model;
            let encoded = protocol.chat(&call.body, false)?;
            let (head, body) = self.exchange(&call, model, JSON, encoded).await?;
            let decoded = self.read(&head, body, |bytes| protocol.read_chat_for(&call.body, bytes)).await?;
            decoded.usage.into_iter().for_each(|usage| span.used(usage));
            let receipt = head.receipt();
            settle(&receipt, &decoded.output.model, &decoded);
            Ok(Reply::new(decoded.output, receipt).with_limits(head.limits))
        })
        .await
    }

    async fn ask_streamed(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        self.accept(&call)?;
        let (span, protocol) = (CallSpan::open("chat", &self.config.name, &call.body.model), &self.config.protocol);
        span.run(async {
            let model = &call.body.model;
            let encoded = protocol.chat(&call.body, true)?;
            let (head, body) = self.exchange(&call, model, EVENTS, encoded).await?;
            let (receipt, limits) = (head.receipt(), head.limits.clone());
            let body = head.deadline.bound(Peeked::new(body)).await.map_err(|error| head.blame(error))?;
            // The first bytes of the body decide, then the content type, because some servers do not stream, some
            // proxies answer with an HTML page, and some servers state a wrong content type.
            let stream = if body.is_whole().unwrap_or(head.is("json") || head.is("html")) {
                let decoded = self.read(&head, body, |bytes| protocol.read_chat_for(&call.body, bytes)).await?;
                decoded.usage.into_iter().for_each(|usage| span.used(usage));
                settle(&receipt, &decoded.output.model, &decoded);
                ChatStream::replay(Arc::new(decoded.output), decoded.usage)
            } else {
                let limits = Limits { event: self.config.max_event_bytes, body: self.config.max_body_bytes };
                let events = Events::new(head, body, limits, protocol.stream_decoder(&call.body), receipt.clone());
                Forward::new(events, receipt.clone(), Some(span.clone())).begin().await?
            };
            Ok(Reply::new(stream, receipt).with_limits(limits))
        })
        .await
    }

    async fn ask_embeddings(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        self.accept(&call)?;
        let (span, protocol) =
            (CallSpan::open("embeddings", &self.config.name, &call.body.model), &self.config.protocol);
        span.run(async {
            let model = &call.body.model;
            let encoded = protocol.embed(&call.body)?;
            let (head, body) = self.exchange(&call, model, JSON, encoded).await?;
            let inputs = call.body.inputs.len();
            let decoded = self.read(&head, body, |bytes| protocol.read_embeddings(bytes, inputs)).await?;
            decoded.usage.into_iter().for_each(|usage| span.used(usage));
            let receipt = head.receipt();
            settle(&receipt, &decoded.output.model, &decoded);
            Ok(Reply::new(decoded.output, receipt).with_limits(head.limits))
        })
        .await
    }
}

#[async_trait]
impl<W: VendorProtocol, T: Transport> Provider for Client<W, T> {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        self.ask(call).await
    }

    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        self.ask_streamed(call).await
    }

    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        self.ask_embeddings(call).await
    }
}

provider_services! {
    [W: VendorProtocol, T: Transport] Client<W, T>, |client, call|
    chat: client.ask(call),
    chat_stream: client.ask_streamed(call),
    embed: client.ask_embeddings(call),
}
