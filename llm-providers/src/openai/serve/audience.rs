use llm_core::Extra;
use serde_json::{Map, Value};

/// Fields of a JSON object.
pub(crate) type Fields = Map<String, Value>;

/// Kind of client that reads a response in OpenAI's form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audience {
    /// Function that returns the unknown fields of an object which the client can read in addition to the required
    /// fields.
    pub(crate) keep: fn(Object, &Fields, &Extra) -> Fields,
    /// True for the operator's own program, which may read error messages that are not for clients.
    pub(crate) is_operator: bool,
}

/// Kind of object that can have unknown fields.
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
    /// Any client of the service. It gets all unknown fields whose names differ from those of the required ones.
    pub(crate) const CLIENTS: Self = Self { keep: beside, is_operator: false };
}

/// Returns the unknown fields that do not have the name of a known field of the object, in this chunk or in others.
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
    // The vendor's `created` replaces the value that this library writes.
    let is_free = |name: &str| name == "created" || !(required.contains_key(name) || taken.contains(&name));
    let fields = unknown.iter().filter(|(name, _)| is_free(name));
    fields.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
