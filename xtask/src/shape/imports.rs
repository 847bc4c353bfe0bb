//! Circles of files that name each other.
//!
//! A path counts for the file in which the named item is defined, also if another module re-exports the item.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Item, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

use crate::source::SourceFile;

/// Returns the circles, each as the numbers of its files in order.
pub(super) fn circles(files: &[SourceFile]) -> Vec<Vec<usize>> {
    let modules: Modules<'_> = files.iter().enumerate().map(|(i, file)| (file.module.as_slice(), i)).collect();
    let arrows: Vec<BTreeSet<usize>> = files.iter().enumerate().map(|(i, _)| arrows(files, &modules, i)).collect();
    let reach: Vec<BTreeSet<usize>> = (0..files.len()).map(|from| reachable(&arrows, from)).collect();
    let mut found: BTreeSet<Vec<usize>> = BTreeSet::new();
    for from in 0..files.len() {
        let circle: Vec<usize> = reach[from].iter().copied().filter(|to| reach[*to].contains(&from)).collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

type Modules<'a> = BTreeMap<&'a [String], usize>;

/// Returns the files that define the items of a file's paths.
fn arrows(files: &[SourceFile], modules: &Modules<'_>, from: usize) -> BTreeSet<usize> {
    let mut paths = Paths { found: Vec::new(), inline: 0 };
    for item in &files[from].items {
        paths.visit_item(item);
    }
    let absolute = paths.found.into_iter().filter_map(|path| absolute(&files[from].module, modules, path));
    absolute.filter_map(|path| definition(files, modules, &path, 0)).filter(|to| *to != from).collect()
}

/// Returns the path from the crate's root; `None` if the path leads out of the crate.
fn absolute(module: &[String], modules: &Modules<'_>, path: Vec<String>) -> Option<Vec<String>> {
    let mut rest = path.as_slice();
    let mut base = match rest.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.to_vec(),
        child => {
            let inside = [module, &[child.to_owned()]].concat();
            return modules.contains_key(inside.as_slice()).then(|| [module, rest].concat());
        }
    };
    while let Some(first) = rest.first().filter(|first| ["crate", "self", "super"].contains(&first.as_str())) {
        if first == "super" {
            base.pop()?;
        }
        rest = &rest[1..];
    }
    Some([base.as_slice(), rest].concat())
}

/// Returns the file that defines the item of a path.
fn definition(files: &[SourceFile], modules: &Modules<'_>, path: &[String], depth: usize) -> Option<usize> {
    const DEEPEST: usize = 8;
    let length = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let file = modules[&path[..length]];
    let Some(name) = path.get(length).filter(|_| depth < DEEPEST) else { return Some(file) };
    if length == 0
        && let Some(exported) = files.iter().position(|file| file.items.iter().any(|item| exports_macro(item, name)))
    {
        return Some(exported);
    }
    let imported = files[file].items.iter().filter_map(|item| match item {
        Item::Use(item) => import_of(item, name),
        _ => None,
    });
    let further = imported.filter_map(|path| absolute(&files[file].module, modules, path)).next();
    further.map_or(Some(file), |path| definition(files, modules, &path, depth + 1))
}

/// Returns true for an exported macro of this name, which is in the crate's root wherever it is defined.
fn exports_macro(item: &Item, name: &str) -> bool {
    matches!(item, Item::Macro(rules)
        if rules.ident.as_ref().is_some_and(|ident| ident == name)
            && rules.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")))
}

/// Returns the path from which a `use` imports a name.
fn import_of(item: &ItemUse, name: &str) -> Option<Vec<String>> {
    let mut leaves = Vec::new();
    collect_leaves(&item.tree, &mut Vec::new(), &mut leaves);
    leaves.into_iter().find(|(known, _)| known == name).map(|(_, path)| path)
}

/// Adds each name of a tree with its path.
fn collect_leaves(tree: &UseTree, above: &mut Vec<String>, leaves: &mut Vec<(String, Vec<String>)>) {
    match tree {
        UseTree::Path(path) => {
            above.push(path.ident.to_string());
            collect_leaves(&path.tree, above, leaves);
            above.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| collect_leaves(tree, above, leaves)),
        UseTree::Name(name) if name.ident == "self" => {
            let last = above.last().cloned().unwrap_or_default();
            leaves.push((last, above.clone()));
        }
        UseTree::Name(name) => leaves.push((name.ident.to_string(), with(above, &name.ident))),
        UseTree::Rename(rename) => leaves.push((rename.rename.to_string(), with(above, &rename.ident))),
        UseTree::Glob(_) => leaves.push((String::from("*"), above.clone())),
    }
}

fn with(above: &[String], ident: &syn::Ident) -> Vec<String> {
    above.iter().cloned().chain([ident.to_string()]).collect()
}

fn reachable(arrows: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for to in &arrows[file] {
            if seen.insert(*to) {
                open.push(*to);
            }
        }
    }
    seen
}

/// Paths of a file, in imports and elsewhere, as seen from the file's own module.
struct Paths {
    found: Vec<Vec<String>>,
    /// Number of inline modules around the item that is visited. Each takes one `super` to leave.
    inline: usize,
}

impl Paths {
    fn add(&mut self, path: &[String]) {
        let supers = path.iter().take_while(|name| *name == "super").count();
        let inside = supers.min(self.inline);
        let rest = path[inside..].iter().cloned();
        // Without a `super` that is left, the path begins in the file itself.
        let start = (inside > 0 && inside == supers).then(|| String::from("self"));
        self.found.push(start.into_iter().chain(rest).collect());
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.inline += 1;
        visit::visit_item_mod(self, module);
        self.inline -= 1;
    }

    // `pub(in crate::a)` names no item that the file needs.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut leaves = Vec::new();
        collect_leaves(&item.tree, &mut Vec::new(), &mut leaves);
        leaves.iter().for_each(|(_, path)| self.add(path));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        }
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(module: &str, text: &str) -> SourceFile {
        let names = module.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        SourceFile::parse("any.rs".into(), names, text.to_owned()).expect("it is Rust")
    }

    #[test]
    fn circles_lead_through_reexports_to_definitions() {
        let files = [
            file("", "mod a; mod b; mod c; pub use self::{a::A, b::B};"),
            file("a", "pub struct A(crate::B);"),
            file("b", "pub struct B; fn f() { super::c::f(); }"),
            file("c", "use crate::A; pub fn f() {}"),
        ];
        assert_eq!(circles(&files), [vec![1, 2, 3]]);
        let one_way = [file("", "mod a; mod b;"), file("a", "pub struct A(crate::b::B);"), file("b", "pub struct B;")];
        assert_eq!(circles(&one_way), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn circles_resolve_super_in_inline_modules() {
        let parent = || file("", "mod a; pub use self::a::A; pub fn f() {}");
        let own = "pub struct A; fn read() {} mod inline { use super::read; fn g() { super::A; } }";
        assert_eq!(circles(&[parent(), file("a", own)]), Vec::<Vec<usize>>::new());
        let above = "pub struct A; mod inline { fn g() { super::super::f(); } }";
        assert_eq!(circles(&[parent(), file("a", above)]), [vec![0, 1]]);
    }

    #[test]
    fn circles_resolve_exported_macros() {
        let files = [
            file("", "mod a; mod b; pub use self::a::A;"),
            file("a", "pub use crate::rules; pub struct A;"),
            file("b", "#[macro_export] macro_rules! rules { () => {} }"),
        ];
        assert_eq!(circles(&files), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn circles_ignore_paths_of_visibility() {
        let files = [file("", "mod a; pub use self::a::A; fn f() {}"), file("a", "pub(in crate) struct A;")];
        assert_eq!(circles(&files), Vec::<Vec<usize>>::new());
    }
}
