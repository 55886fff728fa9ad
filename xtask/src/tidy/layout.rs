//! Rules about the house itself: its top level and its manifests.

use super::source::Tree;
use super::{Finding, Rule};

/// The top level is the user's and stays exactly so; hidden names and build output aside.
const TOP: [&str; 10] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "benches", "ebpf", "gateway", "loadtest", "tests", "xtask"];

/// The top level holds exactly these names.
pub fn top_level(tree: &Tree, out: &mut Vec<Finding>) {
    let mut offend =
        |name: &str, cause: String| out.push(Finding { path: name.to_owned(), line: 0, rule: Rule::TopLevel, cause });
    for name in tree.top.iter().filter(|name| !TOP.contains(&name.as_str())) {
        offend(name, format!("`{name}` at the top level"));
    }
    for name in TOP.iter().filter(|name| !tree.top.contains(**name)) {
        offend(name, format!("`{name}` missing at the top level"));
    }
}

/// Every dependency of a package says, on its line or the line above, what it is needed for.
pub fn dependency_reason(tree: &Tree, out: &mut Vec<Finding>) {
    for source in tree.files.iter().filter(|source| source.path.ends_with("Cargo.toml")) {
        if !source.text.lines().any(|line| line.trim() == "[package]") {
            continue;
        }
        let mut inside = false;
        let mut above = "";
        for (index, line) in source.text.lines().enumerate() {
            let named = dependency(line, &mut inside);
            if let Some(name) = named.filter(|_| !line.contains('#') && !above.trim_start().starts_with('#')) {
                let cause = format!("`{name}` without its reason");
                out.push(Finding { path: source.path.clone(), line: index + 1, rule: Rule::DependencyReason, cause });
            }
            above = line;
        }
    }
}

/// The dependency that this line begins. `inside` says whether the lines are in a table of dependencies.
fn dependency<'a>(line: &'a str, inside: &mut bool) -> Option<&'a str> {
    if let Some(header) = line.strip_prefix('[') {
        let header = header.split(']').next().unwrap_or_default();
        *inside = header == "dependencies" || header.ends_with("-dependencies") || header.ends_with(".dependencies");
        let (table, name) = header.rsplit_once('.')?;
        return table.ends_with("dependencies").then_some(name);
    }
    let begins = line.starts_with(|c: char| c.is_ascii_alphanumeric());
    let name = line.split(['=', '.', ' ']).next()?;
    (*inside && begins && line.contains('=')).then_some(name)
}
