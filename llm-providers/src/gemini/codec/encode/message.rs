use llm_core::{
    Error, Extra, Message, Part, Role, ToolCall,
    chat::{Image, Reasoning},
};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    super::{Dialect, call_id::sent},
    part::{Called, EncodedPart, Known, OWN, Payload, object},
    result::function_response,
    unsupported::unsupported,
};
use crate::protocol::encode::{names, no_name_shadows, no_shadow};
use crate::protocol::{arguments, cross_vendor, is_blank_instruction};

/// Fields of which a part must have exactly one, so that unknown fields must not have these names.
const KINDS: [&str; 5] = ["text", "inlineData", "fileData", "functionCall", "functionResponse"];

/// Consecutive messages of one role, which are sent as one content.
#[derive(Serialize)]
pub(super) struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<EncodedPart<'a>>,
    #[serde(flatten)]
    extra: Extra,
    /// True if the content holds results of tools, which are sent without other parts.
    #[serde(skip)]
    responses: bool,
}

/// Splits messages into the instructions and the conversation.
pub(super) fn conversation(
    messages: &[Message],
    dialect: Dialect,
) -> Result<(Option<Content<'_>>, Vec<Content<'_>>), Error> {
    let is_instruction = |message: &Message| matches!(message.role, Role::System | Role::Developer);
    let leading = messages.iter().take_while(|message| is_instruction(message)).count();
    let mut system = None;
    let mut contents: Vec<Content<'_>> = Vec::new();
    for (at, message) in messages.iter().enumerate().filter(|(_, message)| !is_blank_instruction(message)) {
        let of = format!("messages[{at}].");
        if message.name.is_some() {
            return Err(unsupported(format!("{of}name has no place")));
        }
        if at < leading {
            no_shadow(&of, &message.extra, &["parts"])?;
            instruct(system.get_or_insert_with(|| Content::new(None)), message, &of, dialect)?;
            continue;
        }
        if is_instruction(message) {
            return Err(unsupported(format!(
                "{of}role ({}), after the conversation began, has no place",
                message.role.name()
            )));
        }
        no_shadow(&of, &message.extra, &["role", "parts"])?;
        let turn = turn(message, &messages[..at], &of, dialect)?;
        if turn.parts.is_empty() && !message.parts.is_empty() {
            // All parts of the message were left out, and Gemini refuses a content without parts.
            continue;
        }
        match contents.last_mut() {
            Some(last) if last.responses && turn.responses => {
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
        Self { role, parts: Vec::new(), extra: Extra::default(), responses: false }
    }
}

fn instruct<'a>(system: &mut Content<'a>, message: &'a Message, of: &str, dialect: Dialect) -> Result<(), Error> {
    for (nth, part) in message.parts.iter().enumerate() {
        let here = format!("{of}parts[{nth}]");
        check(part, &here, dialect)?;
        system.parts.push(match part {
            Part::Text { text, extra } => EncodedPart::with(Payload::Text(text), extra),
            Part::Other { value } => EncodedPart::Raw(value),
            part => return Err(misplaced(part, message.role, &here)),
        });
    }
    system.extra.merge(&message.extra);
    Ok(())
}

fn turn<'a>(message: &'a Message, before: &'a [Message], of: &str, dialect: Dialect) -> Result<Content<'a>, Error> {
    let role = if message.role == Role::Assistant { "model" } else { "user" };
    let mut content = Content { responses: message.role == Role::Tool, ..Content::new(Some(role)) };
    content.extra.clone_from(&message.extra);
    for (nth, part) in message.parts.iter().enumerate() {
        let here = format!("{of}parts[{nth}]");
        check(part, &here, dialect)?;
        let part = match (message.role, part) {
            (Role::Tool, Part::ToolResult(result)) => function_response(result, before, &here)?,
            (Role::User | Role::Assistant, Part::Text { text, extra }) => EncodedPart::with(Payload::Text(text), extra),
            (Role::User | Role::Assistant, Part::Image(image)) => EncodedPart::image(image, &here)?,
            (Role::User | Role::Assistant, Part::Other { value }) => EncodedPart::Raw(value),
            (Role::Assistant, Part::ToolCall(call)) => called(call, &here)?,
            (Role::Assistant, Part::Reasoning(reasoning)) => {
                if cross_vendor::refuse_signature(reasoning, &here, &OWN).is_err() {
                    continue;
                }
                let Reasoning { text, signature, extra } = reasoning;
                let (data, thought_signature) = (Payload::Text(text), signature.as_deref());
                let mut extra = object(extra);
                extra.remove("thought");
                EncodedPart::Known(Box::new(Known { data, thought: true, thought_signature, extra }))
            }
            (role, part) => return Err(misplaced(part, role, &here)),
        };
        content.parts.push(part);
    }
    Ok(content)
}

/// Returns an error for unknown fields of a part that have the name of a known field, or that only another vendor's
/// responses contain.
fn check(part: &Part, here: &str, dialect: Dialect) -> Result<(), Error> {
    let of = format!("{here}.");
    let extra = match part {
        Part::Text { extra, .. } | Part::Image(Image { extra, .. }) => {
            no_shadow(&of, extra, &KINDS)?;
            extra
        }
        Part::ToolCall(call) => {
            // Unknown fields of the call itself are in an object with the name `functionCall`.
            no_name_shadows(&format!("{of}extra."), names(&call.extra).filter(|name| *name != "functionCall"), &KINDS)?;
            &call.extra
        }
        Part::Reasoning(reasoning) => {
            no_shadow(&of, &reasoning.extra, &KINDS)?;
            no_shadow(&of, &reasoning.extra, &["thoughtSignature"])?;
            if !dialect.approximate {
                cross_vendor::refuse_signature(reasoning, here, &OWN)?;
            }
            &reasoning.extra
        }
        Part::ToolResult(result) => {
            for (at, part) in result.content.iter().enumerate() {
                check(part, &format!("{here}.content[{at}]"), dialect)?;
            }
            &result.extra
        }
        Part::Other { value } => return cross_vendor::refuse_part(value, here, "gemini"),
        Part::Refusal { .. } => return Ok(()),
    };
    if dialect.approximate { Ok(()) } else { cross_vendor::refuse_fields(extra, here, &OWN) }
}

/// Encodes a tool call of the conversation so far. The unknown fields of the call become fields of its part, except
/// those in an object `functionCall`, which become fields of the call.
fn called<'a>(call: &'a ToolCall, here: &str) -> Result<EncodedPart<'a>, Error> {
    let ToolCall { id, name, arguments: _, extra } = call;
    // The text that the model wrote is sent, so that digits and the order of fields are kept.
    let args = match serde_json::from_str::<&RawValue>(arguments(call)) {
        Ok(args) if args.get().starts_with('{') => args,
        _ => return Err(Error::invalid(format!("{here}.arguments is not a JSON object, as gemini wants it"))),
    };
    let mut extra = object(extra);
    let own = match extra.remove("functionCall") {
        Some(Value::Object(own)) => own,
        None => Map::new(),
        Some(_) => return Err(Error::invalid(format!("{here}.extra.functionCall is not an object"))),
    };
    no_name_shadows(&format!("{here}.extra.functionCall."), own.keys().map(String::as_str), &["id", "name", "args"])?;
    let data = Payload::FunctionCall(Called { id: sent(id), name, args, extra: own });
    Ok(EncodedPart::Known(Box::new(Known { data, thought: false, thought_signature: None, extra })))
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
