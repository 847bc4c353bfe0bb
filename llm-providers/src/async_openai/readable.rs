use ::async_openai::types::chat::{
    ChatChoice, ChatChoiceStream, ChatCompletionMessageToolCallChunk, ChatCompletionResponseMessage,
    ChatCompletionStreamResponseDelta, CreateChatCompletionResponse, CreateChatCompletionStreamResponse,
};
use llm_core::Extra;
use serde::de::DeserializeOwned;

use crate::openai::serve::audience::{Audience, Fields, Object};

/// Audience of a [`ProviderService`](super::ProviderService): the `async-openai` client above it, which cannot parse an
/// object with a word that it does not know.
pub(super) const CLIENT: Audience = Audience { keep: readable, is_operator: true };

fn readable(object: Object, required: &Fields, unknown: &Extra) -> Fields {
    match object {
        Object::Response => tried::<CreateChatCompletionResponse>(required, unknown),
        Object::Choice => tried::<ChatChoice>(required, unknown),
        Object::Message => tried::<ChatCompletionResponseMessage>(required, unknown),
        Object::Chunk => tried::<CreateChatCompletionStreamResponse>(required, unknown),
        Object::ChunkChoice => tried::<ChatChoiceStream>(required, unknown),
        Object::Delta => tried::<ChatCompletionStreamResponseDelta>(required, unknown),
        Object::ToolCallChunk => tried::<ChatCompletionMessageToolCallChunk>(required, unknown),
    }
}

/// Returns the unknown fields with which the client above can still parse an object. Each field is tried by parsing the
/// object as the client's type `T`, because a field that the client cannot parse would fail a response that is already
/// paid.
///
/// `required` are the fields without which the client cannot parse the object.
fn tried<T: DeserializeOwned>(required: &Fields, unknown: &Extra) -> Fields {
    let mut tried = required.clone();
    let mut can_read = |name: &str, value: &serde_json::Value| {
        let before = tried.insert(name.to_owned(), value.clone());
        let can_read = T::deserialize(&tried).is_ok();
        match before {
            Some(before) => drop(tried.insert(name.to_owned(), before)),
            None => drop(tried.remove(name)),
        }
        can_read
    };
    let fields = unknown.iter().filter(|(name, value)| can_read(name, value));
    fields.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
