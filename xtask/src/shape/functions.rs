//! Functions of a file: their lengths, and the futures that they box.

use syn::{
    Block, ExprCall, ImplItemFn, ItemFn, Signature, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::source::SourceFile;

/// Returns each function with its length in lines and the number of futures that it boxes.
pub(super) fn of(file: &SourceFile) -> Vec<(String, usize, usize)> {
    let mut functions = Functions { found: Vec::new() };
    for item in &file.items {
        functions.visit_item(item);
    }
    let name = file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let named = |(function, length, boxes)| (format!("{name}::{function}"), length, boxes);
    functions.found.into_iter().map(named).collect()
}

struct Functions {
    found: Vec<(String, usize, usize)>,
}

impl Functions {
    fn add(&mut self, signature: &Signature, body: &Block) {
        let mut boxes = Boxes(0);
        boxes.visit_block(body);
        let length = body.span().end().line - signature.span().start().line + 1;
        self.found.push((signature.ident.to_string(), length, boxes.0));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
    }
}

/// Number of calls of `Box::pin`.
struct Boxes(usize);

impl<'ast> Visit<'ast> for Boxes {
    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let syn::Expr::Path(function) = &*call.func {
            let last_two: Vec<String> =
                function.path.segments.iter().rev().take(2).map(|segment| segment.ident.to_string()).collect();
            self.0 += usize::from(last_two == ["pin", "Box"]);
        }
        visit::visit_expr_call(self, call);
    }
}
