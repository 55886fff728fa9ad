//! Reads what must hold of the rules. In: a file of invariants. Out: each with its name, its place and what it claims, or findings. Never here: whether it holds.
//!
//! ```toml
//! [[invariant]]
//! name = "only finance reads financials"
//! never = 'permit (principal, action == Action::"crm.read_table", resource) when { context.input.table == "financials" } unless { principal in Group::"finance" };'
//!
//! [[invariant]]
//! name = "support can always read orders"
//! always = 'permit (principal in Group::"support", action == Action::"crm.read_table", resource) when { context.input.table == "orders" };'
//! agents = "registered"
//!
//! [[invariant]]
//! name = "no wider than what was reviewed"
//! no-more-than = "reviewed-policies"
//!
//! [[invariant]]
//! name = "no forbid fails"
//! never-errors = "forbids"
//! ```
//!
//! The calls that `never` and `always` speak of are written as Cedar permits, so that there is no new language to learn: no call that one of
//! them matches is ever permitted, or every one is.

use serde::Deserialize;
use toml::Spanned;

use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean, line_of};

/// Invariants of one file: each is asked for every action it covers, and a file of more was made by a program.
pub const INVARIANTS_MAX: usize = 1_000;

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// What an operator calls it.
    pub name: Box<str>,
    /// The line its entry begins on.
    pub line: u32,
    /// Of which agents it must hold.
    pub agents: Agents,
    /// What must hold.
    pub claim: Claim,
}

/// Of which agents something must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agents {
    /// Any that could be registered: in any of the known groups, with any accounts.
    #[default]
    Any,
    /// Those of the registry as it is.
    Registered,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// No call that these permits match is permitted. The text stands on its own lines of the file, so that findings name them.
    Never(String),
    /// Every call that these permits match is permitted.
    Always(String),
    /// What is permitted, the rules of this folder permit as well.
    NoMoreThan(String),
    /// None of these rules ever fails to evaluate.
    NeverErrors(Which),
}

/// Rules that must not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The forbids: one that fails denies.
    Forbids,
    /// All rules: a permit that fails does not count.
    Rules,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    invariant: Vec<Spanned<Entry>>,
    #[serde(flatten)]
    unknown: toml::Table,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: Option<String>,
    never: Option<Spanned<String>>,
    always: Option<Spanned<String>>,
    no_more_than: Option<String>,
    never_errors: Option<Which>,
    #[serde(default)]
    agents: Agents,
    #[serde(flatten)]
    unknown: toml::Table,
}

/// The keys of an entry.
const KEYS: [&str; 6] = ["name", "never", "always", "no-more-than", "never-errors", "agents"];

/// Reads a file of invariants; every finding comes at once.
///
/// # Errors
/// What is wrong, each with its place and cure.
pub fn parse(text: &str, file: &str) -> Result<Vec<Invariant>, Diagnostics> {
    let read: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        vec![Diagnostic::error(file, line, error.message().to_lowercase().trim_end_matches('.').to_owned())]
    })?;
    let mut findings: Diagnostics = read
        .unknown
        .keys()
        .map(|key| Diagnostic::error(file, None, format!("unknown entry `{key}`")).help("each is an `[[invariant]]`"))
        .collect();
    if read.invariant.is_empty() && findings.is_empty() {
        findings.push(
            Diagnostic::error(file, None, "the file holds no invariant").help("write the first as `[[invariant]]`"),
        );
    }
    if read.invariant.len() > INVARIANTS_MAX {
        let message = format!("{} invariants, the limit is {INVARIANTS_MAX}", read.invariant.len());
        findings.push(Diagnostic::error(file, None, message).help("split the file"));
    }
    let mut invariants: Vec<Invariant> = Vec::with_capacity(read.invariant.len());
    for entry in read.invariant {
        let line = line_of(text, entry.span().start);
        match entry.into_inner().meant(text, line) {
            Ok(invariant) if invariants.iter().any(|other| other.name == invariant.name) => {
                let message = format!("the name `{}` is taken", invariant.name);
                findings
                    .push(Diagnostic::error(file, Some(line), message).help("give each invariant a name of its own"));
            }
            Ok(invariant) => invariants.push(invariant),
            Err((message, cure)) => findings.push(Diagnostic::error(file, Some(line), message).help(cure)),
        }
    }
    if findings.is_empty() { Ok(invariants) } else { Err(findings) }
}

