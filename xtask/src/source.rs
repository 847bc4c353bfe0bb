//! Parsed sources of a crate: each file with its module, and without its tests.

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use syn::{Attribute, Expr, Item, Lit, Meta, spanned::Spanned};

/// File of a crate.
pub(crate) struct SourceFile {
    /// Path below the workspace's directory.
    pub(crate) path: PathBuf,
    /// Names of its module from the crate's root; empty for the root itself.
    pub(crate) module: Vec<String>,
    /// Text of the file.
    pub(crate) text: String,
    /// Inner attributes of the file, among them the module's documentation.
    pub(crate) attributes: Vec<Attribute>,
    /// Items of the file without those that are compiled for tests only.
    pub(crate) items: Vec<Item>,
    /// Lines of the items that are compiled for tests only, counted from 1.
    tests: Vec<RangeInclusive<usize>>,
}

/// Kinds of lines of a file, tests left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Lines that are neither blank nor a comment.
    pub(crate) code: usize,
    /// Lines of documentation.
    pub(crate) docs: usize,
    /// All lines, blank ones and comments included.
    pub(crate) all: usize,
}

/// Reads the files below `src` of the package in `directory`, tests left out.
///
/// # Errors
///
/// A file cannot be read or parsed. The error names it.
pub(crate) fn read_crate(workspace: &Path, directory: &Path) -> Result<Vec<SourceFile>, String> {
    let mut files = Vec::new();
    for root in roots(&directory.join("src")) {
        read_module(workspace, &root, Vec::new(), &mut files)?;
    }
    Ok(files)
}

impl SourceFile {
    /// Parses a file.
    pub(crate) fn parse(path: PathBuf, module: Vec<String>, text: String) -> Result<Self, syn::Error> {
        let syntax = syn::parse_file(&text)?;
        let (tests, items): (Vec<Item>, Vec<Item>) = syntax.items.into_iter().partition(is_for_tests);
        let tests = tests.iter().map(lines_of).collect();
        Ok(Self { path, module, text, attributes: syntax.attrs, items, tests })
    }

    /// Counts the lines of the file.
    pub(crate) fn lines(&self) -> Lines {
        let mut counted = Lines::default();
        for (number, line) in (1..).zip(self.text.lines()) {
            if self.tests.iter().any(|lines| lines.contains(&number)) {
                continue;
            }
            let line = line.trim_start();
            counted.all += 1;
            counted.docs += usize::from(line.starts_with("///") || line.starts_with("//!"));
            counted.code += usize::from(!line.is_empty() && !line.starts_with("//"));
        }
        counted
    }

    /// Returns the documentation in attributes, with the text of included files.
    pub(crate) fn documentation(&self, attributes: &[Attribute]) -> String {
        let mut text = String::new();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
            if let Meta::NameValue(pair) = &attribute.meta {
                text.push_str(&self.documented(&pair.value));
                text.push('\n');
            }
        }
        text
    }

    fn documented(&self, value: &Expr) -> String {
        match value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => text.value(),
                _ => String::new(),
            },
            Expr::Macro(include) if include.mac.path.is_ident("include_str") => {
                let name: Option<syn::LitStr> = include.mac.parse_body().ok();
                let beside = self.path.parent().unwrap_or(Path::new(""));
                name.and_then(|name| fs::read_to_string(beside.join(name.value())).ok()).unwrap_or_default()
            }
            _ => String::new(),
        }
    }
}

/// Returns the root files of the crate: the library, and each program.
fn roots(src: &Path) -> Vec<PathBuf> {
    let mut roots = vec![src.join("lib.rs"), src.join("main.rs")];
    let programs = fs::read_dir(src.join("bin")).into_iter().flatten().flatten().map(|entry| entry.path());
    roots.extend(programs.map(|path| if path.is_dir() { path.join("main.rs") } else { path }));
    roots.retain(|root| root.is_file());
    roots.sort();
    roots
}

fn read_module(workspace: &Path, path: &Path, module: Vec<String>, files: &mut Vec<SourceFile>) -> Result<(), String> {
    let shown = path.strip_prefix(workspace).unwrap_or(path);
    let text = fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", shown.display()))?;
    let file = SourceFile::parse(path.to_owned(), module.clone(), text);
    let file = file.map_err(|e| format!("cannot parse {}: {e}", shown.display()))?;
    let children: Vec<String> = file.items.iter().filter_map(declared_file).collect();
    files.push(file);
    let is_directory_file =
        path.file_name().is_some_and(|name| name == "lib.rs" || name == "main.rs" || name == "mod.rs");
    let directory = if is_directory_file { path.with_file_name("") } else { path.with_extension("") };
    for child in children {
        let beside = directory.join(format!("{child}.rs"));
        let inside = directory.join(&child).join("mod.rs");
        let path = if beside.is_file() { beside } else { inside };
        read_module(workspace, &path, [module.clone(), vec![child]].concat(), files)?;
    }
    Ok(())
}

/// Returns the name of a module that has a file of its own.
fn declared_file(item: &Item) -> Option<String> {
    match item {
        Item::Mod(module) if module.content.is_none() => Some(module.ident.to_string()),
        _ => None,
    }
}

fn lines_of(item: &Item) -> RangeInclusive<usize> {
    let span = item.span();
    span.start().line..=span.end().line
}

fn is_for_tests(item: &Item) -> bool {
    let for_tests = |attribute: &Attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition.split(|c: char| !c.is_alphanumeric()).any(|word| word == "test" || word == "doctest")
        }
        _ => false,
    };
    attributes_of(item).iter().any(for_tests)
}

/// Returns the outer attributes of an item.
pub(crate) fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_leave_tests_out() {
        let text = "//! A file.\n\n/// One.\nfn one() {}\n// why\n#[cfg(test)]\nmod tests {\n    fn two() {}\n}\n";
        let file = SourceFile::parse("lib.rs".into(), Vec::new(), text.to_owned()).expect("it is Rust");
        assert_eq!(file.lines(), Lines { code: 1, docs: 2, all: 5 });
    }
}
