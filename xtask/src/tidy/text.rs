//! Rules about text, whatever the language.

use super::source::{Source, Tree};
use super::{Finding, Rule};

/// One idea a file; a reader holds 500 lines.
const FILE_LINES_MAX: usize = 500;

/// Endings of what people write as code; tables of data may be longer.
const CODE: [&str; 6] = [".rs", ".py", ".ts", ".js", ".mjs", ".sh"];

/// Written apart, so that this file does not break its own rule.
const MARKERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Homes of people, and hosts that packages come from.
const MACHINE: [&str; 10] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("index.cra", "tes.io"),
    concat!("static.cra", "tes.io"),
    concat!("registry.npm", "js.org"),
    concat!("registry.yarn", "pkg.com"),
    concat!("files.python", "hosted.org"),
    concat!("pypi.", "org"),
    concat!("proxy.gol", "ang.org"),
];

/// A file of code has at most 500 lines.
pub fn file_length(tree: &Tree, out: &mut Vec<Finding>) {
    for source in tree.files.iter().filter(|source| CODE.iter().any(|ending| source.path.ends_with(ending))) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            out.push(finding(
                source,
                FILE_LINES_MAX + 1,
                Rule::FileLength,
                format!("{lines} lines, {FILE_LINES_MAX} allowed"),
            ));
        }
    }
}

/// Nothing is left to be done later.
pub fn marker(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, number, line) in lines(tree) {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| MARKERS.contains(word)) {
            out.push(finding(source, number, Rule::Marker, format!("`{word}` left behind")));
        }
    }
}

/// Nothing names the machine it was written on. A needle counts only where a path or host begins, not inside a longer word.
pub fn machine_path(tree: &Tree, out: &mut Vec<Finding>) {
    for (source, number, line) in lines(tree) {
        for needle in MACHINE {
            let begins =
                |at: usize| !line.get(..at).unwrap_or_default().ends_with(|c: char| c.is_alphanumeric() || c == '-');
            if line.match_indices(needle).any(|(at, _)| begins(at)) {
                out.push(finding(source, number, Rule::MachinePath, format!("`{needle}` named")));
            }
        }
    }
}

fn lines(tree: &Tree) -> impl Iterator<Item = (&Source, usize, &str)> {
    tree.files
        .iter()
        .flat_map(|source| source.text.lines().enumerate().map(move |(index, line)| (source, index + 1, line)))
}

fn finding(source: &Source, line: usize, rule: Rule, cause: String) -> Finding {
    Finding { path: source.path.clone(), line, rule, cause }
}
