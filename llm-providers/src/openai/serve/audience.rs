use llm_core::Extra;
use serde_json::{Map, Value};

/// Fields of a JSON object.
pub(crate) type Fields = Map<String, Value>;

/// Reader of a response in OpenAI's form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audience {
    /// Returns the unknown fields of an object that the reader can take, beside its required fields.
    pub(crate) keep: fn(Object, &Fields, &Extra) -> Fields,
    /// True for the operator's own program, which may read messages that are not for clients.
    pub(crate) is_operator: bool,
}

/// Kinds of objects that have unknown fields.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Object {
    Response,
    Choice,
    Message,
    Chunk,
    ChunkChoice,
    Delta,
    ToolCallChunk,
}

impl Audience {
    /// Any client of the service. It gets all unknown fields that leave the required ones as they are.
    pub(crate) const CLIENTS: Self = Self { keep: beside, is_operator: false };
}

/// Returns the unknown fields whose names no field of the object has, in this chunk or in others.
fn beside(object: Object, required: &Fields, unknown: &Extra) -> Fields {
    let taken: &[&str] = match object {
        Object::Response => &["choices", "usage"],
        Object::Choice => &["message", "finish_reason"],
        Object::Message => &["content", "refusal", "tool_calls", "reasoning_content"],
        Object::Chunk => &["usage"],
        Object::ChunkChoice => &["finish_reason"],
        Object::Delta => &["role", "content", "refusal", "tool_calls", "reasoning_content"],
        Object::ToolCallChunk => &["id", "type", "function"],
    };
    // The vendor's time replaces ours.
    let is_free = |name: &str| name == "created" || !(required.contains_key(name) || taken.contains(&name));
    let fields = unknown.iter().filter(|(name, _)| is_free(name));
    fields.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
