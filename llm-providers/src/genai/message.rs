use ::genai::{
    adapter::AdapterKind,
    chat::{Binary, ChatMessage, ChatRole, ContentPart, MessageContent, ToolCall as GenaiCall, ToolResponse},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use llm_core::{
    Error, Extra, Message, Part, Role, ToolCall, ToolResult,
    chat::{Image, ImageSource, Reasoning},
};
use serde_json::Value;

use super::error::unsupported;
use crate::protocol;

/// Name of the unknown field that keeps the signatures of a tool call, which some vendors require in later requests. In
/// signed reasoning the field holds the name of the adapter that returned the reasoning, because only that adapter
/// accepts the reasoning in later requests.
pub(super) const SIGNATURES: &str = "thought_signatures";

/// Converts a message, whose index in the conversation is `at`.
///
/// With `approximate`, reasoning that the adapter cannot send is left out.
pub(super) fn message(
    message: &Message,
    at: usize,
    kind: AdapterKind,
    approximate: bool,
) -> Result<ChatMessage, Error> {
    let Message { role, parts, name, extra } = message;
    let here = format!("messages[{at}]");
    if name.is_some() {
        return Err(unsupported(format!("{here}.name")));
    }
    without(extra, &here)?;
    let role = match role {
        Role::System => ChatRole::System,
        Role::User => ChatRole::User,
        Role::Assistant => ChatRole::Assistant,
        Role::Tool => ChatRole::Tool,
        Role::Developer => return Err(unsupported(format!("{here}.role developer"))),
    };
    let mut content = MessageContent::default();
    for (nth, part) in parts.iter().enumerate() {
        match pieces(part, &role, &format!("{here}.parts[{nth}]"), kind) {
            Err(_) if approximate && matches!((&role, part), (ChatRole::Assistant, Part::Reasoning(_))) => {}
            pieces => content.extend(pieces?),
        }
    }
    Ok(ChatMessage::new(role, content))
}

fn pieces(part: &Part, role: &ChatRole, here: &str, kind: AdapterKind) -> Result<Vec<ContentPart>, Error> {
    match (role, part) {
        (_, Part::Text { text, extra }) => {
            without(extra, here)?;
            Ok(vec![ContentPart::Text(text.to_string())])
        }
        (ChatRole::User, Part::Image(image)) => Ok(vec![ContentPart::Binary(binary(image, here)?)]),
        (ChatRole::Assistant, Part::ToolCall(call)) => Ok(vec![ContentPart::ToolCall(called(call, here)?)]),
        (ChatRole::Tool, Part::ToolResult(result)) => Ok(vec![ContentPart::ToolResponse(tool_response(result, here)?)]),
        (ChatRole::Assistant, Part::Reasoning(reasoning)) => thought(reasoning, here, kind),
        _ => Err(unsupported(format!("{here}, a part of this kind in a message of this role,"))),
    }
}

/// Converts reasoning into a signature and the signed text, in the order that `genai` requires.
fn thought(reasoning: &Reasoning, here: &str, kind: AdapterKind) -> Result<Vec<ContentPart>, Error> {
    let Reasoning { text, signature, extra } = reasoning;
    if let Some((name, _)) = extra.iter().find(|(name, _)| *name != SIGNATURES) {
        return Err(unsupported(format!("{here}.{name}")));
    }
    if signature.is_some() && extra.get(SIGNATURES).is_none_or(|adapter| *adapter != kind.as_lower_str()) {
        return Err(unsupported(format!("{here}, reasoning that was not signed through genai's {kind} adapter,")));
    }
    // OpenAI's own format has no field for reasoning, but genai would send it to every server that uses the format.
    if kind == AdapterKind::OpenAI {
        return Err(unsupported(format!("{here}, reasoning for {kind},")));
    }
    let signature = signature.as_ref().map(|text| ContentPart::ThoughtSignature(text.to_string()));
    let text = (!text.is_empty()).then(|| ContentPart::ReasoningContent(text.to_string()));
    Ok(signature.into_iter().chain(text).collect())
}

fn binary(image: &Image, here: &str) -> Result<Binary, Error> {
    let Image { source, detail, extra } = image;
    without(extra, here)?;
    if detail.is_some() {
        return Err(unsupported(format!("{here}.detail")));
    }
    Ok(match source {
        ImageSource::Bytes { media_type, data } => Binary::from_base64(&**media_type, STANDARD.encode(data), None),
        // The media type of a URL is not known, and genai requires one that begins with `image`.
        ImageSource::Url { url } => Binary::from_url("image/*", &**url, None),
    })
}

fn called(call: &ToolCall, here: &str) -> Result<GenaiCall, Error> {
    let ToolCall { id, name, arguments: _, extra } = call;
    let signatures = |value: &Value| serde_json::from_value::<Vec<String>>(value.clone()).ok();
    if let Some((name, _)) = extra.iter().find(|(name, _)| *name != SIGNATURES) {
        return Err(unsupported(format!("{here}.{name}")));
    }
    let fn_arguments = serde_json::from_str(protocol::arguments(call))
        .map_err(|_| unsupported(format!("{here}.arguments that are no JSON")))?;
    Ok(GenaiCall {
        call_id: id.to_string(),
        fn_name: name.to_string(),
        fn_arguments,
        thought_signatures: extra.get(SIGNATURES).and_then(signatures),
    })
}

fn tool_response(result: &ToolResult, here: &str) -> Result<ToolResponse, Error> {
    let ToolResult { call_id, content, is_error, extra } = result;
    without(extra, here)?;
    if *is_error {
        return Err(unsupported(format!("{here}.is_error (say it in the text)")));
    }
    let text = |part: &Part| match part {
        Part::Text { text, .. } => Ok(text.to_string()),
        _ => Err(unsupported(format!("{here}.content that is not text"))),
    };
    Ok(ToolResponse::new(&**call_id, content.iter().map(text).collect::<Result<String, _>>()?))
}

fn without(extra: &Extra, here: &str) -> Result<(), Error> {
    match extra.iter().next() {
        Some((name, _)) => Err(unsupported(format!("{here}.{name}"))),
        None => Ok(()),
    }
}
