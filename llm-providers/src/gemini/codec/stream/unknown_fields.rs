use llm_core::{ChatEvent, Extra, chat::ExtraOf};
use serde_json::Value;

use super::super::fields::Fields;

/// Name of the field whose complete value every chunk repeats.
const REPEATED: &str = "safetyRatings";
/// Name of the object of which a later chunk may state only some counts. Its counts replace the earlier ones.
const PARTLY: &str = "usageMetadata";

/// Unknown fields of the chunks of a stream. They are emitted once, at the end of the stream.
#[derive(Debug, Default)]
pub(super) struct UnknownFields(Fields);

impl UnknownFields {
    /// Adds the fields of a chunk. Objects are merged. A list is appended, unless it repeats the known list.
    pub(super) fn take(&mut self, fields: Fields) {
        for (name, value) in fields {
            match (self.0.get_mut(&name), value) {
                (Some(_), Value::Null) => {}
                (Some(Value::Object(known)), Value::Object(later)) if name == PARTLY => {
                    known.extend(later.into_iter().filter(|(_, value)| !value.is_null()));
                }
                (Some(known), value) if name != REPEATED => merge(known, value),
                (_, value) => drop(self.0.insert(name, value)),
            }
        }
    }

    /// Returns the value of a field as far as it has arrived.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Emits the collected fields, if there are any.
    pub(super) fn emit(&mut self, of: ExtraOf, events: &mut Vec<ChatEvent>) {
        let fields = std::mem::take(&mut self.0);
        if !fields.is_empty() {
            events.push(ChatEvent::Extra { of, fields: Extra::from(fields) });
        }
    }
}

fn merge(known: &mut Value, later: Value) {
    match (known, later) {
        (Value::Object(known), Value::Object(later)) => {
            for (name, value) in later {
                match known.get_mut(&name) {
                    Some(known) => merge(known, value),
                    None => drop(known.insert(name, value)),
                }
            }
        }
        (Value::Array(known), Value::Array(later)) => {
            if later.starts_with(known) {
                *known = later;
            } else {
                known.extend(later);
            }
        }
        (known, later) if !later.is_null() => *known = later,
        _ => {}
    }
}
