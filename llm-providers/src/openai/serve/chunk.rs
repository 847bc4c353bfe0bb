use std::collections::BTreeMap;

use llm_core::{ChatEvent, Error, Extra, Part, Usage, chat::ExtraOf};
use serde_json::{Map, Value, json};

use super::{
    audience::{Audience, Fields, Object},
    response::{called, finish, head, native, placeless, usage_fields},
};

/// Value of the field `object` in a chunk.
const CHUNK: &str = "chat.completion.chunk";

/// Turns events of a streamed response into OpenAI's chunks.
#[derive(Debug)]
pub(super) struct Chunker {
    audience: Audience,
    id: String,
    model: String,
    /// Unknown fields of the response. Every chunk has those that the client can read.
    stated: Extra,
    unknown: Fields,
    choices: BTreeMap<u32, Open>,
    usage: Option<Usage>,
}

#[derive(Debug, Default)]
struct Open {
    /// True after a chunk of the choice stated the role.
    named_role: bool,
    /// Number of tool calls so far.
    calls: u32,
    /// Index of the last tool call, if the last event belonged to it.
    last: Option<u32>,
}

impl Chunker {
    pub(super) fn new(audience: Audience) -> Self {
        let (id, model, stated, unknown, choices, usage) = Default::default();
        Self { audience, id, model, stated, unknown, choices, usage }
    }

    /// Returns the chunk for an event; `None` if the event makes no chunk.
    pub(super) fn event(&mut self, event: ChatEvent) -> Result<Option<Value>, Error> {
        let (choice, delta) = match event {
            ChatEvent::Start { id, model } => {
                (self.id, self.model) = (id.to_string(), model.to_string());
                return Ok(None);
            }
            ChatEvent::Usage(usage) => {
                self.usage = Some(usage);
                return Ok(None);
            }
            ChatEvent::Text { choice, text } => (choice, json!({ "content": &*text })),
            ChatEvent::Reasoning { choice, text } => (choice, json!({ "reasoning_content": &*text })),
            ChatEvent::Refusal { choice, text } => (choice, json!({ "refusal": &*text })),
            ChatEvent::ToolCall { choice, index, id, name } => {
                let open = self.choices.entry(choice).or_default();
                open.calls = open.calls.max(index + 1);
                let call = json!({
                    "index": index, "id": &*id, "type": "function", "function": { "name": &*name, "arguments": "" },
                });
                (choice, json!({ "tool_calls": [call] }))
            }
            ChatEvent::ToolArguments { choice, index, fragment } => {
                let call = json!({ "index": index, "function": { "arguments": &*fragment } });
                (choice, json!({ "tool_calls": [call] }))
            }
            ChatEvent::Part { choice, part } => (choice, self.part(choice, part)?),
            ChatEvent::PartEnd { choice, signature: _, extra } => match (extra.is_empty(), self.last(choice)) {
                (false, Some(index)) => {
                    let mut call = Fields::new();
                    call.insert("index".into(), index.into());
                    call.extend(self.shown(Object::ToolCallChunk, &call, &extra));
                    (choice, json!({ "tool_calls": [call] }))
                }
                // The format has no field for the signature and the `cache_control` of a text, and clients do not
                // expect them.
                _ => return Ok(None),
            },
            ChatEvent::Finish { choice, reason } => {
                let native = native(&reason).into_iter().collect();
                return Ok(Some(self.chunk(choice, json!({}), finish(&reason), native)));
            }
            ChatEvent::Extra { of: ExtraOf::Response, fields } => {
                self.stated.merge(&fields);
                let mut required = head(CHUNK, "", "");
                required.insert("choices".into(), Value::Array(Vec::new()));
                self.unknown = self.shown(Object::Chunk, &required, &self.stated);
                return Ok(None);
            }
            ChatEvent::Extra { of: ExtraOf::Message(choice), fields } => {
                (choice, self.shown(Object::Delta, &Fields::new(), &fields).into())
            }
            ChatEvent::Extra { of: ExtraOf::Choice(choice), fields } => {
                let required = Fields::from_iter([("index".into(), choice.into()), ("delta".into(), json!({}))]);
                let unknown = self.shown(Object::ChunkChoice, &required, &fields);
                return Ok(Some(self.chunk(choice, json!({}), None, unknown)));
            }
            _ => return Err(placeless("a piece without a name")),
        };
        self.choices.entry(choice).or_default().last = number(&delta);
        Ok(Some(self.chunk(choice, delta, None, Map::new())))
    }

    /// Returns the last chunk, which states the usage.
    pub(super) fn usage(&self) -> Option<Value> {
        let mut fields = self.head();
        fields.insert("choices".into(), Value::Array(Vec::new()));
        fields.insert("usage".into(), usage_fields(self.usage?, &self.stated));
        Some(fields.into())
    }

    fn part(&mut self, choice: u32, part: Part) -> Result<Value, Error> {
        let open = self.choices.entry(choice).or_default();
        match part {
            Part::ToolCall(call) => {
                let mut fields = called(&call);
                if fields.contains_key("custom") {
                    // Clients can read only the type `function` in a chunk, so the type of a custom tool is left out.
                    fields.remove("type");
                }
                fields.insert("index".into(), open.calls.into());
                open.calls += 1;
                Ok(json!({ "tool_calls": [fields] }))
            }
            Part::Text { text, .. } => Ok(json!({ "content": &*text })),
            Part::Refusal { text } => Ok(json!({ "refusal": &*text })),
            Part::Reasoning(reasoning) => Ok(json!({ "reasoning_content": &*reasoning.text })),
            Part::Image(_) => Err(placeless("an image")),
            Part::ToolResult(_) => Err(placeless("a tool's result")),
            Part::Other { .. } => Err(placeless("a part without a name")),
        }
    }

    fn shown(&self, object: Object, required: &Fields, unknown: &Extra) -> Fields {
        (self.audience.keep)(object, required, unknown)
    }

    fn last(&self, choice: u32) -> Option<u32> {
        self.choices.get(&choice)?.last
    }

    fn chunk(&mut self, choice: u32, mut delta: Value, finish: Option<&str>, unknown: Fields) -> Value {
        let open = self.choices.entry(choice).or_default();
        if !std::mem::replace(&mut open.named_role, true) {
            delta["role"] = "assistant".into();
        }
        let mut entry = Map::new();
        entry.insert("index".into(), choice.into());
        entry.insert("delta".into(), delta);
        entry.insert("finish_reason".into(), json!(finish));
        entry.extend(unknown);
        let mut fields = self.head();
        fields.insert("choices".into(), json!([entry]));
        fields.into()
    }

    fn head(&self) -> Fields {
        let mut fields = head(CHUNK, &self.id, &self.model);
        fields.extend(self.unknown.clone());
        fields
    }
}

fn number(delta: &Value) -> Option<u32> {
    u32::try_from(delta.get("tool_calls")?.get(0)?.get("index")?.as_u64()?).ok()
}
