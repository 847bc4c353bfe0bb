use std::{fmt, sync::Arc};

use ::genai::{
    Client, ServiceTarget,
    adapter::AdapterKind,
    chat::ChatOptions,
    embed::{EmbedOptions, EmbedRequest as GenaiEmbedRequest},
};
use async_trait::async_trait;
use llm_core::{
    Call, ChatRequest, ChatResponse, ChatStream, EmbedInput, EmbedRequest, Embeddings, Error, ErrorKind, Provider,
    Receipt, Reply, layer::Accounting,
};

use super::{
    error::{classify, unresolved, unsupported},
    request,
    response::{read_response, usage},
    stream::Events,
};
use crate::{deadline::Deadline, forward::Forward, runtime, telemetry::CallSpan};

/// [`Provider`] that sends calls through a `genai::Client`.
///
/// Put layers on top with [`into_service`](llm_core::into_service). Always ready; clones share the client.
#[derive(Clone)]
pub struct Genai {
    client: Client,
    approximate: bool,
}

impl Genai {
    /// Creates a provider from a client, which keeps its own keys, URLs and model names.
    pub fn new(client: Client) -> Self {
        Self { client, approximate: false }
    }

    /// Leaves out reasoning of the conversation so far that cannot be sent, instead of returning an error. For OpenAI
    /// no reasoning can be sent. For other vendors, reasoning with a signature cannot be sent if the signature came
    /// through another adapter or not through `genai`.
    pub fn approximate(self, on: bool) -> Self {
        Self { approximate: on, ..self }
    }

    /// Returns the vendor, URL and key that `genai` uses for a model.
    async fn target(&self, model: &str) -> Result<ServiceTarget, Error> {
        self.client.resolve_service_target(model).await.map_err(unresolved)
    }
}

#[async_trait]
impl Provider for Genai {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        let (target, deadline, receipt) = self.begin(&call, &call.body.model).await?;
        let chat = request::chat(&call.body, target.model.adapter_kind, self.approximate)?;
        let options = request::options(&call.body, target.model.adapter_kind)?;
        let kind = target.model.adapter_kind;
        let span = CallSpan::open("chat", kind.as_lower_str(), &call.body.model);
        let answering = async {
            call.mark_sent();
            let response = deadline.bound(self.client.exec_chat(target, chat, Some(&options))).await?;
            let response = response.map_err(|error| classify(error, kind))?;
            let usage = usage(&response.usage);
            let response = read_response(response)?;
            settle(&receipt, &response.model, usage);
            span.response_model(&response.model);
            usage.into_iter().for_each(|usage| span.used(usage));
            Ok(response)
        };
        let response = span.run(answering).await?;
        Ok(Reply::new(response, receipt))
    }

    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        let (target, deadline, receipt) = self.begin(&call, &call.body.model).await?;
        let kind = target.model.adapter_kind;
        let chat = request::chat(&call.body, kind, self.approximate)?;
        let options = ChatOptions {
            capture_usage: Some(true),
            capture_tool_calls: Some(true),
            ..request::options(&call.body, kind)?
        };
        let span = CallSpan::open("chat", kind.as_lower_str(), &call.body.model);
        let opening = async {
            call.mark_sent();
            let response = deadline.bound(self.client.exec_chat_stream(target, chat, Some(&options))).await?;
            let response = response.map_err(|error| classify(error, kind))?;
            let model = Arc::from(&*response.model_iden.model_name);
            let events = Events::new(response.stream, kind, model, deadline);
            Forward::new(events, receipt.clone(), Some(span.clone())).begin().await
        };
        let stream = span.run(opening).await?;
        Ok(Reply::new(stream, receipt))
    }

    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        call.body.validate()?;
        let texts = texts(&call.body)?;
        let (target, deadline, receipt) = self.begin(&call, &call.body.model).await?;
        let kind = target.model.adapter_kind;
        let options = EmbedOptions { dimensions: call.body.dimensions.map(|n| n as usize), ..EmbedOptions::default() };
        let span = CallSpan::open("embeddings", kind.as_lower_str(), &call.body.model);
        let (chat, inputs) = (GenaiEmbedRequest::new_batch(texts), call.body.inputs.len());
        let answering = async {
            call.mark_sent();
            let response = deadline.bound(self.client.exec_embed(target, chat, Some(&options))).await?;
            let response = response.map_err(|error| classify(error, kind))?;
            let model: Arc<str> = Arc::from(&*response.provider_model_iden.model_name);
            let usage = usage(&response.usage);
            settle(&receipt, &model, usage);
            span.response_model(&model);
            usage.into_iter().for_each(|usage| span.used(usage));
            let mut vectors = response.embeddings;
            vectors.sort_by_key(|vector| vector.index);
            let numbered = vectors.iter().map(|vector| vector.index).eq(0..inputs);
            if !numbered {
                let message = format!("{} vectors came for {inputs} inputs", vectors.len());
                return Err(Error::new(ErrorKind::Malformed, message).with_charge(super::error::charge(usage)));
            }
            Ok(Embeddings::new(model, vectors.into_iter().map(|vector| vector.vector.into()).collect()))
        };
        let response = span.run(answering).await?;
        Ok(Reply::new(response, receipt))
    }
}

impl Genai {
    /// Opens the span of a call and creates its receipt.
    async fn begin<T>(&self, call: &Call<T>, model: &str) -> Result<(ServiceTarget, Deadline, Receipt), Error> {
        let deadline = Deadline::of(call);
        runtime::require("genai's client")?;
        deadline.check()?;
        let target = self.target(model).await?;
        let mut accounting = Accounting::default();
        let vendor: Arc<str> = provider(target.model.adapter_kind).into();
        call.set_vendor(&vendor);
        accounting.provider = Some(vendor);
        Ok((target, deadline, Receipt::new(accounting)))
    }
}

fn settle(receipt: &Receipt, model: &Arc<str>, usage: Option<llm_core::Usage>) {
    receipt.edit(|accounting| {
        accounting.model = Some(Arc::clone(model));
        accounting.usage = usage;
    });
}

/// Returns the inputs as texts, because `genai` accepts nothing else.
fn texts(request: &EmbedRequest) -> Result<Vec<String>, Error> {
    let unknown =
        request.extra.iter().map(|(name, _)| name).find(|name| !EmbedRequest::TRANSPORT_FIELDS.contains(name));
    if let Some(name) = unknown {
        return Err(unsupported(format!("{name:?} among the unknown fields")));
    }
    let text = |(at, input): (usize, &EmbedInput)| match input {
        EmbedInput::Text(text) => Ok(text.to_string()),
        EmbedInput::Tokens(_) => Err(unsupported(format!("inputs[{at}], which is tokens,"))),
    };
    request.inputs.iter().enumerate().map(text).collect()
}

impl fmt::Debug for Genai {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The `genai` client is not shown, because it may hold keys.
        f.write_str("Genai")
    }
}

/// Returns the name of the vendor behind an adapter, as price tables and this crate's own clients write it.
fn provider(kind: AdapterKind) -> &'static str {
    match kind {
        AdapterKind::OpenAIResp => AdapterKind::OpenAI.as_lower_str(),
        kind => kind.as_lower_str(),
    }
}
