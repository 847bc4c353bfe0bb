use llm_core::{ChatEvent, Error, Extra, Part, ToolCall, chat::ExtraOf};
use serde_json::{Map, Value};

use super::{
    super::{
        decode::arguments,
        fields::{Fields, malformed, take_index, take_object, take_text},
    },
    brackets::Brackets,
};

/// Tool calls of a choice, as their fragments arrive. The index of a call in the emitted events is its position here.
#[derive(Debug, Default)]
pub(super) struct OpenCalls(Vec<OpenCall>);

#[derive(Debug)]
struct OpenCall {
    /// Index of the call that the vendor states. Some servers state the same index for every call.
    number: u32,
    id: String,
    name: String,
    /// Progress of the call's arguments.
    arguments: Brackets,
    /// Call so far, if it must be emitted in one piece, because it has no name yet or has fields that pieces cannot
    /// hold.
    held: Option<Held>,
}

#[derive(Debug, Default)]
struct Held {
    arguments: String,
    extra: Extra,
}

/// Largest number of tool calls of a choice, because each piece is compared with all of them.
const MOST: usize = 1_024;
/// Index of a call in the deprecated form `function_call`, which no call in the current form has.
const DEPRECATED: u32 = u32::MAX;

impl OpenCalls {
    /// Reads one of a delta's `tool_calls`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if there are more than [`MOST`] calls.
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

    /// Reads a delta's `function_call`.
    ///
    /// # Errors
    ///
    /// The errors of [`fragment`](Self::fragment).
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

    /// Emits the calls that must be emitted in one piece.
    pub(super) fn flush(&mut self, choice: u32, events: &mut Vec<ChatEvent>) {
        for call in &mut self.0 {
            let Some(Held { arguments, extra }) = call.held.take() else { continue };
            let (id, name) = (call.id.as_str().into(), call.name.as_str().into());
            let part = Part::ToolCall(ToolCall { id, name, arguments: arguments.into(), extra });
            events.push(ChatEvent::Part { choice, part });
        }
    }

    fn take(&mut self, choice: u32, fragment: Fragment, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if fragment.is_bare() && fragment.text.is_empty() && fragment.extra.is_empty() {
            return Ok(());
        }
        let at = match self.place(&fragment) {
            Some(at) => at,
            None => self.open(choice, &fragment, events)?,
        };
        let Fragment { number, id, name, text, mut extra } = fragment;
        let (index, call) = (number_of(at), &mut self.0[at]);
        call.number = number;
        call.arguments.push(&text);
        let is_late = call.id.is_empty() && !id.is_empty();
        if is_late {
            call.id.clone_from(&id);
        }
        if call.name.is_empty() {
            call.name = name;
        }
        match &mut call.held {
            Some(held) => {
                held.arguments.push_str(&text);
                held.extra.merge(&Extra::from(extra));
            }
            None => {
                if !text.is_empty() {
                    events.push(ChatEvent::ToolArguments { choice, index, fragment: text.into() });
                }
                if is_late {
                    extra.insert("id".to_owned(), id.into());
                }
                events.extend(late(choice, index, extra));
            }
        }
        Ok(())
    }

    /// Returns the position of the call that a fragment belongs to; `None` if the fragment begins a call, or may belong
    /// to several calls. In the latter case the fragment becomes a call without a name, so that its text is not lost.
    fn place(&self, fragment: &Fragment) -> Option<usize> {
        let Fragment { number, .. } = fragment;
        let Some(at) = self.0.iter().rposition(|call| call.number == *number) else {
            // Some servers state the same index at the beginning of every call, and the right index only in later
            // fragments.
            let last = self.0.len().checked_sub(1)?;
            return (fragment.is_bare() && number_of(last) == *number).then_some(last);
        };
        let (earlier, call) = (&self.0[..at], &self.0[at]);
        let waits = |call: &OpenCall| call.number == *number && call.arguments.is_empty();
        let is_ambiguous = fragment.is_bare() && waits(call) && earlier.iter().any(waits);
        (!is_ambiguous && !call.ends_before(fragment)).then_some(at)
    }

    /// Begins a call.
    fn open(&mut self, choice: u32, fragment: &Fragment, events: &mut Vec<ChatEvent>) -> Result<usize, Error> {
        let Fragment { number, id, name, text: _, extra } = fragment;
        let at = self.0.len();
        if at == MOST {
            return Err(malformed(format!("a choice has more than {MOST} tool calls")));
        }
        let is_held = name.is_empty() || !extra.is_empty();
        let (id, name) = (id.clone(), name.clone());
        if !is_held {
            let (id, name) = (id.as_str().into(), name.as_str().into());
            events.push(ChatEvent::ToolCall { choice, index: number_of(at), id, name });
        }
        let (arguments, held) = (Brackets::default(), is_held.then(Held::default));
        self.0.push(OpenCall { number: *number, id, name, arguments, held });
        Ok(at)
    }
}

impl OpenCall {
    /// Returns `true` if a fragment with the same index begins another call.
    fn ends_before(&self, fragment: &Fragment) -> bool {
        let Fragment { id, name, text, .. } = fragment;
        if !self.id.is_empty() && !id.is_empty() {
            // Some servers send a new id in every fragment of a call, so an id alone begins no call.
            return self.id != *id && !(name.is_empty() && self.arguments.is_open());
        }
        match (self.name.is_empty(), name.is_empty()) {
            (_, true) => false,
            (true, false) => self.arguments.is_closed(),
            // Some servers repeat the name in every fragment, so an equal name alone begins no call.
            _ if self.name == *name => self.arguments.is_closed() || self.arguments.is_empty() && text.is_empty(),
            _ => true,
        }
    }
}

/// Converts the position of a call to its index. No choice has more than [`MOST`] calls.
fn number_of(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Returns the event for fields that arrive after their call began. The event adds the fields to the message, because
/// later pieces of a call cannot hold unknown fields.
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

impl Fragment {
    /// Returns `true` if the fragment has neither an id nor a name.
    fn is_bare(&self) -> bool {
        self.id.is_empty() && self.name.is_empty()
    }
}
