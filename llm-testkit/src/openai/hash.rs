//! Hashes that identify requests.

use crate::prng::mix;
use serde_json::Value;

/// Fields that change the transport or the accounting of a response, but not its text.
const TRANSPORT: [&str; 9] = [
    "stream",
    "stream_options",
    "user",
    "safety_identifier",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "encoding_format",
];

/// Returns a hash of the fields of a request's body that determine its response.
///
/// The hash ignores the order of object keys, and the fields `stream`, `stream_options`, `user`, `safety_identifier`,
/// `metadata`, `prompt_cache_*` and `encoding_format`. All other fields count, even unknown ones.
pub fn response_hash(body: &Value) -> u64 {
    let mut hash = Fnv::default();
    match body {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !TRANSPORT.contains(&name.as_str()));
            object(&mut hash, kept.collect());
        }
        other => feed(&mut hash, other),
    }
    mix(hash.0)
}

/// Returns the texts of a request's messages or inputs, one for each line.
pub(crate) fn prompt_text(body: &Value) -> String {
    let mut lines = Vec::new();
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    for content in messages.iter().map(|message| &message["content"]).chain([&body["input"]]) {
        match content {
            Value::String(text) => lines.push(text.as_str()),
            Value::Array(parts) => {
                lines.extend(parts.iter().filter_map(|part| part.as_str().or(part["text"].as_str())));
            }
            _ => {}
        }
    }
    lines.join("\n")
}

struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for byte in [tag].iter().chain(&length).chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn feed(hash: &mut Fnv, value: &Value) {
    match value {
        Value::Null => hash.bytes(0, &[]),
        Value::Bool(is) => hash.bytes(1, &[u8::from(*is)]),
        Value::Number(number) => hash.bytes(2, number.to_string().as_bytes()),
        Value::String(text) => hash.bytes(3, text.as_bytes()),
        Value::Array(items) => {
            hash.bytes(4, &(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| feed(hash, item));
        }
        Value::Object(fields) => object(hash, fields.iter().collect()),
    }
}

fn object(hash: &mut Fnv, mut fields: Vec<(&String, &Value)>) {
    // NOTE: whether a map keeps its keys sorted depends on a feature of serde_json that any crate may switch on.
    fields.sort_unstable_by_key(|(name, _)| *name);
    hash.bytes(5, &(fields.len() as u64).to_le_bytes());
    for (name, value) in fields {
        hash.bytes(6, name.as_bytes());
        feed(hash, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn response_hash_ignores_transport_fields() {
        let plain = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let mut other = plain.clone();
        for field in TRANSPORT {
            other[field] = json!({"any": 1});
        }
        assert_eq!(response_hash(&plain), response_hash(&other));
    }

    #[test]
    fn response_hash_covers_other_fields() {
        let plain =
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "seed": 9_007_199_254_740_992_u64});
        for (field, value) in [
            ("model", json!("n")),
            ("seed", json!(9_007_199_254_740_993_u64)),
            ("n", json!(2)),
            ("temperature", json!(0.5)),
            ("unheard_of", json!(true)),
            ("messages", json!([{"role": "user", "content": "hi", "stream": true}])),
        ] {
            let mut other = plain.clone();
            other[field] = value;
            assert_ne!(response_hash(&plain), response_hash(&other), "{field}");
        }
    }

    #[test]
    fn response_hash_ignores_key_order() {
        let parse = |text| -> Value { serde_json::from_str(text).expect("valid JSON") };
        assert_eq!(response_hash(&parse(r#"{"a":1,"b":[1,2]}"#)), response_hash(&parse(r#"{"b":[1,2],"a":1}"#)));
        assert_ne!(response_hash(&json!([1, 2])), response_hash(&json!([2, 1])));
    }

    #[test]
    fn prompt_text_covers_messages_and_inputs() {
        let chat = json!({"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]});
        assert_eq!(prompt_text(&chat), "a\nb");
        assert_eq!(prompt_text(&json!({"input": ["c", "d"]})), "c\nd");
    }
}
