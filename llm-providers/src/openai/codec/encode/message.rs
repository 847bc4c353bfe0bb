use llm_core::{Error, Image, ImageSource, Message, Part, Role, ToolCall, ToolResult};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    super::{Dialect, Lack, Thoughts},
    content::{Called, Content},
    entries, entry, no_shadow,
    thought::{call_id, thoughts},
    unsupported,
};

/// Names that a message's further fields cannot take.
const TAKEN: [&str; 6] = ["role", "content", "name", "tool_calls", "tool_call_id", "refusal"];

/// Messages as they are sent: a tool's message once for each result in it.
pub(super) struct Wire<'a>(pub(super) &'a [Message], pub(super) &'a Dialect);

struct Spoken<'a>(&'a Message, &'a Dialect);
struct Answered<'a>(&'a Message, &'a ToolResult, &'a Dialect);

/// Refuses what the format cannot say.
pub(super) fn check(message: &Message, at: usize, dialect: &Dialect) -> Result<(), Error> {
    let of = format!("messages[{at}].");
    no_shadow(&of, &message.extra, &TAKEN)?;
    if message.name.is_some() && dialect.lacks(Lack::Names) {
        return Err(unsupported(dialect, format!("{of}name has no place")));
    }
    for (nth, part) in message.parts.iter().enumerate() {
        let here = format!("{of}parts[{nth}]");
        match (message.role, part) {
            (Role::Tool, Part::ToolResult(result)) => check_result(result, &here, dialect)?,
            (Role::Tool, _) => {
                return Err(unsupported(dialect, format!("{here}, which is no tool result, has no place")));
            }
            (Role::Assistant, Part::ToolCall(call)) => {
                let taken: &[&str] = if is_custom(call) { &["id", "custom"] } else { &["id", "function", "type"] };
                no_shadow(&format!("{here}."), &call.extra, taken)?;
            }
            (_, Part::Text { extra, .. }) => no_shadow(&format!("{here}."), extra, &["type", "text"])?,
            (Role::User, Part::Image(image)) => {
                check_image(image, &here, dialect)?;
                no_shadow(&format!("{here}."), &image.extra, &["type", "image_url"])?;
            }
            (_, Part::Other { .. }) => {}
            (Role::Assistant, Part::Reasoning(_) | Part::Refusal { .. }) => {}
            (role, part) => {
                let what = format!("{here}, {} in a message of {}, has no place", kind(part), role.name());
                return Err(unsupported(dialect, what));
            }
        }
    }
    Ok(())
}

fn check_image(image: &Image, here: &str, dialect: &Dialect) -> Result<(), Error> {
    let address = matches!(&image.source, ImageSource::Url { url } if !url.starts_with("data:"));
    if dialect.lacks(Lack::Images) {
        return Err(unsupported(dialect, format!("{here}, an image, has no place")));
    }
    if address && dialect.lacks(Lack::ImageAddresses) {
        return Err(unsupported(dialect, format!("{here}, an image at an address (give its bytes), has no place")));
    }
    Ok(())
}

fn check_result(result: &ToolResult, here: &str, dialect: &Dialect) -> Result<(), Error> {
    no_shadow(&format!("{here}."), &result.extra, &TAKEN)?;
    if result.is_error {
        return Err(unsupported(dialect, format!("{here}.is_error has no place (say it in the text)")));
    }
    match result.content.iter().position(|part| !matches!(part, Part::Text { .. })) {
        Some(at) => {
            let what = kind(&result.content[at]);
            Err(unsupported(dialect, format!("{here}.content[{at}], {what} in a tool's result, has no place")))
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
                Part::ToolResult(result) => Some(Either::Answered(Answered(message, result, self.1))),
                _ => None,
            });
            let spoken = (message.role != Role::Tool).then_some(Either::Spoken(Spoken(message, self.1)));
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
        let Self(message, ToolResult { call_id: id, content, is_error: _, extra }, dialect) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", message.role.name())?;
        map.serialize_entry("tool_call_id", &call_id(id, dialect.call_id_len))?;
        map.serialize_entry("content", &Content(content.iter().collect()))?;
        entry(&mut map, "name", &message.name)?;
        entries(&mut map, &message.extra)?;
        entries(&mut map, extra)?;
        map.end()
    }
}

impl Serialize for Spoken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(Message { role, parts, name, extra }, dialect) = self;
        let is_content = |part: &&Part| match part {
            Part::Text { .. } | Part::Image(_) | Part::Other { .. } => true,
            Part::Reasoning(reasoning) => dialect.thoughts == Thoughts::Parts && !reasoning.text.is_empty(),
            _ => false,
        };
        let content = Content(parts.iter().filter(is_content).collect());
        let calls: Vec<_> = parts.iter().filter_map(|part| called(part, dialect)).collect();
        let refusal: Option<String> = parts.iter().filter_map(refusal).reduce(|all, next| all + &next);
        let mut map = serializer.serialize_map(None)?;
        let role = if *role == Role::Developer && !dialect.developer { Role::System } else { *role };
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
        thoughts(&mut map, self.0, dialect)?;
        entries(&mut map, extra)?;
        map.end()
    }
}

fn called<'a>(part: &'a Part, dialect: &Dialect) -> Option<Called<'a>> {
    match part {
        Part::ToolCall(call) => Some(Called(call, dialect.call_id_len)),
        _ => None,
    }
}

fn refusal(part: &Part) -> Option<String> {
    match part {
        Part::Refusal { text } => Some(text.to_string()),
        _ => None,
    }
}
