//! Extraction of public functions from Rust sources by a scan of lines, without a parser.
//!
//! Comments, strings and character literals are blanked first, so that braces and `pub fn` inside them are ignored.
//! Functions that macros generate, and a second function on a line, are not found.

use super::mask::mask;

/// Returns the public functions of a Rust source, in order. Each consists of complete lines: the docs (`///`) and
/// attributes directly above it, the signature and the body. Functions with restricted visibility (`pub(crate)`),
/// without a body, or without an end are left out.
pub fn public_functions(source: &str) -> Vec<String> {
    let masked = mask(source);
    let lines = Lines::new(source, &masked);
    (0..lines.starts.len())
        .filter(|&line| opens_public_function(lines.code(line)))
        .filter_map(|line| item(&lines, line))
        .collect()
}

/// Source and its mask, split into lines.
struct Lines<'a> {
    source: &'a str,
    masked: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(source: &'a str, masked: &'a str) -> Self {
        let mut starts = vec![0];
        starts.extend(source.match_indices('\n').map(|(at, _)| at + 1));
        Self { source, masked, starts }
    }

    fn cut<'t>(&self, text: &'t str, line: usize) -> &'t str {
        let end = self.starts.get(line + 1).copied().unwrap_or(text.len());
        text[self.starts[line]..end].trim()
    }

    fn text(&self, line: usize) -> &'a str {
        self.cut(self.source, line)
    }

    fn code(&self, line: usize) -> &'a str {
        self.cut(self.masked, line)
    }
}

/// Returns `true` if a line of code begins a public function: `pub`, optional qualifiers, `fn` and a name.
fn opens_public_function(code: &str) -> bool {
    let mut words = code.split_whitespace().peekable();
    if words.next() != Some("pub") {
        return false;
    }
    // The string of the ABI is blanked, so that `extern "C"` is a single word here.
    while words.next_if(|word| matches!(*word, "const" | "async" | "unsafe" | "extern" | "safe")).is_some() {}
    words.next() == Some("fn")
        && words.next().is_some_and(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

/// Returns the function whose signature begins on `line`, with its docs and attributes; `None` if the function has no
/// body.
fn item(lines: &Lines<'_>, line: usize) -> Option<String> {
    let end = body_end(lines.masked, lines.starts[line])?;
    Some(lines.source[lines.starts[docs_start(lines, line)]..end].to_owned())
}

/// Returns the first line of the docs and attributes directly above `line`, or `line` itself. Plain comments between
/// these lines are included, but not plain comments above the first of them.
fn docs_start(lines: &Lines<'_>, line: usize) -> usize {
    let (mut start, mut at) = (line, line);
    while at > 0 {
        let text = lines.text(at - 1);
        if text.starts_with("///") && !text.starts_with("////") {
            at -= 1;
            start = at;
        } else if text.starts_with("//") && !text.starts_with("//!") {
            at -= 1;
        } else if let Some(first) = attribute_start(lines, at - 1) {
            at = first;
            start = at;
        } else {
            break;
        }
    }
    start
}

/// Returns the first line of the attribute that ends on the line `last`; `None` if no attribute ends there.
fn attribute_start(lines: &Lines<'_>, last: usize) -> Option<usize> {
    let mut open = 0_i64;
    for line in (0..=last).rev() {
        let code = lines.code(line);
        if line == last && !code.ends_with(']') {
            return None;
        }
        open += code.matches(']').count() as i64 - code.matches('[').count() as i64;
        if open <= 0 {
            return (open == 0 && code.starts_with("#[")).then_some(line);
        }
    }
    None
}

/// Returns the position after the brace that closes the body of the function whose signature begins at `start`; `None`
/// if it has no body.
fn body_end(masked: &str, start: usize) -> Option<usize> {
    let (mut nested, mut braces) = (0_i64, 0_i64);
    for (at, byte) in masked.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested -= 1,
            // A semicolon inside brackets belongs to the length of an array.
            b';' if nested == 0 && braces == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces < 0 {
                    return None;
                }
                if braces == 0 && nested == 0 && !goes_on(&masked[at + 1..]) {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns `true` if the brace that was just closed belongs to a constant in the signature's types, as in
/// `-> Bits<{ N + 1 }>`. Only then does `after` begin with `>` or a comma.
fn goes_on(after: &str) -> bool {
    after.trim_start().starts_with(['>', ','])
}

#[cfg(test)]
mod tests {
    use super::public_functions;

    #[test]
    fn functions_include_docs_and_attributes() {
        let source = "use x;\n\n/// Adds.\n#[must_use]\n#[cfg_attr(\n    any(a, b),\n    doc = \"]\",\n)]\n\
            pub fn add(a: u8) -> u8 {\n    if a > 0 { a } else { 0 }\n}\n\nfn private() {}\n";
        let item = source.split_once("\n\n").expect("two parts").1.split_once("\n\nfn").expect("two parts").0;
        assert_eq!(public_functions(source), [item]);
    }

    #[test]
    fn functions_with_qualifiers_count() {
        let source = "pub const fn a() {}\npub async unsafe fn b() {}\npub extern \"C\" fn c() {}\n\
            pub(crate) fn d() {}\npub struct E;\npub fn $name() {}\npub fn _f() {}\n";
        let names: Vec<_> = public_functions(source);
        assert_eq!(
            names,
            ["pub const fn a() {}", "pub async unsafe fn b() {}", "pub extern \"C\" fn c() {}", "pub fn _f() {}"]
        );
    }

    #[test]
    fn functions_ignore_braces_in_text() {
        let source = "pub fn f() {\n    // }\n    let a = \"}\"; let b = '}'; let c = r#\"}\"#; /* } */\n    done()\n\
            }\npub fn g() {}";
        let items = public_functions(source);
        assert_eq!(items.len(), 2);
        assert!(items[0].ends_with("done()\n}"), "{}", items[0]);
    }

    #[test]
    fn functions_keep_array_lengths_and_where_clauses() {
        let source = "pub fn f<T>(a: [u8; 4]) -> [T; 2]\nwhere\n    T: Copy,\n{\n    x\n}";
        assert_eq!(public_functions(source), [source]);
        let source = "pub fn f(a: A<{ 1 }>) -> B<{ N + 1 }, { 2 }> {\n    g(|x| { x })\n}";
        assert_eq!(public_functions(source), [source]);
    }

    #[test]
    fn functions_without_body_are_skipped() {
        assert!(public_functions("extern \"C\" {\n    pub fn f(a: u8);\n}\npub fn open() {\n    {").is_empty());
        assert!(public_functions("/// pub fn doc() {}\nconst X: &str = \"\npub fn text() {}\n\";").is_empty());
        assert!(public_functions("").is_empty());
    }

    #[test]
    fn functions_skip_distant_comments() {
        let source = "//! Module.\n/// Other.\n\n// why\n/// Mine.\n// note\n#[inline]\npub fn f() {}\n\
            let a = [1];\npub fn g() {}\n";
        assert_eq!(public_functions(source), ["/// Mine.\n// note\n#[inline]\npub fn f() {}", "pub fn g() {}"]);
    }

    #[test]
    fn functions_keep_indentation_of_methods() {
        let source = "impl A {\r\n    /// Doc.\r\n    pub fn f(&self) {\r\n    }\r\n}\r\n";
        assert_eq!(public_functions(source), ["    /// Doc.\r\n    pub fn f(&self) {\r\n    }"]);
    }
}
