use std::sync::Arc;

use llm_core::{ChatEvent, Error, Extra};
use serde_json::Value;

use super::super::decode::read_block;
use crate::protocol::fields::{Fields, malformed, take_text};

/// Index of the choice: this vendor's responses have only one.
pub(super) const CHOICE: u32 = 0;

/// Block of which pieces are still arriving.
#[derive(Debug)]
pub(super) struct OpenBlock {
    kind: Kind,
    /// True if an event for the block has been returned.
    shown: bool,
    /// Fields of the block, except those that arrive in pieces.
    fields: Fields,
    /// JSON text of a tool's input so far, if the input is not returned piece by piece.
    input: String,
    /// Signature so far, which arrives in pieces.
    signature: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Text,
    Thinking,
    /// Tool call, with its index.
    Tool(u32),
    /// Block that is returned in one piece, when it ends.
    Held,
}

impl OpenBlock {
    /// Begins a block. `calls` is the number of tool calls so far, and `last` the kind of the previous part.
    pub(super) fn begin(mut fields: Fields, calls: &mut u32, last: Option<Kind>, events: &mut Vec<ChatEvent>) -> Self {
        let kind = match fields.get("type").and_then(Value::as_str) {
            Some("text") => Kind::Text,
            Some("thinking") => Kind::Thinking,
            Some("tool_use") if fields.get("name").is_some_and(Value::is_string) => {
                *calls = calls.saturating_add(1);
                Kind::Tool(*calls - 1)
            }
            _ => Kind::Held,
        };
        let (mut input, mut signature, mut first) = (String::new(), String::new(), String::new());
        match kind {
            Kind::Text => first = take_text(&mut fields, "text").unwrap_or_default(),
            Kind::Thinking => {
                first = take_text(&mut fields, "thinking").unwrap_or_default();
                signature = take_text(&mut fields, "signature").unwrap_or_default();
            }
            Kind::Tool(index) => {
                let id = take_text(&mut fields, "id").unwrap_or_default().into();
                let name = take_text(&mut fields, "name").unwrap_or_default().into();
                events.push(ChatEvent::ToolCall { choice: CHOICE, index, id, name });
                // The text is usually empty at the beginning of a block, and arrives in pieces.
                input = take_text(&mut fields, "input").unwrap_or_default();
            }
            Kind::Held => {}
        }
        if kind != Kind::Held {
            fields.remove("type");
        }
        let mut block = Self { kind, shown: false, fields, input, signature };
        block.show(first, last, events);
        block
    }

    /// Reads a piece of the block, and adds events for it.
    pub(super) fn delta(
        &mut self,
        mut delta: Fields,
        last: Option<Kind>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Error> {
        let kind = take_text(&mut delta, "type").unwrap_or_default();
        let text = |name: &str, delta: &mut Fields| {
            take_text(delta, name).ok_or_else(|| malformed(format!("a {kind} of the stream has no {name}")))
        };
        match (&*kind, self.kind) {
            ("text_delta", Kind::Text) => self.show(text("text", &mut delta)?, last, events),
            ("thinking_delta", Kind::Thinking) => self.show(text("thinking", &mut delta)?, last, events),
            ("signature_delta", Kind::Thinking) => self.signature.push_str(&text("signature", &mut delta)?),
            ("input_json_delta", Kind::Tool(_)) => self.show(text("partial_json", &mut delta)?, last, events),
            ("input_json_delta", Kind::Held) => self.input.push_str(&text("partial_json", &mut delta)?),
            ("citations_delta", _) => {
                let citation = delta.remove("citation").unwrap_or_default();
                match self.fields.entry("citations").or_insert_with(|| Value::Array(Vec::new())) {
                    Value::Array(known) => known.push(citation),
                    other => *other = Value::Array(vec![citation]),
                }
            }
            _ => {}
        }
        self.keep_unknown(delta);
        Ok(())
    }

    /// Ends the block. Returns the kind of its part if a following part of the same kind would be merged with it.
    pub(super) fn end(mut self, last: Option<Kind>, events: &mut Vec<ChatEvent>) -> Option<Kind> {
        if let Kind::Tool(index) = self.kind
            && !self.shown
        {
            let input = if matches!(&*self.input, "" | "null") { "{}" } else { &self.input };
            events.push(ChatEvent::ToolArguments { choice: CHOICE, index, fragment: input.into() });
        } else if !self.shown {
            return if self.whole(events) { None } else { last };
        }
        if self.fields.get("citations").is_some_and(|list| list.is_null() || list.as_array().is_some_and(Vec::is_empty))
        {
            self.fields.remove("citations");
        }
        let signature: Option<Arc<str>> = (!self.signature.is_empty()).then(|| self.signature.into());
        let extra = Extra::from(self.fields);
        if signature.is_none() && extra.is_empty() {
            return Some(self.kind);
        }
        events.push(ChatEvent::PartEnd { choice: CHOICE, signature, extra });
        None
    }

    fn show(&mut self, text: String, last: Option<Kind>, events: &mut Vec<ChatEvent>) {
        if text.is_empty() {
            return;
        }
        if !self.shown && last == Some(self.kind) {
            events.push(ChatEvent::PartEnd { choice: CHOICE, signature: None, extra: Extra::default() });
        }
        self.shown = true;
        let text = text.into();
        events.push(match self.kind {
            Kind::Thinking => ChatEvent::Reasoning { choice: CHOICE, text },
            Kind::Tool(index) => ChatEvent::ToolArguments { choice: CHOICE, index, fragment: text },
            Kind::Text | Kind::Held => ChatEvent::Text { choice: CHOICE, text },
        });
    }

    /// Adds the complete block to the events. Returns `false` if the block is empty, so that no event was added.
    fn whole(mut self, events: &mut Vec<ChatEvent>) -> bool {
        let mut put = |name: &str, value: Value| drop(self.fields.insert(name.to_owned(), value));
        match self.kind {
            Kind::Text => {
                put("type", "text".into());
                put("text", "".into());
            }
            Kind::Thinking => {
                put("type", "thinking".into());
                put("thinking", "".into());
                put("signature", self.signature.into());
            }
            Kind::Held if !self.input.is_empty() => {
                // Input that is not JSON is kept as text.
                let input = serde_json::from_str(&self.input).unwrap_or(Value::String(self.input));
                put("input", input);
            }
            Kind::Held | Kind::Tool(_) => {}
        }
        let part = read_block(Value::Object(self.fields));
        let says = part.is_some();
        events.extend(part.map(|part| ChatEvent::Part { choice: CHOICE, part }));
        says
    }

    /// Adds the fields of a piece that this library does not know to the fields of the block.
    fn keep_unknown(&mut self, delta: Fields) {
        for (name, value) in delta.into_iter().filter(|(_, value)| !value.is_null()) {
            match (self.fields.get_mut(&name), value) {
                (Some(Value::String(known)), Value::String(more)) => known.push_str(&more),
                (_, value) => drop(self.fields.insert(name, value)),
            }
        }
    }
}
