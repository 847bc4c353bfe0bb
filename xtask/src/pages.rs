//! Checks that the examples of all pages compile and run as a reader copies them.
//!
//! A rendered page hides lines that begin with `# `, and does not show that a block is not compiled. Therefore each
//! block in Rust must be a whole file as printed, and its page a doctest of some crate. The documentation of items may
//! hide lines, as is usual there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Block of a page: the words after its opening fence, and its lines.
struct Block {
    line: usize,
    info: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Adds the files below a directory whose names have this ending, without built and fetched files.
fn files(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn texts(ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root(), ending, &mut found);
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).expect("it is text"));
    found.into_iter().map(read).collect()
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (number, line) in page.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(info) if !is_open => {
                found.push(Block { line: number + 1, info: info.trim().to_owned(), text: String::new() });
                is_open = true;
            }
            Some(_) => is_open = false,
            None if is_open => found.iter_mut().last().into_iter().for_each(|block| block.text += &format!("{line}\n")),
            None => {}
        }
    }
    found
}

/// Returns the reason why a block in Rust does not work when it is copied; `None` if it works.
fn fault(block: &Block) -> Option<String> {
    match block.info.as_str() {
        "text" | "toml" | "sh" | "json" | "yaml" => None,
        "" | "rust" => syn::parse_file(&block.text).err().map(|error| format!("it is no whole file: {error}")),
        other => Some(format!("{other:?} hides that it is not run")),
    }
}

#[test]
fn page_examples_copy_as_they_stand() {
    let faults: Vec<String> = texts(".md")
        .iter()
        .flat_map(|(path, text)| blocks(text).into_iter().map(move |block| (path, block)))
        .filter_map(|(path, block)| Some(format!("{}:{}: {}", path.display(), block.line, fault(&block)?)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn page_examples_are_doctests() {
    let included: BTreeSet<PathBuf> = texts("lib.rs")
        .iter()
        .flat_map(|(path, text)| {
            let names = text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            names.filter_map(|name| path.parent()?.join(name).canonicalize().ok()).collect::<Vec<_>>()
        })
        .collect();
    for (path, text) in texts(".md") {
        let has_rust = blocks(&text).iter().any(|block| ["", "rust"].contains(&block.info.as_str()));
        let path = path.canonicalize().expect("it is there");
        assert!(!has_rust || included.contains(&path), "no crate includes {} in its documentation", path.display());
    }
}

#[test]
fn source_examples_are_compiled() {
    for (path, text) in texts(".rs") {
        let mut fences = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
        let ignored = fences.find(|line| line.contains("```") && line.contains("ignore"));
        assert_eq!(ignored, None, "{}", path.display());
    }
}

#[test]
fn page_block_with_hidden_line_is_refused() {
    let page = |block: &str| blocks(&format!("text\n{block}\n```\n")).iter().find_map(fault);
    assert_eq!(page("```rust\nfn main() {}"), None);
    assert_eq!(page("```text\n# comment"), None);
    for refused in
        ["```rust\n# use a::B;\nfn f() {}", "```\nlet a = 1;", "```rust,ignore\nfn f() {}", "```rust,no_run\nfn f() {}"]
    {
        assert!(page(refused).is_some(), "{refused}");
    }
}
