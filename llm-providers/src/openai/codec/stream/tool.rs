use llm_core::{ChatEvent, Error, Extra, ExtraOf, Part, ToolCall};
use serde_json::{Map, Value};

use super::super::{
    decode::arguments,
    fields::{Fields, malformed, take_index, take_object, take_text},
};

/// The tool calls of a choice as their fragments come. Their numbers here are their order.
#[derive(Debug, Default)]
pub(super) struct OpenCalls(Vec<OpenCall>);

#[derive(Debug)]
struct OpenCall {
    /// The vendor's number; some servers give every call the same one.
    number: u32,
    id: String,
    /// The call so far, if it must come whole: it has fields that pieces have no room for, or no name yet.
    held: Option<Held>,
}

#[derive(Debug, Default)]
struct Held {
    name: String,
    arguments: String,
    extra: Extra,
}

/// The most tool calls of one choice; each piece looks for its own among them.
const MOST: usize = 1_024;
/// A number that no call in the current form has.
const DEPRECATED: u32 = u32::MAX;

impl OpenCalls {
    /// One of a delta's `tool_calls`.
    ///
    /// # Errors
    ///
    /// More calls than any answer has.
    pub(super) fn fragment(
        &mut self,
        choice: u32,
        at: u32,
        call: Value,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Error> {
        let Value::Object(mut call) = call else { return Ok(()) };
        let number = take_index(&mut call, "index").unwrap_or(at);
        let id = take_text(&mut call, "id").unwrap_or_default();
        let custom = call.contains_key("custom");
        let mut function = take_object(&mut call, if custom { "custom" } else { "function" }).unwrap_or_default();
        if call.get("type").is_some_and(|kind| kind == "function" || kind.is_null()) {
            call.remove("type");
        }
        let name = take_text(&mut function, "name").unwrap_or_default();
        let text =
            if custom { take_text(&mut function, "input").unwrap_or_default() } else { arguments(&mut function) };
        if !function.is_empty() {
            call.insert(if custom { "custom" } else { "function" }.to_owned(), Value::Object(function));
        }
        self.take(choice, Fragment { number, id, name, text, extra: call }, events)
    }

    /// A delta's `function_call`.
    ///
    /// # Errors
    ///
    /// As [`fragment`](Self::fragment).
    pub(super) fn deprecated(
        &mut self,
        choice: u32,
        mut function: Fields,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Error> {
        let name = take_text(&mut function, "name").unwrap_or_default();
        let text = arguments(&mut function);
        let fragment = Fragment { number: DEPRECATED, id: String::new(), name, text, extra: Map::new() };
        self.take(choice, fragment, events)
    }

    /// Gives the calls that must come whole.
    pub(super) fn flush(&mut self, choice: u32, events: &mut Vec<ChatEvent>) {
        for call in &mut self.0 {
            let Some(Held { name, arguments, extra }) = call.held.take() else { continue };
            let (id, name) = (call.id.as_str().into(), name.into());
            let part = Part::ToolCall(ToolCall { id, name, arguments: arguments.into(), extra });
            events.push(ChatEvent::Part { choice, part });
        }
    }

    fn take(&mut self, choice: u32, fragment: Fragment, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let Fragment { number, id, name, text, extra } = fragment;
        let same = |call: &OpenCall| call.number == number && (id.is_empty() || call.id.is_empty() || call.id == id);
        let known = self.0.iter().rposition(|call| call.number == number).filter(|at| same(&self.0[*at]));
        let at = known.unwrap_or(self.0.len());
        // A choice does not have four billion calls.
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        if known.is_none() {
            if self.0.len() == MOST {
                return Err(malformed(format!("a choice has more than {MOST} tool calls")));
            }
            let whole = name.is_empty() || !extra.is_empty();
            self.0.push(OpenCall { number, id: id.clone(), held: whole.then(Held::default) });
            if !whole {
                events.push(ChatEvent::ToolCall { choice, index, id: id.as_str().into(), name: name.as_str().into() });
            }
        }
        let call = &mut self.0[at];
        match &mut call.held {
            Some(held) => {
                if call.id.is_empty() {
                    call.id = id;
                }
                if held.name.is_empty() {
                    held.name = name;
                }
                held.arguments.push_str(&text);
                held.extra.merge(&Extra::from(extra));
            }
            None => {
                if !text.is_empty() {
                    events.push(ChatEvent::ToolArguments { choice, index, fragment: text.into() });
                }
                events.extend(late(choice, index, extra));
            }
        }
        Ok(())
    }
}

/// Fields that came after the call began. Its pieces have no room for them, so the message keeps them.
fn late(choice: u32, index: u32, mut extra: Fields) -> Option<ChatEvent> {
    if extra.is_empty() {
        return None;
    }
    extra.insert("index".to_owned(), index.into());
    let mut fields = Extra::default();
    fields.insert("tool_calls", vec![Value::Object(extra)]);
    Some(ChatEvent::Extra { of: ExtraOf::Message(choice), fields })
}

struct Fragment {
    number: u32,
    id: String,
    name: String,
    text: String,
    extra: Fields,
}
