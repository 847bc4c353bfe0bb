//! Vendors echo keys, whole or masked, in their messages. Ours hold none.

/// How much of a vendor's message is kept, in characters.
const MOST: usize = 1_000;
/// What stands in a key's place.
const GAP: &str = "[key]";
/// How vendors' keys begin.
const BEGINNINGS: [&str; 9] = ["sk-", "sk_", "pk-", "gsk_", "xai-", "hf_", "nvapi-", "AIza", "eyJ"];

/// `text` without `key`, without anything that looks like one, and not too long.
pub(crate) fn redact(text: &str, key: Option<&str>) -> String {
    let mut text: String = text.chars().take(MOST + GAP.len()).collect();
    if let Some(key) = key.filter(|key| key.len() >= 4) {
        text = text.replace(key, GAP);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let word = rest.find(|c| !in_key(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word);
        clean.push_str(if looks_like_key(word) { GAP } else { word });
        let gap = after.find(in_key).unwrap_or(after.len());
        let (gap, after) = after.split_at(gap);
        clean.push_str(gap);
        rest = after;
    }
    match clean.char_indices().nth(MOST) {
        Some((end, _)) => {
            clean.truncate(end);
            clean + "…"
        }
        None => clean,
    }
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
    fn keys_go_whole_or_masked() {
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
    fn messages_are_bounded() {
        let clean = redact(&"ñ ".repeat(5_000), None);
        assert_eq!(clean.chars().count(), MOST + 1);
        assert!(clean.ends_with('…'));
    }
}
