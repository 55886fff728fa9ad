//! Rules about structure: functions, unsafe blocks, match arms.

use std::collections::{BTreeMap, BTreeSet};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::source::{Source, Tree};
use super::{Finding, Rule};

/// One screen.
const FUNCTION_LINES_MAX: usize = 70;

/// A function has at most 70 lines, from `fn` to its closing brace.
pub fn function_length(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, rust) in tree.rust() {
        let mut lengths = Lengths { found: Vec::new() };
        lengths.visit_file(&rust.file);
        for (line, name, lines) in lengths.found.into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX) {
            let cause = format!("`{name}` has {lines} lines, {FUNCTION_LINES_MAX} allowed");
            out.push(finding(source, line, Rule::FunctionLength, cause));
        }
    }
}

struct Lengths {
    found: Vec<(usize, String, usize)>,
}

impl Lengths {
    fn take(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.found.push((first, signature.ident.to_string(), last + 1 - first));
    }
}

impl<'ast> Visit<'ast> for Lengths {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.take(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.take(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.take(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// An unsafe block or impl has `// SAFETY:` on its line, or in the comment right above it or above the statement it is part of.
pub fn unsafe_reason(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, rust) in tree.rust() {
        let mut blocks = Unsafe { starts: Vec::new(), found: Vec::new() };
        blocks.visit_file(&rust.file);
        let lines: Vec<&str> = source.text.lines().collect();
        for (line, statement) in blocks.found {
            if !reasoned(&lines, line) && !reasoned(&lines, statement) {
                out.push(finding(source, line, Rule::UnsafeReason, "`unsafe` without its reason".to_owned()));
            }
        }
    }
}

fn reasoned(lines: &[&str], line: usize) -> bool {
    let says = |text: &str| text.contains("// SAFETY:");
    let index = line.saturating_sub(1);
    if lines.get(index).copied().is_some_and(says) {
        return true;
    }
    let above = lines.get(..index).unwrap_or_default().iter().rev();
    above
        .take_while(|text| text.trim_start().starts_with("//") || text.trim_start().starts_with("#["))
        .any(|text| says(text))
}

struct Unsafe {
    starts: Vec<usize>,
    found: Vec<(usize, usize)>,
}

impl Unsafe {
    fn within(&mut self, line: usize, visit: impl FnOnce(&mut Self)) {
        self.starts.push(line);
        visit(self);
        self.starts.pop();
    }
}

impl<'ast> Visit<'ast> for Unsafe {
    fn visit_stmt(&mut self, stmt: &'ast syn::Stmt) {
        self.within(stmt.span().start().line, |this| visit::visit_stmt(this, stmt));
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.within(arm.span().start().line, |this| visit::visit_arm(this, arm));
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.within(item.span().start().line, |this| visit::visit_item(this, item));
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        let line = block.unsafe_token.span.start().line;
        self.found.push((line, self.starts.last().copied().unwrap_or(line)));
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(token) = &item.unsafety {
            self.found.push((token.span.start().line, token.span.start().line));
        }
        visit::visit_item_impl(self, item);
    }
}

/// A match on an enum that the tree defines has neither `_ =>` nor a bare binding as an arm. Tests may.
///
/// An arm's enum is told by its path (`Method::Ping`); a name that the file imports from elsewhere is somebody else's enum.
pub fn wildcard_arm(tree: &Tree, out: &mut Vec<Finding>) {
    let mut own = BTreeSet::new();
    for (_, rust) in tree.rust() {
        let mut enums = Enums { names: &mut own };
        enums.visit_file(&rust.file);
    }
    for (source, rust) in tree.rust() {
        let mut matches = Matches { own: &own, imports: imports(&rust.file), this: None, found: Vec::new() };
        matches.visit_file(&rust.file);
        for (line, name) in matches.found.into_iter().filter(|(line, _)| !rust.is_test(*line)) {
            out.push(finding(source, line, Rule::WildcardArm, format!("a wildcard arm in a match on `{name}`")));
        }
    }
}

struct Enums<'a> {
    names: &'a mut BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Enums<'_> {
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.names.insert(item.ident.to_string());
    }
}

/// Names that `use` brings in, each with the crate it starts at.
fn imports(file: &syn::File) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for item in &file.items {
        if let syn::Item::Use(item) = item {
            import_tree(&item.tree, None, &mut found);
        }
    }
    found
}

fn import_tree(tree: &syn::UseTree, first: Option<&str>, found: &mut BTreeMap<String, String>) {
    match tree {
        syn::UseTree::Path(path) => {
            let name = path.ident.to_string();
            import_tree(&path.tree, Some(first.unwrap_or(&name)), found);
        }
        syn::UseTree::Name(name) => {
            let name = name.ident.to_string();
            found.insert(name.clone(), first.unwrap_or(&name).to_owned());
        }
        syn::UseTree::Rename(name) => {
            found.insert(name.rename.to_string(), first.unwrap_or("crate").to_owned());
        }
        syn::UseTree::Glob(_) => {}
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| import_tree(tree, first, found)),
    }
}

