use std::sync::Arc;

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use llm_core::{
    Extra, Part, ToolCall,
    chat::{Image, ImageSource, Reasoning},
};
use serde_json::Value;

use super::super::{
    CallIds,
    fields::{Fields, take_object, take_text},
};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const SIGNATURE: &str = "thoughtSignature";

/// Reads a part of a candidate of a response.
///
/// An empty text or thought without other fields is dropped. A part of a kind that this library does not know is kept
/// as the vendor wrote it.
pub(crate) fn read_part(value: Value, response: &str, ids: &mut CallIds) -> Option<Part> {
    match value {
        Value::Object(fields) if fields.get("functionCall").is_some_and(is_call) => Some(call(fields, response, ids)),
        Value::Object(fields) if fields.get("text").is_some_and(Value::is_string) => text(fields),
        mut value => {
            if value.get("functionCall").is_some_and(Value::is_object) {
                ids.note_malformed();
            }
            whole(&mut value);
            let image = value.as_object().filter(|fields| fields.get("thought").is_none()).and_then(image);
            Some(image.unwrap_or_else(|| Part::Other { value: Arc::new(value) }))
        }
    }
}

fn is_call(call: &Value) -> bool {
    call.get("name").is_some_and(Value::is_string)
}

/// Turns the JSON text in the arguments of an unknown kind of call back into JSON.
fn whole(part: &mut Value) {
    let Some(Value::Object(call)) = part.get_mut("functionCall") else { return };
    if let Some(Value::String(text)) = call.get("args")
        && text.starts_with(['{', '['])
        && let Ok(args) = serde_json::from_str(text)
    {
        call.insert("args".to_owned(), args);
    }
}

/// Reads a function call. Unknown fields of the part, such as its signature, become the call's `extra`. Unknown fields
/// of the call are put into an object `functionCall` in the `extra`.
fn call(mut part: Fields, response: &str, ids: &mut CallIds) -> Part {
    let mut call = take_object(&mut part, "functionCall").unwrap_or_default();
    let id = ids.next(response, take_text(&mut call, "id")).into();
    let name = take_text(&mut call, "name").unwrap_or_default().into();
    let arguments = match call.remove("args") {
        None | Some(Value::Null) => "{}".into(),
        // The arguments are kept as the text that was received, so that no digit is lost.
        Some(Value::String(args)) => args.into(),
        Some(args) => args.to_string().into(),
    };
    if !call.is_empty() {
        part.insert("functionCall".to_owned(), call.into());
    }
    Part::ToolCall(ToolCall { id, name, arguments, extra: Extra::from(part) })
}

fn text(mut part: Fields) -> Option<Part> {
    let thought = part.get("thought") == Some(&Value::Bool(true));
    let text = take_text(&mut part, "text").unwrap_or_default();
    part.remove("thought");
    if thought {
        let signature = take_text(&mut part, SIGNATURE).map(Into::into);
        if signature.is_some() {
            // This field marks the signature as Gemini's.
            part.insert("thought".to_owned(), true.into());
        }
        let says = !text.is_empty() || signature.is_some() || !part.is_empty();
        let extra = Extra::from(part);
        return says.then(|| Part::Reasoning(Reasoning { text: text.into(), signature, extra }));
    }
    let says = !text.is_empty() || !part.is_empty();
    let extra = Extra::from(part);
    says.then(|| Part::Text { text: text.into(), extra })
}

fn image(part: &Fields) -> Option<Part> {
    let blob = part.get("inlineData")?.as_object().filter(|blob| only(blob, &["mimeType", "data"]))?;
    let media_type = blob.get("mimeType")?.as_str().filter(|kind| kind.starts_with("image/"))?.into();
    let data = blob.get("data")?.as_str()?;
    // Both alphabets of base64 are accepted.
    let alphabet = if data.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let data = GeneralPurpose::new(&alphabet, LENIENT).decode(data).ok()?.into();
    let unknown = part.iter().filter(|(name, _)| *name != "inlineData");
    let extra = Extra::from(unknown.map(|(name, value)| (name.clone(), value.clone())).collect::<Fields>());
    Some(Part::Image(Image { source: ImageSource::Bytes { media_type, data }, detail: None, extra }))
}

fn only(fields: &Fields, names: &[&str]) -> bool {
    fields.keys().all(|name| names.contains(&name.as_str()))
}
