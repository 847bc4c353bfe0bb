//! Items of a file that can have documentation.

use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, TraitItem, Visibility, spanned::Spanned};

use crate::source::{SourceFile, attributes_of};

/// Item, variant, field, or module of a file.
pub(crate) struct Documented {
    /// Line at which it begins.
    pub(crate) line: usize,
    /// True if users of the crate can name it, because it and everything that contains it are `pub`.
    pub(crate) is_public: bool,
    /// True for variants and fields, which are part of an item.
    pub(crate) is_part: bool,
    /// Documentation; empty if there is none.
    pub(crate) text: String,
}

impl Documented {
    /// Returns the first line of the documentation that holds text.
    pub(crate) fn first_line(&self) -> Option<&str> {
        self.text.lines().map(str::trim).find(|line| !line.is_empty())
    }

    /// Number of Rust examples in the documentation.
    pub(crate) fn examples(&self) -> usize {
        let mut is_open = false;
        let mut examples = 0;
        for line in self.text.lines() {
            let Some(info) = line.trim_start().strip_prefix("```") else { continue };
            is_open = !is_open;
            let mut words = info.split([',', ' ']).filter(|word| !word.is_empty());
            let is_rust = words.all(|word| RUST.contains(&word) || word.starts_with("edition"));
            examples += usize::from(is_open && is_rust);
        }
        examples
    }
}

/// Words after an opening fence with which the block is still an example in Rust.
const RUST: [&str; 5] = ["rust", "no_run", "should_panic", "compile_fail", "standalone_crate"];

/// Returns the file's module and all its items, in the order of the file.
pub(crate) fn documented(file: &SourceFile) -> Vec<Documented> {
    let mut found = Collector { file, found: Vec::new() };
    found.add(1, true, false, &file.attributes);
    found.items(&file.items);
    found.found
}

struct Collector<'a> {
    file: &'a SourceFile,
    found: Vec<Documented>,
}

impl Collector<'_> {
    fn add(&mut self, line: usize, is_public: bool, is_part: bool, attributes: &[Attribute]) {
        let text = self.file.documentation(attributes);
        self.found.push(Documented { line, is_public, is_part, text });
    }

    fn items(&mut self, items: &[Item]) {
        for item in items {
            let is_public = visibility(item).is_some_and(is_public);
            match item {
                Item::Impl(block) => self.members(block),
                Item::Use(_) | Item::Macro(_) | Item::ExternCrate(_) => {}
                // A module in a file of its own is documented in that file.
                Item::Mod(module) if module.content.is_none() => {}
                _ => self.add(item.span().start().line, is_public, false, attributes_of(item)),
            }
            self.parts(item, is_public);
        }
    }

    fn parts(&mut self, item: &Item, is_public_item: bool) {
        match item {
            Item::Struct(item) => self.fields(&item.fields, false),
            Item::Enum(item) => {
                for variant in &item.variants {
                    self.add(variant.span().start().line, is_public_item, true, &variant.attrs);
                    self.fields(&variant.fields, is_public_item);
                }
            }
            Item::Trait(item) => {
                for member in &item.items {
                    if let TraitItem::Fn(method) = member {
                        self.add(method.span().start().line, is_public_item, false, &method.attrs);
                    }
                }
            }
            Item::Mod(module) => {
                let (_, items) = module.content.as_ref().map_or((None, &[][..]), |(brace, items)| (Some(brace), items));
                self.items(items);
            }
            _ => {}
        }
    }

    fn fields(&mut self, fields: &Fields, are_public: bool) {
        for field in fields.iter().filter(|field| field.ident.is_some()) {
            self.add(field.span().start().line, are_public || is_public(&field.vis), true, &field.attrs);
        }
    }

    fn members(&mut self, block: &ItemImpl) {
        let members = block.items.iter().filter_map(|member| match member {
            ImplItem::Fn(method) => Some((method.span(), &method.vis, &method.attrs)),
            ImplItem::Const(constant) => Some((constant.span(), &constant.vis, &constant.attrs)),
            _ => None,
        });
        for (span, vis, attributes) in members {
            // Methods of a trait are documented at the trait.
            if block.trait_.is_none() || attributes.iter().any(|attribute| attribute.path().is_ident("doc")) {
                self.add(span.start().line, block.trait_.is_none() && is_public(vis), false, attributes);
            }
        }
    }
}

/// Returns true if the visibility is unrestricted.
pub(crate) fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Returns the visibility of an item that has one.
pub(crate) fn visibility(item: &Item) -> Option<&Visibility> {
    match item {
        Item::Const(item) => Some(&item.vis),
        Item::Enum(item) => Some(&item.vis),
        Item::Fn(item) => Some(&item.vis),
        Item::Mod(item) => Some(&item.vis),
        Item::Static(item) => Some(&item.vis),
        Item::Struct(item) => Some(&item.vis),
        Item::Trait(item) => Some(&item.vis),
        Item::Type(item) => Some(&item.vis),
        Item::Use(item) => Some(&item.vis),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_opening_fences_in_rust() {
        let text = "```\na\n```\n```rust,no_run\nb\n```\n```text\nc\n```\n``` toml\nd\n```";
        let item = Documented { line: 1, is_public: true, is_part: false, text: text.to_owned() };
        assert_eq!(item.examples(), 2);
    }

    #[test]
    fn items_are_public_as_they_are_declared() {
        let text = "/// A.\npub struct A {\n    /// B.\n    pub b: u8,\n    /// C.\n    c: u8,\n}\nimpl A {\n    /// D.\n    \
            pub(crate) fn d() {}\n}\n/// E.\npub enum E {\n    /// F.\n    F,\n}\n";
        let file = SourceFile::parse("lib.rs".into(), Vec::new(), text.to_owned()).expect("it is Rust");
        let found: Vec<_> =
            documented(&file).into_iter().skip(1).map(|item| (item.text, item.is_public, item.is_part)).collect();
        let expected = [
            ("A", true, false),
            ("B", true, true),
            ("C", false, true),
            ("D", false, false),
            ("E", true, false),
            ("F", true, true),
        ];
        assert_eq!(found, expected.map(|(name, public, part)| (format!(" {name}.\n"), public, part)));
    }
}
