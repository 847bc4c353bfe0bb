//! Repair of JSON that some servers send with a byte order mark, or with unpaired UTF-16 surrogates where they split a
//! character.

use std::borrow::Cow;

/// Joins surrogate pairs that were split between two events of a stream.
///
/// A high surrogate at the end of an event's text is kept until the text of a later event begins with a low one. Other
/// unpaired surrogates are replaced by U+FFFD.
#[derive(Debug, Default)]
pub(crate) struct Halves(Option<String>);

impl Halves {
    /// Returns an event's JSON without a byte order mark and without unpaired surrogates.
    pub(crate) fn join<'d>(&mut self, json: &'d str) -> Cow<'d, str> {
        let json = without_mark(json);
        if has_surrogate(json) { Cow::Owned(mend(json, Some(&mut self.0))) } else { Cow::Borrowed(json) }
    }
}

/// Returns JSON without a byte order mark, in which every unpaired surrogate is replaced by U+FFFD.
pub(crate) fn readable(json: &str) -> Cow<'_, str> {
    let json = without_mark(json);
    if has_surrogate(json) { Cow::Owned(mend(json, None)) } else { Cow::Borrowed(json) }
}

fn without_mark(json: &str) -> &str {
    json.strip_prefix('\u{feff}').unwrap_or(json)
}

fn has_surrogate(json: &str) -> bool {
    json.match_indices("\\u").any(|(at, _)| matches!(json.as_bytes().get(at + 2), Some(b'd' | b'D')))
}

/// Copies JSON and repairs its escapes one after another. If `waiting` is given, it stores a high surrogate at the end
/// of a text until a later event, instead of replacing it.
fn mend(json: &str, mut waiting: Option<&mut Option<String>>) -> String {
    let mut out = String::with_capacity(json.len() + 8);
    let mut rest = json;
    while let Some((before, escape)) = rest.find('\\').map(|at| rest.split_at(at)) {
        out.push_str(before);
        let (length, half) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (12, None),
            (Some(0xd800..0xdc00), _) => (6, Some(Half::First)),
            (Some(0xdc00..0xe000), _) => (6, Some(Half::Second)),
            (Some(_), _) => (6, None),
            // Any other escape is the backslash and the character after it, which may be a backslash too.
            (None, _) => (1 + escape[1..].chars().next().map_or(0, char::len_utf8), None),
        };
        let (escape, after) = escape.split_at(length);
        match (half, &mut waiting) {
            (None, _) => out.push_str(escape),
            (Some(Half::First), Some(place)) if after.starts_with('"') => **place = Some(escape.to_owned()),
            (Some(Half::Second), Some(place)) if place.is_some() && out.ends_with('"') && !out.ends_with("\\\"") => {
                out.extend(place.take());
                out.push_str(escape);
            }
            _ => out.push_str("\\ufffd"),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

enum Half {
    First,
    Second,
}

/// Returns the UTF-16 unit that an escape such as `\ud83d` stands for.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogate_halves_are_joined_or_replaced() {
        let cases: [(&[&str], &[&str]); 7] = [
            (&[r#"{"t":"hi \ud83d"}"#, r#"{"t":"\ude00 you"}"#], &[r#"{"t":"hi "}"#, r#"{"t":"\ud83d\ude00 you"}"#]),
            (&[r#"{"t":"\uD83D\uDE00"}"#], &[r#"{"t":"\uD83D\uDE00"}"#]),
            (&[r#"{"t":"\ud83d!"}"#, r#"{"t":"\ude00"}"#], &[r#"{"t":"\ufffd!"}"#, r#"{"t":"\ufffd"}"#]),
            (&[r#"{"t":"\\ud83d"}"#, r#"{"t":"\\\ude00"}"#], &[r#"{"t":"\\ud83d"}"#, r#"{"t":"\\\ufffd"}"#]),
            (&[r#"{"t":"\ud83d"}"#, r#"{"t":"\"\ude00"}"#], &[r#"{"t":""}"#, r#"{"t":"\"\ufffd"}"#]),
            (&[r#"{"t":"\ud83d\ud83d\ude00"}"#], &[r#"{"t":"\ufffd\ud83d\ude00"}"#]),
            (&[r#"{"t":"\u00e9\"#, r#"{"t":"\ud8"}"#], &[r#"{"t":"\u00e9\"#, r#"{"t":"\ud8"}"#]),
        ];
        for (events, expected) in cases {
            let mut halves = Halves::default();
            let joined: Vec<_> = events.iter().map(|event| halves.join(event)).collect();
            assert_eq!(joined, expected);
        }
        assert_eq!(readable(r#"{"t":"\ud83d"}"#), r#"{"t":"\ufffd"}"#);
    }
}
