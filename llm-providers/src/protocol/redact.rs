//! Removal of API keys from vendors' error messages, because vendors repeat keys in them, complete or masked.

use std::borrow::Cow;

/// Largest number of characters of a vendor's message that are kept.
const MOST: usize = 1_000;
/// Text that replaces a removed key.
const GAP: &str = "[key]";
/// Prefixes of vendors' keys.
const BEGINNINGS: [&str; 9] = ["sk-", "sk_", "pk-", "gsk_", "xai-", "hf_", "nvapi-", "AIza", "eyJ"];

/// Returns `text` without `key` and without anything that looks like a key, cut to [`MOST`] characters.
pub(crate) fn redact(text: &str, key: Option<&str>) -> String {
    let mut clean = clean(text, key);
    // The text is cut only after the removal, because a part of a key would not be recognised.
    if let Some((end, _)) = clean.char_indices().nth(MOST) {
        clean.truncate(end);
        clean.push('…');
    }
    clean
}

/// Removes `key` and anything that looks like a key from `text`. The text is not cut, because the client removes keys
/// again from messages that a decoder, which does not know the key, has cleaned before.
pub(crate) fn clean(text: &str, key: Option<&str>) -> String {
    let text = match key.filter(|key| key.len() >= 4) {
        Some(key) => Cow::Owned(text.replace(key, GAP)),
        None => Cow::Borrowed(text),
    };
    let mut clean = String::with_capacity(text.len());
    let mut rest = &*text;
    while !rest.is_empty() {
        let word = rest.find(|c| !in_key(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word);
        clean.push_str(if looks_like_key(word) { GAP } else { word });
        let gap = after.find(in_key).unwrap_or(after.len());
        let (gap, after) = after.split_at(gap);
        clean.push_str(gap);
        rest = after;
    }
    clean
}

fn in_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '•')
}

fn looks_like_key(word: &str) -> bool {
    let begins = |with: &&str| word.len() >= with.len() + 4 && word.starts_with(*with);
    word.contains("***") || word.contains("•••") || BEGINNINGS.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redact_removes_whole_or_masked_keys() {
        let cases = [
            ("Incorrect API key provided: sk-abcd1234. You can", "Incorrect API key provided: [key]. You can"),
            ("key sk-proj-********wxyz, see", "key [key], see"),
            ("key abcd****wxyz", "key [key]"),
            ("key=\"gsk_0123456789\"", "key=\"[key]\""),
            ("my own secret-of-mine is bad", "my own [key] is bad"),
            ("a task-force asks for risk-free pk-1", "a task-force asks for risk-free pk-1"),
        ];
        for (text, clean) in cases {
            assert_eq!(redact(text, Some("secret-of-mine")), clean);
        }
    }

    #[test]
    fn redact_removes_key_at_cut() {
        let key = "plain-words-of-mine";
        for before in MOST - 25..MOST + 5 {
            let clean = redact(&format!("{}{key} {key}", "x ".repeat(before / 2)), Some(key));
            assert!(!clean.contains("plain"), "{before}");
        }
    }

    #[test]
    fn redact_bounds_messages() {
        let clean = redact(&"ñ ".repeat(5_000), None);
        assert_eq!(clean.chars().count(), MOST + 1);
        assert!(clean.ends_with('…'));
    }
}
