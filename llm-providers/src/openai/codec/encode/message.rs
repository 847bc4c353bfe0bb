use llm_core::{Error, Message, Part, Role, ToolCall, ToolResult};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    content::{Called, Content},
    entries, entry, no_shadow, unsupported,
};

/// Names that a message's further fields cannot take.
const TAKEN: [&str; 6] = ["role", "content", "name", "tool_calls", "tool_call_id", "refusal"];

/// Messages as they are sent: a tool's message once for each result in it.
pub(super) struct Wire<'a>(pub(super) &'a [Message]);

struct Spoken<'a>(&'a Message);
struct Answered<'a>(&'a Message, &'a ToolResult);

/// Refuses what the format cannot say.
pub(super) fn check(message: &Message, at: usize) -> Result<(), Error> {
    let of = format!("messages[{at}].");
    no_shadow(&of, &message.extra, &TAKEN)?;
    for (nth, part) in message.parts.iter().enumerate() {
        let here = format!("{of}parts[{nth}]");
        match (message.role, part) {
            (Role::Tool, Part::ToolResult(result)) => check_result(result, &here)?,
            (Role::Tool, _) => return Err(unsupported(format!("{here}, which is no tool result, has no place"))),
            (Role::Assistant, Part::ToolCall(call)) => {
                let taken: &[&str] = if is_custom(call) { &["id", "custom"] } else { &["id", "function", "type"] };
                no_shadow(&format!("{here}."), &call.extra, taken)?;
            }
            (_, Part::Text { .. } | Part::Other { .. }) | (Role::User, Part::Image(_)) => {}
            (Role::Assistant, Part::Reasoning(_) | Part::Refusal { .. }) => {}
            (role, part) => {
                return Err(unsupported(format!(
                    "{here}, {} in a message of {}, has no place",
                    kind(part),
                    role.name()
                )));
            }
        }
    }
    Ok(())
}

fn check_result(result: &ToolResult, here: &str) -> Result<(), Error> {
    if result.is_error {
        return Err(unsupported(format!("{here}.is_error has no place (say it in the text)")));
    }
    match result.content.iter().position(|part| !matches!(part, Part::Text { .. })) {
        Some(at) => {
            let what = kind(&result.content[at]);
            Err(unsupported(format!("{here}.content[{at}], {what} in a tool's result, has no place")))
        }
        None => Ok(()),
    }
}

fn kind(part: &Part) -> &'static str {
    match part {
        Part::Text { .. } => "text",
        Part::Image(_) => "an image",
        Part::ToolCall(_) => "a tool call",
        Part::ToolResult(_) => "a tool result",
        Part::Reasoning(_) => "reasoning",
        Part::Refusal { .. } => "a refusal",
        Part::Other { .. } => "a part without a name",
    }
}

fn is_custom(call: &ToolCall) -> bool {
    call.extra.get("type").is_some_and(|kind| kind == "custom")
}

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = self.0.iter().flat_map(|message| {
            let results = message.parts.iter().filter_map(move |part| match part {
                Part::ToolResult(result) => Some(Either::Answered(Answered(message, result))),
                _ => None,
            });
            let spoken = (message.role != Role::Tool).then_some(Either::Spoken(Spoken(message)));
            results.chain(spoken)
        });
        serializer.collect_seq(wire)
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Either<'a> {
    Spoken(Spoken<'a>),
    Answered(Answered<'a>),
}

impl Serialize for Answered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(message, ToolResult { call_id, content, is_error: _ }) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", message.role.name())?;
        map.serialize_entry("tool_call_id", call_id)?;
        map.serialize_entry("content", &Content(content.iter().collect()))?;
        entry(&mut map, "name", &message.name)?;
        entries(&mut map, &message.extra)?;
        map.end()
    }
}

impl Serialize for Spoken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { role, parts, name, extra } = self.0;
        let is_content = |part: &&Part| matches!(part, Part::Text { .. } | Part::Image(_) | Part::Other { .. });
        let content = Content(parts.iter().filter(is_content).collect());
        let calls: Vec<_> = parts.iter().filter_map(called).collect();
        let refusal: Option<String> = parts.iter().filter_map(refusal).reduce(|all, next| all + &next);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", role.name())?;
        if content.0.is_empty() && (!calls.is_empty() || refusal.is_some()) {
            map.serialize_entry("content", &())?;
        } else {
            map.serialize_entry("content", &content)?;
        }
        entry(&mut map, "name", name)?;
        entry(&mut map, "refusal", &refusal)?;
        if !calls.is_empty() {
            map.serialize_entry("tool_calls", &calls)?;
        }
        entries(&mut map, extra)?;
        map.end()
    }
}

fn called(part: &Part) -> Option<Called<'_>> {
    match part {
        Part::ToolCall(call) => Some(Called(call)),
        _ => None,
    }
}

fn refusal(part: &Part) -> Option<String> {
    match part {
        Part::Refusal { text } => Some(text.to_string()),
        _ => None,
    }
}
