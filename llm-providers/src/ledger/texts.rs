//! Texts of requests and responses for the request log.

use std::any::Any;

use llm_core::{
    ChatRequest, ChatResponse, EmbedInput, EmbedRequest, Embeddings, Message, Operation, Part, layer::Streamed,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::protocol::clean;

/// Texts of a call in the request log.
#[derive(Serialize)]
pub(super) struct Texts {
    pub(super) request: RequestTexts,
    pub(super) response: Option<Value>,
}

/// Texts of a request: one for each message of a chat, one for each text to embed, none for an application's own
/// operation.
#[derive(Debug, Serialize)]
pub(super) struct RequestTexts(Vec<Value>);

impl RequestTexts {
    pub(super) fn of<T: Operation>(body: &T) -> Self {
        let body: &dyn Any = body;
        let streamed = || body.downcast_ref::<Streamed<ChatRequest>>().map(|streamed| &streamed.0);
        if let Some(request) = body.downcast_ref::<ChatRequest>().or_else(streamed) {
            return Self(request.messages.iter().map(message).collect());
        }
        let embed = body.downcast_ref::<EmbedRequest>();
        Self(embed.into_iter().flat_map(|request| request.inputs.iter()).filter_map(input).collect())
    }
}

/// Returns the text of a response: that of the first choice of a chat, or the JSON of an application's own operation.
/// Embeddings have no text.
pub(super) fn response_text<C: Serialize + Any>(response: &C) -> Option<Value> {
    let any: &dyn Any = response;
    if any.is::<Embeddings>() {
        return None;
    }
    match any.downcast_ref::<ChatResponse>() {
        Some(chat) => Some(clean(&chat.text(), None).into()),
        None => serde_json::to_string(response).ok().and_then(|text| serde_json::from_str(&clean(&text, None)).ok()),
    }
}

fn message(message: &Message) -> Value {
    let texts = message.parts.iter().filter_map(|part| match part {
        Part::Text { text, .. } => Some(&**text),
        _ => None,
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    json!({"role": message.role, "text": clean(&text, None)})
}

fn input(input: &EmbedInput) -> Option<Value> {
    match input {
        EmbedInput::Text(text) => Some(clean(text, None).into()),
        EmbedInput::Tokens(_) => None,
    }
}
