//! Blanking of comments and literals, byte by byte.

/// Returns `source` with every byte of comments, strings and character literals replaced by a space. Line breaks stay, so
/// that lines and byte offsets are the same in both.
pub(super) fn mask(source: &str) -> String {
    let mut masked = source.as_bytes().to_vec();
    let mut at = 0;
    while at < source.len() {
        let end = literal_end(source.as_bytes(), at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut masked[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(masked).expect("whole characters are blanked, or none of their bytes")
}

/// Returns the end of the comment or literal that begins at `at`, or `at` if none begins there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment(rest),
        [b'"', ..] => at + quoted(rest),
        [b'r', ..] if !follows_word(bytes, at) => at + raw_string(rest),
        [b'\'', ..] => at + character(rest),
        _ => at,
    }
}

/// Returns `true` if the byte at `at` continues a word. The prefix of a raw string (`br`, `cr`) does not count as a
/// word.
fn follows_word(bytes: &[u8], at: usize) -> bool {
    let word = |i: usize| bytes.get(i).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80);
    match at.checked_sub(1) {
        Some(before) if matches!(bytes[before], b'b' | b'c') => before.checked_sub(1).is_some_and(word),
        Some(before) => word(before),
        None => false,
    }
}

/// Returns the length of a block comment. Block comments can be nested.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Returns the length of a string with escapes.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Returns the length of a raw string that begins with its `r`, or 0 if `rest` begins with a word or a raw identifier.
fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let body = 2 + hashes;
    let closes =
        |at: &usize| rest[*at] == b'"' && rest[at + 1..].iter().take(hashes).filter(|&&b| b == b'#').count() == hashes;
    (body..rest.len()).find(closes).map_or(rest.len(), |quote| quote + 1 + hashes)
}

/// Returns the length of a character literal, or 0 when the quote begins a lifetime or a label.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        // The escaped byte is skipped, because it may itself be a quote.
        return rest.iter().skip(3).position(|&b| b == b'\'').map_or(1, |close| 3 + close + 1);
    }
    let width = match rest.get(1) {
        None | Some(b'\'' | b'\n') => return 0,
        Some(0xF0..) => 4,
        Some(0xE0..) => 3,
        Some(0xC0..) => 2,
        Some(_) => 1,
    };
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::mask;

    /// Returns the characters of `source` that are not blanked.
    fn code(source: &str) -> String {
        let masked = mask(source);
        assert_eq!(masked.len(), source.len(), "offsets stay");
        masked.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_blanked_also_nested_and_unclosed() {
        assert_eq!(code("a // { \" \nb /* { /* } */ ' */ c"), "a b c");
        assert_eq!(code("a /* { "), "a");
        assert_eq!(code("a /// doc {\n//! {"), "a");
    }

    #[test]
    fn strings_are_blanked_with_their_escapes() {
        assert_eq!(code(r#"f("{ \" }", b"}", c"{") g"#), "f( , b , c ) g");
        assert_eq!(code("f(\"// no comment\") g \"unclosed {"), "f( ) g");
        assert_eq!(code("\"ends in an escape\\"), "");
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        assert_eq!(code(r###"f(r#"{ " }"#, br##"{"# }"##, r"\") g"###), "f( , b , ) g");
        assert_eq!(code("r#fn { r } for\"x\" r#\"open"), "r#fn { r } for");
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        assert_eq!(code("'{' '\\'' '\\u{7d}' 'é' '漢' '🦀' b'}' x"), "b x");
        assert_eq!(
            code("fn f<'a,'b>(x: &'a str) -> &'static str { 'l: loop {} }"),
            "fn f<'a,'b>(x: &'a str) -> &'static str { 'l: loop {} }"
        );
    }
}
