use llm_core::{Error, Extra, Message, Part, ToolResult};
use serde_json::value::RawValue;

use super::{
    super::call_id::sent,
    part::{EncodedPart, Payload, Response, Said, ToolOutput, object},
    unsupported::unsupported,
};
use crate::protocol::encode::no_shadow;

/// Encodes the result of a tool. Gemini requires the function's name, which is taken from the tool call in the earlier
/// messages `before`.
pub(super) fn function_response<'a>(
    result: &'a ToolResult,
    before: &'a [Message],
    here: &str,
) -> Result<EncodedPart<'a>, Error> {
    let ToolResult { call_id, content, is_error, extra } = result;
    no_shadow(&format!("{here}."), extra, &["id", "name", "response", "parts"])?;
    let name = called(call_id, before).ok_or_else(|| {
        Error::invalid(format!("{here}.call_id ({call_id:?}) is that of no tool call in the messages before"))
    })?;
    let (mut text, mut parts) = (String::new(), Vec::new());
    for (at, part) in content.iter().enumerate() {
        match part {
            Part::Text { text: more, extra } if extra.is_empty() => text.push_str(more),
            Part::Image(image) => parts.push(EncodedPart::image(image, &format!("{here}.content[{at}]"))?),
            _ => {
                let what = "which is neither plain text nor an image";
                return Err(unsupported(format!("{here}.content[{at}], {what}, has no place")));
            }
        }
    }
    let response = response(text, *is_error);
    let output = ToolOutput { id: sent(call_id), name, response, parts, extra: object(extra) };
    Ok(EncodedPart::with(Payload::FunctionResponse(output), &Extra::default()))
}

/// Returns the name of the function in the latest tool call with this id.
fn called<'a>(id: &str, before: &'a [Message]) -> Option<&'a str> {
    let parts = before.iter().rev().flat_map(|message| message.parts.iter().rev());
    parts.into_iter().find_map(|part| match part {
        Part::ToolCall(call) if *call.id == *id => Some(&*call.name),
        _ => None,
    })
}

/// Returns a tool's result as the object that Gemini requires, with all of its digits.
fn response(text: String, is_error: bool) -> Response {
    let name = if is_error { "error" } else { "result" };
    match serde_json::from_str::<Box<RawValue>>(&text) {
        Ok(object) if object.get().starts_with('{') => {
            Response { under: is_error.then_some(name), said: Said::Json(object) }
        }
        _ => Response { under: Some(name), said: Said::Text(text) },
    }
}
