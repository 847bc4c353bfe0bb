use llm_core::{Error, Extra, Message, Part, Reasoning, Role, ToolCall};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    super::call_id::sent,
    names, no_shadow,
    part::{Called, Known, Payload, WirePart, object},
    result::answered,
    unsupported,
};

/// What a part holds one of, so that its further fields cannot.
const KINDS: [&str; 5] = ["text", "inlineData", "fileData", "functionCall", "functionResponse"];

/// A turn of the conversation.
#[derive(Serialize)]
pub(super) struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<WirePart<'a>>,
    #[serde(flatten)]
    extra: Extra,
    /// Whether it holds answers of tools, which stand together.
    #[serde(skip)]
    answers: bool,
}

/// The instructions, and the conversation.
pub(super) fn conversation(messages: &[Message]) -> Result<(Option<Content<'_>>, Vec<Content<'_>>), Error> {
    let is_instruction = |message: &Message| matches!(message.role, Role::System | Role::Developer);
    let leading = messages.iter().take_while(|message| is_instruction(message)).count();
    let mut system = None;
    let mut contents: Vec<Content<'_>> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let of = format!("messages[{at}].");
        if message.name.is_some() {
            return Err(unsupported(format!("{of}name has no place")));
        }
        if at < leading {
            no_shadow(&format!("{of}extra."), names(&message.extra), &["parts"])?;
            instruct(system.get_or_insert_with(|| Content::new(None)), message, &of)?;
            continue;
        }
        if is_instruction(message) {
            return Err(unsupported(format!(
                "{of}role ({}), after the conversation began, has no place",
                message.role.name()
            )));
        }
        no_shadow(&format!("{of}extra."), names(&message.extra), &["role", "parts"])?;
        let turn = turn(message, &messages[..at], &of)?;
        match contents.last_mut() {
            Some(last) if last.answers && turn.answers => {
                last.parts.extend(turn.parts);
                last.extra.merge(&turn.extra);
            }
            _ => contents.push(turn),
        }
    }
    if contents.is_empty() {
        return Err(Error::invalid("messages holds only instructions: gemini needs something to answer"));
    }
    Ok((system, contents))
}

impl Content<'_> {
    fn new(role: Option<&'static str>) -> Self {
        Self { role, parts: Vec::new(), extra: Extra::default(), answers: false }
    }
}

fn instruct<'a>(system: &mut Content<'a>, message: &'a Message, of: &str) -> Result<(), Error> {
    for (nth, part) in message.parts.iter().enumerate() {
        let here = format!("{of}parts[{nth}]");
        check(part, &here)?;
        system.parts.push(match part {
            Part::Text { text, extra } => WirePart::with(Payload::Text(text), extra),
            Part::Other { value } => WirePart::Raw(value),
            part => return Err(misplaced(part, message.role, &here)),
        });
    }
    system.extra.merge(&message.extra);
    Ok(())
}

fn turn<'a>(message: &'a Message, before: &'a [Message], of: &str) -> Result<Content<'a>, Error> {
    let role = if message.role == Role::Assistant { "model" } else { "user" };
    let mut content = Content { answers: message.role == Role::Tool, ..Content::new(Some(role)) };
    content.extra.clone_from(&message.extra);
    for (nth, part) in message.parts.iter().enumerate() {
        let here = format!("{of}parts[{nth}]");
        check(part, &here)?;
        let part = match (message.role, part) {
            (Role::Tool, Part::ToolResult(result)) => answered(result, before, &here)?,
            (Role::User | Role::Assistant, Part::Text { text, extra }) => WirePart::with(Payload::Text(text), extra),
            (Role::User | Role::Assistant, Part::Image(image)) => WirePart::image(image, &here)?,
            (Role::User | Role::Assistant, Part::Other { value }) => WirePart::Raw(value),
            (Role::Assistant, Part::ToolCall(call)) => called(call, &here)?,
            (Role::Assistant, Part::Reasoning(reasoning)) => {
                let Reasoning { text, signature, extra } = reasoning;
                let (data, thought_signature) = (Payload::Text(text), signature.as_deref());
                WirePart::Known(Box::new(Known { data, thought: true, thought_signature, extra: object(extra) }))
            }
            (role, part) => return Err(misplaced(part, role, &here)),
        };
        content.parts.push(part);
    }
    Ok(content)
}

/// Refuses further fields of a part that it has itself.
fn check(part: &Part, here: &str) -> Result<(), Error> {
    let of = format!("{here}.extra.");
    match part {
        Part::Text { extra, .. } => no_shadow(&of, names(extra), &KINDS),
        Part::Image(image) => no_shadow(&of, names(&image.extra), &KINDS),
        // What the call itself has further is in an object of that name.
        Part::ToolCall(call) => no_shadow(&of, names(&call.extra).filter(|name| *name != "functionCall"), &KINDS),
        Part::Reasoning(reasoning) => {
            no_shadow(&of, names(&reasoning.extra), &KINDS)?;
            no_shadow(&of, names(&reasoning.extra), &["thought", "thoughtSignature"])
        }
        Part::ToolResult(_) | Part::Refusal { .. } | Part::Other { .. } => Ok(()),
    }
}

/// A tool call of the conversation so far. Its further fields are those of its part; those of the call itself are in an
/// object `functionCall` among them.
fn called<'a>(call: &'a ToolCall, here: &str) -> Result<WirePart<'a>, Error> {
    let ToolCall { id, name, arguments, extra } = call;
    let args = match arguments.trim() {
        "" => Value::Object(Map::new()),
        text => match serde_json::from_str(text) {
            Ok(args @ Value::Object(_)) => args,
            _ => return Err(Error::invalid(format!("{here}.arguments is not a JSON object, as gemini wants it"))),
        },
    };
    let mut extra = object(extra);
    let own = match extra.remove("functionCall") {
        Some(Value::Object(own)) => own,
        None => Map::new(),
        Some(_) => return Err(Error::invalid(format!("{here}.extra.functionCall is not an object"))),
    };
    no_shadow(&format!("{here}.extra.functionCall."), own.keys().map(String::as_str), &["id", "name", "args"])?;
    let data = Payload::FunctionCall(Called { id: sent(id), name, args, extra: own });
    Ok(WirePart::Known(Box::new(Known { data, thought: false, thought_signature: None, extra })))
}

fn misplaced(part: &Part, role: Role, here: &str) -> Error {
    let kind = match part {
        Part::Text { .. } => "text",
        Part::Image(_) => "an image",
        Part::ToolCall(_) => "a tool call",
        Part::ToolResult(_) => "a tool result",
        Part::Reasoning(_) => "reasoning",
        Part::Refusal { .. } => "a refusal",
        Part::Other { .. } => "a part without a name",
    };
    unsupported(format!("{here}, {kind} in a message of {}, has no place", role.name()))
}
