//! Checks what rules say of calendars and SQL. In: one parsed rule, or all of them; the columns. Out: findings with place, cause and cure. Never here: evaluation.

use super::Place;
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::policy::reads::{Fact, Sought};
use crate::policy::scope::Columns;
use crate::policy::source::Parsed;
use crate::policy::sql::{Dialect, SqlRules};

/// What `context.sql.kinds` can hold.
const KINDS: [&str; 6] = ["select", "insert", "update", "delete", "replace", "create"];

/// What is wrong with the calendars and the SQL facts that a rule reads.
pub(super) fn facts(rule: &Parsed, covered: &Columns, place: Place<'_>) -> Diagnostics {
    let columns = || covered.matching.iter().filter_map(|column| place.surface.columns.get(*column as usize));
    // A rule that compares the whole context reads everything; the validator has its own words for it.
    let reads = |fact: Fact, name: &str| rule.reads.facts.contains(fact) && rule.text.contains(name);
    let at = |member: &str| Some(rule.line_of_member(member, place.text));
    let mut findings = Diagnostics::new();
    if reads(Fact::Calendars, "calendars") && place.names.calendars.is_empty() {
        let finding = Diagnostic::error(&*rule.file, at("calendars"), "no calendars are configured");
        return vec![
            finding.help("write some into a file and name it: `calendars = \"calendars.toml\"` in `[policy]`"),
        ];
    }
    if reads(Fact::Sql, "sql") && columns().all(|column| column.sql.is_none()) {
        let finding =
            Diagnostic::error(&*rule.file, at("sql"), "no tool that this rule covers has an argument with SQL");
        return vec![
            finding.help("write `sql = { argument = \"/sql\", dialect = \"postgres\" }` under the `[tool.\"…\"]`"),
        ];
    }
    let sql: Vec<&SqlRules> = columns().filter_map(|column| column.sql.as_deref()).collect();
    for sought in &rule.reads.sought {
        let Some((message, cure)) = mistaken(sought, &sql, place) else { continue };
        let line = rule.line_of(&format!("\"{}\"", sought.text), place.text);
        let finding = Diagnostic::error(&*rule.file, Some(line), message);
        findings.push(match cure {
            Some(cure) => finding.help(cure),
            None => finding,
        });
    }
    findings
}

/// Cause and cure where a text can be in no such set, so that the rule does not mean what it seems to.
fn mistaken(sought: &Sought, sql: &[&SqlRules], place: Place<'_>) -> Option<(String, Option<String>)> {
    let text = &*sought.text;
    match &*sought.set {
        "calendars" if !place.names.calendars.contains(text) => {
            Some((format!("unknown calendar `{text}`"), did_you_mean(text, place.names.calendars.iter().copied())))
        }
        "sql.kinds" if !KINDS.contains(&text) => {
            let lower = text.to_ascii_lowercase();
            let listed = || format!("the kinds are {}", KINDS.map(|kind| format!("`{kind}`")).join(", "));
            Some((
                format!("unknown kind of statement `{text}`"),
                did_you_mean(&lower, KINDS).or_else(|| Some(listed())),
            ))
        }
        "sql.tables" => {
            let folds = |rules: &&&SqlRules| {
                rules.dialect == Dialect::Sqlite && text.chars().any(|letter| letter.is_ascii_uppercase())
            };
            if sql.iter().any(|rules| folds(&rules)) {
                let cure = format!("write `{}`: names of this dialect are in lower case", text.to_ascii_lowercase());
                return Some((format!("no table is ever called `{text}`"), Some(cure)));
            }
            let schema = sql
                .iter()
                .find_map(|rules| rules.schema.as_deref())
                .filter(|_| !text.contains('.') && sql.iter().all(|rules| rules.schema.is_some()))?;
            Some((
                format!("no table is ever called `{text}`, without its schema"),
                Some(format!("write `{schema}.{text}`")),
            ))
        }
        _ => None,
    }
}
