//! Rules about words of Rust; the insides of macros are seen too.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::source::{Rust, Source, Tree, is_test_path};
use super::{Finding, Rule};

/// Where the core lives.
const CORE: &str = "gateway/core/src/";

/// Where `unsafe` may stand.
const UNSAFE_PLACES: [&str; 3] = ["gateway/ring/", "gateway/src/kernel/", "ebpf/"];

/// What the core never touches, and what it is.
const IMPURE: [(&[&str], &str); 12] = [
    (&["std", "fs"], "the file system"),
    (&["std", "net", "TcpStream"], "a socket"),
    (&["std", "net", "TcpListener"], "a socket"),
    (&["std", "net", "UdpSocket"], "a socket"),
    (&["std", "time", "Instant"], "a clock"),
    (&["std", "time", "SystemTime"], "a clock"),
    (&["std", "thread"], "threads"),
    (&["std", "process"], "processes"),
    (&["std", "env"], "the environment"),
    (&["tokio"], "a runtime"),
    (&["rand"], "chance"),
    (&["aws_lc_rs", "rand"], "chance"),
];

/// Words that say nothing about a thing, as types spell them and as modules do.
const VAGUE_TYPES: [&str; 3] = ["Manager", "Utils", "Helper"];
const VAGUE_WORDS: [&str; 6] = ["manager", "managers", "util", "utils", "helper", "helpers"];

/// A path as written, brace groups unfolded: `a::{b, c::d}` is `a::b` and `a::c::d`. A lone word is a path of one.
pub struct Path {
    segments: Vec<String>,
    line: usize,
}

/// A module of the core imports only from modules listed above it in `lib.rs`.
pub fn module_order(tree: &Tree, out: &mut Vec<Finding>) {
    let Some(order) = core_order(tree) else { return };
    let place = |name: &str| order.iter().position(|module| module == name);
    for (source, rust) in tree.rust() {
        let Some(below) = source.path.strip_prefix(CORE) else { continue };
        let own = below.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some(own_place) = place(own) else { continue };
        let at_root = !below.contains('/') || below.ends_with("/mod.rs") && below.matches('/').count() == 1;
        for path in paths(rust) {
            let [first, second, ..] = path.segments.as_slice() else { continue };
            let from_root = first == "crate" || first == "super" && at_root;
            if from_root && place(second).is_some_and(|other| other > own_place) {
                let cause = format!("`{own}` imports from `{second}`, which is listed below it");
                out.push(finding(source, path.line, Rule::ModuleOrder, cause));
            }
        }
    }
}

/// The core does no IO, reads no clock, rolls no dice and never waits.
pub fn pure_core(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, rust) in tree.rust().filter(|(source, _)| source.path.starts_with(CORE)) {
        for path in paths(rust).into_iter().filter(|path| !rust.is_test(path.line)) {
            if let Some(what) = impurity(&path.segments) {
                let cause = format!("`{}` in the core is {what}", path.segments.join("::"));
                out.push(finding(source, path.line, Rule::PureCore, cause));
            }
        }
    }
}

fn impurity(segments: &[String]) -> Option<&'static str> {
    if let [word] = segments {
        return matches!(word.as_str(), "async" | "await").then_some("waiting");
    }
    if matches!(segments, [.., kind, now] if now == "now" && matches!(kind.as_str(), "Timestamp" | "Zoned" | "Instant" | "SystemTime"))
    {
        return Some("a clock");
    }
    IMPURE
        .iter()
        .find(|(prefix, _)| prefix.len() <= segments.len() && prefix.iter().zip(segments).all(|(a, b)| a == b))
        .map(|(_, what)| *what)
}

/// `unsafe` stands only in the seam, the kernel loader and the kernel programs.
pub fn unsafe_place(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, rust) in
        tree.rust().filter(|(source, _)| !UNSAFE_PLACES.iter().any(|place| source.path.starts_with(place)))
    {
        for path in paths(rust) {
            if path.segments == ["unsafe"] {
                out.push(finding(source, path.line, Rule::UnsafePlace, "`unsafe` outside its places".to_owned()));
            }
        }
    }
}

/// Tests wait for events, never for time. Other languages' tests are read by word.
pub fn test_sleep(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, rust) in tree.rust() {
        for path in paths(rust) {
            let sleeps = path.segments.len() > 1 && path.segments.last().is_some_and(|word| word == "sleep");
            if sleeps && rust.is_test(path.line) {
                out.push(finding(
                    source,
                    path.line,
                    Rule::TestSleep,
                    format!("`{}` in a test", path.segments.join("::")),
                ));
            }
        }
    }
    for source in tree.files.iter().filter(|source| is_test_path(&source.path) && source.rust.is_none()) {
        for (index, line) in source.text.lines().enumerate() {
            // `setTimeout` also bounds a wait for an event, which is no sleep.
            if ["sleep(", "setTimeout(resolve"].iter().any(|call| line.contains(call)) {
                out.push(finding(source, index + 1, Rule::TestSleep, "a sleep in a test".to_owned()));
            }
        }
    }
}