struct Matches<'a> {
    own: &'a BTreeSet<String>,
    imports: BTreeMap<String, String>,
    this: Option<String>,
    found: Vec<(usize, String)>,
}

impl Matches<'_> {
    /// The enum of ours that this pattern's variant belongs to.
    fn enum_of(&self, pattern: &syn::Pat) -> Option<String> {
        match pattern {
            syn::Pat::Or(pattern) => pattern.cases.iter().find_map(|case| self.enum_of(case)),
            syn::Pat::Paren(pattern) => self.enum_of(&pattern.pat),
            syn::Pat::Reference(pattern) => self.enum_of(&pattern.pat),
            syn::Pat::Ident(pattern) => pattern.subpat.as_ref().and_then(|(_, inner)| self.enum_of(inner)),
            syn::Pat::Path(pattern) => self.own_enum(&pattern.path),
            syn::Pat::TupleStruct(pattern) => self.own_enum(&pattern.path),
            syn::Pat::Struct(pattern) => self.own_enum(&pattern.path),
            _ => None,
        }
    }

    fn own_enum(&self, path: &syn::Path) -> Option<String> {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let [before @ .., name, _variant] = segments.as_slice() else { return None };
        let name = if name == "Self" { self.this.as_ref()? } else { name };
        let first = before.first().unwrap_or(name);
        let home = self.imports.get(first).unwrap_or(first);
        let ours = home == name
            || matches!(home.as_str(), "crate" | "self" | "super" | "xtask")
            || home.starts_with("portcullis")
            || !before.is_empty() && self.is_own_module(first);
        (ours && self.own.contains(name)).then(|| name.clone())
    }

    /// A lower-case module that is not imported stands beside the file; a foreign crate named in full is told by the usual names.
    fn is_own_module(&self, first: &str) -> bool {
        !self.imports.contains_key(first) && !FOREIGN.contains(&first)
    }
}

/// Crates that are named in full in patterns.
const FOREIGN: [&str; 12] = [
    "std",
    "core",
    "serde_json",
    "syn",
    "toml",
    "toml_edit",
    "cedar_policy",
    "rustls",
    "jsonwebtoken",
    "httparse",
    "tokio",
    "hyper",
];

impl<'ast> Visit<'ast> for Matches<'_> {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let outer = self.this.take();
        if let syn::Type::Path(this) = item.self_ty.as_ref() {
            self.this = this.path.segments.last().map(|segment| segment.ident.to_string());
        }
        visit::visit_item_impl(self, item);
        self.this = outer;
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        if let Some(name) = expr.arms.iter().find_map(|arm| self.enum_of(&arm.pat)) {
            for arm in expr.arms.iter().filter(|arm| arm.guard.is_none() && catches_all(&arm.pat)) {
                self.found.push((arm.pat.span().start().line, name.clone()));
            }
        }
        visit::visit_expr_match(self, expr);
    }
}

fn catches_all(pattern: &syn::Pat) -> bool {
    match pattern {
        syn::Pat::Wild(_) => true,
        syn::Pat::Ident(binding) => {
            binding.subpat.is_none() && binding.ident.to_string().starts_with(|c: char| c.is_lowercase() || c == '_')
        }
        syn::Pat::Paren(pattern) => catches_all(&pattern.pat),
        syn::Pat::Or(pattern) => pattern.cases.iter().any(catches_all),
        _ => false,
    }
}

fn finding(source: &Source, line: usize, rule: Rule, cause: String) -> Finding {
    Finding { path: source.path.clone(), line, rule, cause }
}
