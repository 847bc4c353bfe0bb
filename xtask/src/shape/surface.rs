//! Public surface of a crate: names at its root, and settings of builders.

use std::{collections::BTreeMap, fmt};

use syn::{FnArg, ImplItem, Item, ReturnType, Type, UseTree};

use crate::{
    documented::{is_public, visibility},
    source::SourceFile,
};

/// Number of consuming setters of one type.
pub(crate) struct Settings {
    type_name: String,
    count: usize,
}

/// Smallest number of setters of a builder.
const FEWEST_SETTINGS: usize = 5;

/// Returns the number of names at the root of the library, without modules.
pub(super) fn root_exports(files: &[SourceFile]) -> usize {
    let root = files.iter().find(|file| file.path.ends_with("lib.rs"));
    let items = root.into_iter().flat_map(|file| &file.items).filter(|item| visibility(item).is_some_and(is_public));
    let names = items.map(|item| match item {
        Item::Use(item) => leaves(&item.tree),
        Item::Mod(_) => 0,
        _ => 1,
    });
    names.sum()
}

fn leaves(tree: &UseTree) -> usize {
    match tree {
        UseTree::Path(path) => leaves(&path.tree),
        UseTree::Group(group) => group.items.iter().map(leaves).sum(),
        UseTree::Name(_) | UseTree::Rename(_) | UseTree::Glob(_) => 1,
    }
}

/// Returns the types with at least five public methods that take the value and return it changed.
pub(super) fn settings(files: &[SourceFile]) -> Vec<Settings> {
    let mut setters: BTreeMap<String, usize> = BTreeMap::new();
    for item in files.iter().flat_map(|file| &file.items) {
        let Item::Impl(block) = item else { continue };
        let Type::Path(path) = &*block.self_ty else { continue };
        let Some(name) = path.path.segments.last() else { continue };
        if block.trait_.is_none() {
            let count = block.items.iter().filter(|member| is_setter(member)).count();
            *setters.entry(name.ident.to_string()).or_default() += count;
        }
    }
    let many = setters.into_iter().filter(|(_, count)| *count >= FEWEST_SETTINGS);
    many.map(|(type_name, count)| Settings { type_name, count }).collect()
}

fn is_setter(member: &ImplItem) -> bool {
    let ImplItem::Fn(method) = member else { return false };
    let takes_itself =
        matches!(method.sig.inputs.first(), Some(FnArg::Receiver(receiver)) if receiver.reference.is_none());
    let returns_itself = match &method.sig.output {
        ReturnType::Type(_, returned) => matches!(&**returned, Type::Path(path) if path.path.is_ident("Self")),
        ReturnType::Default => false,
    };
    is_public(&method.vis) && takes_itself && returns_itself
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.type_name, self.count)
    }
}
