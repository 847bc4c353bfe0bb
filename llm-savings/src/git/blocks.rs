//! Extraction of items from a source by indentation, for any language.

/// Returns the items of `source`, in order. An item is an unindented line with the indented lines that follow it. It
/// also includes blank lines between these, and unindented lines that begin with a bracket, such as the `}` that closes
/// it. An unindented line without indented lines after it is not an item.
pub(super) fn indented_blocks(source: &str) -> Vec<String> {
    let (mut items, mut item, mut indented) = (Vec::new(), Vec::new(), false);
    for line in source.lines() {
        let goes_on = line.trim().is_empty() || line.starts_with([' ', '\t', '{', '}', '(', ')', '[', ']']);
        if !goes_on {
            items.extend(indented.then(|| text(&item)));
            item.clear();
            indented = false;
        } else if item.is_empty() {
            // No item has begun that this line could belong to.
            continue;
        }
        indented |= line.starts_with([' ', '\t']) && !line.trim().is_empty();
        item.push(line);
    }
    items.extend(indented.then(|| text(&item)));
    items
}

fn text(lines: &[&str]) -> String {
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::indented_blocks;

    #[test]
    fn block_is_unindented_line_with_indented_lines() {
        let source = "import os\n\nLIMIT = 3\n\ndef a(x):\n    if x:\n\n        return 1\n\n\nclass B:\n\tpass\n";
        assert_eq!(indented_blocks(source), ["def a(x):\n    if x:\n\n        return 1", "class B:\n\tpass"]);
    }

    #[test]
    fn block_includes_brackets_at_margin() {
        let source =
            "int f()\n{\n  g();\n}\n\nfunction h() {\n  i();\n}\nvar x = 1;\ndef j(\n    a,\n) -> int:\n    b\n";
        assert_eq!(
            indented_blocks(source),
            ["int f()\n{\n  g();\n}", "function h() {\n  i();\n}", "def j(\n    a,\n) -> int:\n    b"]
        );
    }

    #[test]
    fn block_needs_an_unindented_line() {
        assert!(indented_blocks("    indented\n\n}\nlast\n\n").is_empty());
        assert!(indented_blocks("").is_empty());
        assert_eq!(indented_blocks("a:\r\n  b\r\n"), ["a:\n  b"]);
    }
}
