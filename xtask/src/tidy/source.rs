//! Reads the tree once for every rule. In: a folder. Out: its text files, Rust among them parsed, test regions known.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Everything under one top folder.
pub struct Tree {
    /// What stands at the top itself, hidden names and build output left out.
    pub top: BTreeSet<String>,
    /// Every text file, in order of path.
    pub files: Vec<Source>,
}

/// One text file.
pub struct Source {
    /// Path below the top, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Its syntax, when it is Rust.
    pub rust: Option<Rust>,
}

/// A parsed Rust file.
pub struct Rust {
    /// For rules about structure.
    pub file: syn::File,
    /// For rules about words; macros' insides are seen here too.
    pub tokens: TokenStream,
    tests: Vec<RangeInclusive<usize>>,
}

/// Build output and what package managers unpack; never ours.
const SKIPPED_FOLDERS: [&str; 4] = ["target", "node_modules", "__pycache__", "venv"];

/// Hidden folders that are ours.
const HIDDEN_FOLDERS: [&str; 3] = [".ci", ".cargo", ".github"];

/// The fixtures break the rules on purpose.
const FIXTURES: &str = "xtask/fixtures/tidy";

impl Tree {
    /// Reads the tree below `root`.
    ///
    /// # Errors
    /// When a file cannot be read, or a Rust file does not parse.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { top: BTreeSet::new(), files: Vec::new() };
        for name in names(root)? {
            if !name.starts_with('.') && name != "target" {
                tree.top.insert(name);
            }
        }
        tree.walk(root, "")?;
        tree.mark_test_modules();
        Ok(tree)
    }

    fn walk(&mut self, root: &Path, below: &str) -> Result<()> {
        for name in names(&root.join(below))? {
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            let kind = fs::symlink_metadata(root.join(&path)).with_context(|| format!("`{path}` cannot be read"))?;
            if kind.is_dir() {
                let hidden = name.starts_with('.') && !HIDDEN_FOLDERS.contains(&name.as_str());
                if !hidden && !SKIPPED_FOLDERS.contains(&name.as_str()) && path != FIXTURES {
                    self.walk(root, &path)?;
                }
            } else if kind.is_file() && name != ".git" {
                self.take(root, path)?;
            }
        }
        Ok(())
    }

    /// Takes a text file in; what is not UTF-8 is no text.
    fn take(&mut self, root: &Path, path: String) -> Result<()> {
        let bytes = fs::read(root.join(&path)).with_context(|| format!("`{path}` cannot be read"))?;
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        let rust = if path.ends_with(".rs") {
            Some(Rust::parse(&text).with_context(|| format!("`{path}` does not parse"))?)
        } else {
            None
        };
        self.files.push(Source { path, text, rust });
        Ok(())
    }

    /// `#[cfg(test)] mod rows;` makes the whole of `rows.rs` test code.
    fn mark_test_modules(&mut self) {
        let mut whole = BTreeSet::new();
        for source in &self.files {
            let Some(rust) = &source.rust else { continue };
            let (folder, name) = source.path.rsplit_once('/').unwrap_or_default();
            let below = match name {
                "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
                _ => source.path.trim_end_matches(".rs").to_owned(),
            };
            for module in rust.test_modules() {
                match module {
                    TestModule::Named(name) => {
                        whole.insert(format!("{below}/{name}.rs"));
                        whole.insert(format!("{below}/{name}/"));
                    }
                    TestModule::At(path) => {
                        whole.insert(format!("{folder}/{path}"));
                    }
                }
            }
        }
        for source in &mut self.files {
            let declared = |mark: &String| source.path == *mark || mark.ends_with('/') && source.path.starts_with(mark);
            let is_test = is_test_path(&source.path) || whole.iter().any(declared);
            if let Some(rust) = source.rust.as_mut().filter(|_| is_test) {
                rust.tests = vec![1..=usize::MAX];
            }
        }
    }

    /// Whether `tidy: allow(RULE) REASON` stands on that line or the one above it.
    pub fn excepted(&self, path: &str, line: usize, rule: &str) -> bool {
        let mark = format!("tidy: allow({rule})");
        let Some(source) = self.files.iter().find(|source| source.path == path) else { return false };
        let has = |number: usize| {
            let text = number.checked_sub(1).and_then(|index| source.text.lines().nth(index)).unwrap_or_default();
            text.split_once(&mark).is_some_and(|(_, reason)| reason.trim().len() > 3)
        };
        has(line) || line > 1 && has(line - 1)
    }

    /// The Rust files, with their paths.
    pub fn rust(&self) -> impl Iterator<Item = (&Source, &Rust)> {
        self.files.iter().filter_map(|source| source.rust.as_ref().map(|rust| (source, rust)))
    }
}

