//! Generation of the texts of responses.

use super::hash::response_hash;
use crate::prng::{Prng, mix};
use serde_json::Value;

/// Words of exactly three bytes, so that each is one token with its space; some are not ASCII.
const WORDS: [&str; 48] = [
    "sol", "mar", "luz", "pan", "voz", "mes", "red", "sal", "ley", "tos", "ojo", "sí", "té", "mí", "él", "ñu", "the",
    "and", "for", "you", "can", "new", "out", "day", "key", "one", "two", "six", "ten", "run", "set", "row", "map",
    "log", "sum", "bit", "hub", "jet", "fox", "owl", "oak", "sea", "sky", "ink", "gem", "fig", "pot", "kit",
];

/// Returns the text of a response with `tokens` tokens: sixteen hexadecimal digits of [`response_hash`], then pseudo-random
/// words.
///
/// The text depends only on the arguments. `choice` is the index among the `n` choices of a response. A vendor chooses
/// the number of tokens within its `response_tokens`; see [`Vendor::response_text`](crate::Vendor::response_text).
/// Every four bytes are a token.
pub fn response_text(body: &Value, choice: u64, tokens: u64) -> String {
    prose(choice_hash(response_hash(body), choice), tokens)
}

/// Returns the hash at the beginning of a choice's text.
pub(crate) fn choice_hash(response: u64, choice: u64) -> u64 {
    if choice == 0 { response } else { mix(response ^ mix(choice)) }
}

pub(crate) fn prose(hash: u64, tokens: u64) -> String {
    let head = format!("{hash:016x}");
    let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
    let mut prng = Prng::new(hash, 0);
    let mut text: String = head.chars().take(tokens.saturating_mul(4)).collect();
    for _ in 4..tokens {
        text.push(' ');
        text.push_str(pick(&mut prng));
    }
    text
}

fn pick(prng: &mut Prng) -> &'static str {
    usize::try_from(prng.below(WORDS.len() as u64)).map_or("", |at| WORDS[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens;
    use serde_json::json;

    #[test]
    fn prose_words_have_three_bytes() {
        assert_eq!(WORDS.iter().filter(|word| word.len() != 3).collect::<Vec<_>>(), Vec::<&&str>::new());
    }

    #[test]
    fn response_text_has_requested_tokens() {
        let body = json!({"messages": []});
        for wanted in [0, 1, 3, 4, 5, 100] {
            assert_eq!(tokens::count(&response_text(&body, 0, wanted)), wanted);
        }
    }

    #[test]
    fn response_text_shorter_is_prefix() {
        let body = json!({"messages": [], "seed": 3});
        assert!(response_text(&body, 0, 50).starts_with(&response_text(&body, 0, 7)));
    }

    #[test]
    fn response_text_begins_with_hash() {
        let body = json!({"messages": [{"role": "user", "content": "hi"}]});
        assert!(response_text(&body, 0, 9).starts_with(&format!("{:016x} ", response_hash(&body))));
        assert_ne!(response_text(&body, 0, 9), response_text(&body, 1, 9));
    }
}
