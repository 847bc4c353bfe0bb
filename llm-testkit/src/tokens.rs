//! Token counts of the simulated vendor.
//!
//! A token is a piece of at most [`BYTES_PER_TOKEN`] bytes of UTF-8 that ends at a character's boundary, so a text never
//! has more tokens than bytes. A chat prompt costs [`PER_REQUEST`], plus [`PER_MESSAGE`] for each message, plus the
//! tokens of its texts, names, tool calls and tool definitions, plus [`PER_PART`] for each part that is not text.

use serde_json::Value;

/// Largest number of bytes of UTF-8 in one token.
pub const BYTES_PER_TOKEN: usize = 4;
/// Number of tokens of every chat request in addition to its messages.
pub const PER_REQUEST: u64 = 3;
/// Number of tokens of every chat message in addition to its content.
pub const PER_MESSAGE: u64 = 4;
/// Number of tokens of a content part that is not text (an image, a sound, a file), whatever its size.
pub const PER_PART: u64 = 85;

/// Splits `text` into its tokens, in order. The concatenated tokens are equal to `text`.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, tail) = rest.split_at(border(rest));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Returns the number of tokens of `text`: at least 1 if it is not empty, and at most the number of its bytes.
///
/// ```
/// assert_eq!(llm_testkit::tokens::count("twelve bytes"), 3);
/// ```
pub fn count(text: &str) -> u64 {
    let pieces = if text.is_ascii() { text.len().div_ceil(BYTES_PER_TOKEN) } else { pieces(text).count() };
    pieces as u64
}

/// Returns the number of tokens in the prompt of a chat completion request.
pub fn chat_input(body: &Value) -> u64 {
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    PER_REQUEST
        + messages.iter().map(message).sum::<u64>()
        + tools.iter().map(|tool| count(&tool.to_string())).sum::<u64>()
}

/// Returns the number of tokens in the `input` of an embeddings request: those of its texts, or the length of its token
/// arrays.
pub fn embedding_input(input: &Value) -> u64 {
    match input {
        Value::String(text) => count(text),
        Value::Array(items) => items.iter().map(embedding_input).sum(),
        Value::Number(_) => 1,
        _ => 0,
    }
}

/// Returns the number of tokens of one message.
pub(crate) fn message(message: &Value) -> u64 {
    let calls = message["tool_calls"].as_array().map_or(&[][..], Vec::as_slice);
    let calls: u64 =
        calls.iter().map(|call| text(&call["function"]["name"]) + text(&call["function"]["arguments"])).sum();
    PER_MESSAGE + content(&message["content"]) + text(&message["name"]) + calls
}

fn content(content: &Value) -> u64 {
    match content {
        Value::String(text) => count(text),
        Value::Array(parts) => parts.iter().map(|part| part["text"].as_str().map_or(PER_PART, count)).sum(),
        _ => 0,
    }
}

fn text(value: &Value) -> u64 {
    value.as_str().map_or(0, count)
}

/// Returns the length of the first token of `text`, in bytes.
fn border(text: &str) -> usize {
    (0..=BYTES_PER_TOKEN.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn token_pieces_join_to_text() {
        for text in ["", "a", "abcd", "abcde", "año ñandú 漢字漢字 🦀🦀", "éééé"] {
            assert_eq!(pieces(text).collect::<String>(), text);
            assert_eq!(pieces(text).count() as u64, count(text), "{text}");
            assert!(count(text) <= text.len() as u64);
        }
    }

    #[test]
    fn chat_input_stays_below_byte_bound() {
        let body = json!({"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "é漢🦀"}]});
        let bytes = "xé漢🦀".len() as u64;
        assert_eq!(chat_input(&body), PER_REQUEST + 2 * PER_MESSAGE + 1 + 3);
        assert!(chat_input(&body) <= bytes + 8 * 2 + 8);
    }

    #[test]
    fn image_tokens_ignore_size() {
        let image = |url: &str| json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]});
        assert_eq!(chat_input(&image("https://a.test/b.png")), PER_REQUEST + PER_MESSAGE + PER_PART);
        assert_eq!(chat_input(&image(&"x".repeat(10_000))), PER_REQUEST + PER_MESSAGE + PER_PART);
    }

    #[test]
    fn tools_and_tool_calls_cost_tokens() {
        let with = json!({"messages": [{"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "abcd", "arguments": "{\"a\":1}"}}]}],
            "tools": [{"type": "function", "function": {"name": "abcd"}}]});
        let tools = count(&with["tools"][0].to_string());
        assert_eq!(chat_input(&with), PER_REQUEST + PER_MESSAGE + 1 + 2 + tools);
    }

    #[test]
    fn embedding_input_counts_texts_and_arrays() {
        assert_eq!(embedding_input(&json!("abcde")), 2);
        assert_eq!(embedding_input(&json!(["abcde", "a"])), 3);
        assert_eq!(embedding_input(&json!([[1, 2, 3], [4]])), 4);
    }
}
