//! What only some servers take: reasoning of the conversation so far, ids of a fixed length.

use std::borrow::Cow;

use llm_core::{Message, Part, Reasoning};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::super::{Dialect, Thoughts};

/// Reasoning as a part of the content.
pub(super) struct Thinking<'a>(pub(super) &'a Reasoning);

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

impl Serialize for Thinking<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", "thinking")?;
        map.serialize_entry("thinking", &[Text { r#type: "text", text: &self.0.text }])?;
        map.end()
    }
}

/// Writes a message's reasoning, unless it also has a field for it among its further ones.
pub(super) fn thoughts<M: SerializeMap>(map: &mut M, message: &Message, dialect: &Dialect) -> Result<(), M::Error> {
    let Message { parts, extra, .. } = message;
    let texts = || -> String { reasonings(parts).map(|reasoning| &*reasoning.text).collect() };
    match dialect.thoughts {
        Thoughts::Dropped | Thoughts::Parts => Ok(()),
        Thoughts::WithCalls => {
            let calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
            if !calls || reasonings(parts).next().is_none() || extra.get("reasoning_content").is_some() {
                return Ok(());
            }
            map.serialize_entry("reasoning_content", &texts())
        }
        Thoughts::Details => {
            let details: Vec<&Value> = reasonings(parts)
                .filter_map(|reasoning| reasoning.extra.get("reasoning_details")?.as_array())
                .flatten()
                .collect();
            let text = texts();
            if !text.is_empty() && extra.get("reasoning").is_none() {
                map.serialize_entry("reasoning", &text)?;
            }
            if !details.is_empty() && extra.get("reasoning_details").is_none() {
                map.serialize_entry("reasoning_details", &details)?;
            }
            Ok(())
        }
    }
}

fn reasonings(parts: &[Part]) -> impl Iterator<Item = &Reasoning> {
    parts.iter().filter_map(|part| match part {
        Part::Reasoning(reasoning) => Some(reasoning),
        _ => None,
    })
}

/// The id of a tool call as the server takes it: as it is, or as `len` letters and digits computed from it, the same
/// ones each time.
pub(super) fn call_id(id: &str, len: Option<usize>) -> Cow<'_, str> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some(len) = len else { return Cow::Borrowed(id) };
    if id.len() == len && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Cow::Borrowed(id);
    }
    // FNV-1a in 128 bits: stable across versions, and nobody gains by a collision within his own conversation.
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in id.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    let mut letters = String::with_capacity(len);
    for _ in 0..len {
        letters.push(char::from(LETTERS[(hash % 62) as usize]));
        hash /= 62;
    }
    Cow::Owned(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_apart_and_fit() {
        let ids = ["", "call_1", "call_2", "call_00_rGGuLWLHvYxVPMtiENE41150", "123456789", "12345678_"];
        let short: Vec<_> = ids.iter().map(|id| call_id(id, Some(9))).collect();
        assert!(short.iter().all(|id| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())));
        assert_eq!(short.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
        assert_eq!((&*short[4], call_id("call_1", Some(9)) == short[1]), ("123456789", true));
        assert_eq!(call_id("call_1", None), "call_1");
    }
}
