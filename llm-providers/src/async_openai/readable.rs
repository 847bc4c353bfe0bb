use ::async_openai::types::chat::{
    ChatChoice, ChatChoiceStream, ChatCompletionMessageToolCallChunk, ChatCompletionResponseMessage,
    ChatCompletionStreamResponseDelta, CreateChatCompletionResponse, CreateChatCompletionStreamResponse,
};
use llm_core::Extra;
use serde::de::DeserializeOwned;

use crate::openai::serve::audience::{Audience, Fields, Object};

/// The client above. It reads no object with a word that it does not know.
pub(super) const CLIENT: Audience = Audience { keep: readable, is_operator: true };

fn readable(object: Object, required: &Fields, further: &Extra) -> Fields {
    match object {
        Object::Response => tried::<CreateChatCompletionResponse>(required, further),
        Object::Choice => tried::<ChatChoice>(required, further),
        Object::Message => tried::<ChatCompletionResponseMessage>(required, further),
        Object::Chunk => tried::<CreateChatCompletionStreamResponse>(required, further),
        Object::ChunkChoice => tried::<ChatChoiceStream>(required, further),
        Object::Delta => tried::<ChatCompletionStreamResponseDelta>(required, further),
        Object::ToolCallChunk => tried::<ChatCompletionMessageToolCallChunk>(required, further),
    }
}

/// Returns the further fields with which the client above can still read an object, tried on its own type `T`. What it
/// cannot read would make it refuse an answer that is paid.
///
/// `required` are the fields without which it reads no such object at all.
fn tried<T: DeserializeOwned>(required: &Fields, further: &Extra) -> Fields {
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
    let fields = further.iter().filter(|(name, value)| can_read(name, value));
    fields.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