impl Entry {
    fn meant(self, text: &str, line: u32) -> Result<Invariant, (String, String)> {
        if let Some(key) = self.unknown.keys().next() {
            let cure = did_you_mean(key, KEYS).unwrap_or_else(|| format!("the keys are {}", KEYS.join(", ")));
            return Err((format!("unknown key `{key}`"), cure));
        }
        let name = self.name.filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| ("an invariant has no `name`".to_owned(), "say what must hold".to_owned()))?;
        let mut claims = [
            self.never.map(|permits| Claim::Never(placed(&permits, text))),
            self.always.map(|permits| Claim::Always(placed(&permits, text))),
            self.no_more_than.map(Claim::NoMoreThan),
            self.never_errors.map(Claim::NeverErrors),
        ]
        .into_iter()
        .flatten();
        match (claims.next(), claims.next()) {
            (Some(claim), None) => Ok(Invariant { name: name.into(), line, agents: self.agents, claim }),
            (None, _) => Err((
                format!("invariant `{name}` claims nothing"),
                "say `never`, `always`, `no-more-than` or `never-errors`".to_owned(),
            )),
            (Some(_), Some(_)) => {
                Err((format!("invariant `{name}` claims two things"), "make two invariants of it".to_owned()))
            }
        }
    }
}

/// The Cedar text below as many line breaks as stand before it in the file.
fn placed(permits: &Spanned<String>, text: &str) -> String {
    let start = permits.span().start;
    let quotes = text.get(start..).unwrap_or_default();
    let opens_below = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"].iter().any(|opening| quotes.starts_with(opening));
    let before = line_of(text, start) - 1 + u32::from(opens_below);
    let breaks = "\n".repeat(usize::try_from(before).unwrap_or_default());
    format!("{breaks}{}", permits.get_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let shown: Vec<String> = match parse(text, "i.toml") {
            Ok(invariants) => {
                invariants.iter().map(|one| format!("{} {} {:?}", one.line, one.name, one.claim)).collect()
            }
            Err(findings) => findings.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn what_claims_nothing_or_two_things_is_refused_with_its_line() {
        check("", &["i.toml: the file holds no invariant; write the first as `[[invariant]]`"]);
        check("[[invariants]]\nname = \"a\"", &["i.toml: unknown entry `invariants`; each is an `[[invariant]]`"]);
        check("[[invariant]]\nnever = \"x\"", &["i.toml:1: an invariant has no `name`; say what must hold"]);
        check(
            "\n[[invariant]]\nname = \"a\"",
            &["i.toml:2: invariant `a` claims nothing; say `never`, `always`, `no-more-than` or `never-errors`"],
        );
        check(
            "[[invariant]]\nname = \"a\"\nnever = \"x\"\nalways = \"y\"",
            &["i.toml:1: invariant `a` claims two things; make two invariants of it"],
        );
        check("[[invariant]]\nname = \"a\"\nnevr = \"x\"", &["i.toml:1: unknown key `nevr`; did you mean `never`?"]);
        check(
            "[[invariant]]\nname = \"a\"\nnever = \"x\"\n[[invariant]]\nname = \"a\"\nnever = \"y\"",
            &["i.toml:4: the name `a` is taken; give each invariant a name of its own"],
        );
        let many = "[[invariant]]\n".repeat(INVARIANTS_MAX + 1);
        assert_eq!(parse(&many, "i.toml").unwrap_err()[0].message, "1001 invariants, the limit is 1000");
    }

    #[test]
    fn cedar_stands_on_the_lines_of_the_file() {
        check(
            "[[invariant]]\nname = \"a\"\nnever = '''\npermit'''\n\n[[invariant]]\nname = \"b\"\nalways = 'x'",
            &["1 a Never(\"\\n\\n\\npermit\")", "6 b Always(\"\\n\\n\\n\\n\\n\\n\\nx\")"],
        );
        check(
            "[[invariant]]\nname = \"a\"\nno-more-than = \"old\"\n[[invariant]]\nname = \"b\"\nnever-errors = \"forbids\"",
            &["1 a NoMoreThan(\"old\")", "4 b NeverErrors(Forbids)"],
        );
    }
}