impl Rust {
    fn parse(text: &str) -> Result<Self> {
        let tokens: TokenStream = text.parse().map_err(|cause| anyhow::anyhow!("{cause}"))?;
        let mut tests = Vec::new();
        test_regions(tokens.clone(), &mut tests);
        Ok(Self { file: syn::parse_file(text)?, tokens, tests })
    }

    /// Whether this line belongs to test code.
    pub fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|region| region.contains(&line))
    }

    /// Modules in files of their own that are compiled for tests only.
    fn test_modules(&self) -> Vec<TestModule> {
        let modules = self.file.items.iter().filter_map(|item| match item {
            syn::Item::Mod(module) if module.content.is_none() => Some(module),
            _ => None,
        });
        modules
            .filter(|module| self.is_test(module.mod_token.span.start().line))
            .map(|module| match module.attrs.iter().find_map(path_attribute) {
                Some(path) => TestModule::At(path),
                None => TestModule::Named(module.ident.to_string()),
            })
            .collect()
    }
}

/// Where the file of a test module lies.
enum TestModule {
    /// Where its name says.
    Named(String),
    /// Where its `#[path]` says, from the folder of the file that declares it.
    At(String),
}

fn path_attribute(attribute: &syn::Attribute) -> Option<String> {
    let pair = attribute.meta.require_name_value().ok()?;
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) if pair.path.is_ident("path") => {
            Some(path.value())
        }
        _ => None,
    }
}

/// Tests and benches by their place. The upstreams under `tests` are servers, and servers may be slow on purpose.
pub fn is_test_path(path: &str) -> bool {
    let placed = path.starts_with("tests/") || path.contains("/tests/") || path.contains("benches/");
    placed && !path.starts_with("tests/upstreams/")
}

/// Lines from a `#[test]` or `#[cfg(test)]` to the end of the item it stands on.
fn test_regions(tokens: TokenStream, out: &mut Vec<RangeInclusive<usize>>) {
    let mut begun: Option<usize> = None;
    let mut after_hash = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) if after_hash && group.delimiter() == Delimiter::Bracket => {
                if marks_test(group.stream()) {
                    begun.get_or_insert(group.span_open().start().line);
                }
                after_hash = false;
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => match begun.take() {
                Some(first) => out.push(first..=group.span_close().end().line),
                None => test_regions(group.stream(), out),
            },
            TokenTree::Group(group) => {
                if begun.is_none() {
                    test_regions(group.stream(), out);
                }
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => {
                if let Some(first) = begun.take() {
                    out.push(first..=mark.span().start().line);
                }
            }
            TokenTree::Punct(mark) => after_hash = mark.as_char() == '#' || after_hash && mark.as_char() == '!',
            TokenTree::Ident(_) | TokenTree::Literal(_) => after_hash = false,
        }
    }
}

/// `test`, `tokio::test`, `cfg(test)`, `cfg(any(test, …))`; not `cfg_attr(not(test), …)`.
fn marks_test(attribute: TokenStream) -> bool {
    let mut words = Vec::new();
    for token in attribute {
        match token {
            TokenTree::Ident(word) => words.push(word.to_string()),
            TokenTree::Group(group) if words == ["cfg"] => {
                let inside = group.stream().to_string();
                return inside.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "test")
                    && !inside.contains("not");
            }
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    words.last().is_some_and(|word| word == "test")
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("`{}` cannot be read", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