/// Product code never unwraps.
pub fn unwrap(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, rust) in tree.rust().filter(|(source, _)| source.path.starts_with("gateway/")) {
        let mut calls = Vec::new();
        unwraps(rust.tokens.clone(), &mut calls);
        for (line, word) in calls.into_iter().filter(|(line, _)| !rust.is_test(*line)) {
            out.push(finding(source, line, Rule::Unwrap, format!("`.{word}()` in product code")));
        }
    }
}

fn unwraps(tokens: TokenStream, out: &mut Vec<(usize, String)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => unwraps(group.stream(), out),
            TokenTree::Ident(word) => {
                let dotted =
                    index.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|token| is_mark(token, '.'));
                let called = match tokens.get(index + 1) {
                    Some(TokenTree::Group(group)) => {
                        group.delimiter() == Delimiter::Parenthesis && !is_given_bytes(group)
                    }
                    Some(_) | None => false,
                };
                let name = word.to_string();
                if dotted && called && matches!(name.as_str(), "unwrap" | "expect" | "unwrap_err" | "expect_err") {
                    out.push((word.span().start().line, name));
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// A parser's own `expect(b"rue")` reads bytes and gives back a `Result`; the one of `Option` takes words.
fn is_given_bytes(arguments: &Group) -> bool {
    let first = arguments.stream().into_iter().next();
    matches!(first, Some(TokenTree::Literal(literal)) if literal.to_string().starts_with('b'))
}

/// Paths do not climb twice.
pub fn super_super(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, rust) in tree.rust() {
        for path in paths(rust) {
            if path.segments.windows(2).any(|pair| pair == ["super", "super"]) {
                out.push(finding(source, path.line, Rule::SuperSuper, format!("`{}`", path.segments.join("::"))));
            }
        }
    }
}

/// Names say what a thing is.
pub fn vague_name(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, rust) in tree.rust() {
        let stem =
            source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs").rsplit('/').next().unwrap_or_default();
        if is_vague(stem) {
            out.push(finding(source, 1, Rule::VagueName, format!("a file named `{stem}`")));
        }
        let words = paths(rust);
        for pair in words.windows(2) {
            let [keyword, name] = pair else { continue };
            let ([keyword], [name_word, ..]) = (keyword.segments.as_slice(), name.segments.as_slice()) else {
                continue;
            };
            let declares = matches!(keyword.as_str(), "struct" | "enum" | "trait" | "type" | "mod" | "union");
            if declares && is_vague(name_word) {
                out.push(finding(source, name.line, Rule::VagueName, format!("`{keyword} {name_word}`")));
            }
        }
    }
}

/// A word of the name is vague, in either case: `PoolManager`, `string_utils`, `helper`.
fn is_vague(name: &str) -> bool {
    VAGUE_TYPES.iter().any(|word| name.contains(word)) || name.split('_').any(|word| VAGUE_WORDS.contains(&word))
}

fn core_order(tree: &Tree) -> Option<Vec<String>> {
    let lib = tree.files.iter().find(|source| source.path == format!("{CORE}lib.rs"))?.rust.as_ref()?;
    let modules = lib.file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    });
    Some(modules.collect())
}

/// Every path of the file, in order.
pub fn paths(rust: &Rust) -> Vec<Path> {
    let mut out = Vec::new();
    collect(rust.tokens.clone(), &mut out);
    out
}

fn collect(tokens: TokenStream, out: &mut Vec<Path>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        index += 1;
        match token {
            TokenTree::Group(group) => collect(group.stream(), out),
            TokenTree::Ident(word) => {
                let start = Path { segments: vec![word.to_string()], line: word.span().start().line };
                index = follow(start, &tokens, index, out);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Follows `::` from `index` on; gives back where reading goes on.
fn follow(mut path: Path, tokens: &[TokenTree], mut index: usize, out: &mut Vec<Path>) -> usize {
    while tokens.get(index).is_some_and(|token| is_mark(token, ':'))
        && tokens.get(index + 1).is_some_and(|token| is_mark(token, ':'))
    {
        match tokens.get(index + 2) {
            Some(TokenTree::Ident(word)) => {
                path.segments.push(word.to_string());
                index += 3;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                unfold(&path, group, out);
                return index + 3;
            }
            Some(_) | None => break,
        }
    }
    out.push(path);
    index
}

/// `prefix::{a, b::c}`: each part under the prefix, at its own line.
fn unfold(prefix: &Path, group: &Group, out: &mut Vec<Path>) {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    for part in tokens.split(|token| is_mark(token, ',')) {
        if let Some(TokenTree::Ident(word)) = part.first() {
            let mut segments = prefix.segments.clone();
            segments.push(word.to_string());
            follow(Path { segments, line: word.span().start().line }, part, 1, out);
        }
    }
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == mark)
}

fn finding(source: &Source, line: usize, rule: Rule, cause: String) -> Finding {
    Finding { path: source.path.clone(), line, rule, cause }
}
