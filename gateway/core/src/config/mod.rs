//! Reads the configuration. In: the text of `portcullis.toml`. Out: settings, or every finding at once. Never here: IO.
//!
//! Two layers: what was typed (`typed`, whose schema is published) and what is meant (`settings`). Between them stand `shape`, which
//! compares the text with the schema, and `mean`, which gives defaults, resolves paths and refuses what would not be safe.

pub mod settings;
pub mod findings;
pub mod units;
pub mod url;
pub mod at;
pub mod typed;
pub mod schema;
pub mod later;
pub mod shape;
pub mod mean;
pub mod control;
pub mod example;
pub mod snapshot;

use std::path::Path;

use serde::Deserialize;

use self::findings::Findings;
use self::settings::Settings;
use self::typed::Typed;
use crate::diagnostic::Diagnostics;

/// Reads `text`, which the operator knows as `file`; relative paths start at `folder`. Nothing is opened.
///
/// # Errors
/// Every finding of the file, errors and warnings by line, if any of them is an error. Otherwise the warnings come with the settings.
pub fn parse(text: &str, file: &str, folder: &Path) -> Result<(Settings, Diagnostics), Diagnostics> {
    let mut findings = Findings::new(file, text);
    let Some(typed) = read(text, &mut findings) else { return Err(findings.sorted()) };
    let settings = mean::mean(&typed, folder, &mut findings);
    if findings.refused() { Err(findings.sorted()) } else { Ok((settings, findings.sorted())) }
}

/// The typed layer, or nothing where the text is no TOML.
fn read(text: &str, findings: &mut Findings<'_>) -> Option<Typed> {
    let (tree, faults) = toml::de::DeTable::parse_recoverable(text);
    for fault in &faults {
        let at = fault.span().map_or(0, |span| span.start);
        findings.refuse(at, first_line(fault.message()), syntax_cure(fault.message()));
    }
    if findings.refused() {
        return None;
    }
    shaped(tree, findings)
}

/// The typed layer of a tree; what is wrong with its shape is named and cut out.
fn shaped(mut tree: toml::Spanned<toml::de::DeTable<'_>>, findings: &mut Findings<'_>) -> Option<Typed> {
    shape::prune(tree.get_mut(), &schema::json_schema(), findings);
    match Typed::deserialize(toml::de::Deserializer::from(tree)) {
        Ok(typed) => Some(typed),
        Err(fault) => {
            let at = fault.span().map_or(0, |span| span.start);
            findings.refuse(at, first_line(fault.message()), "compare it with the published schema");
            None
        }
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or("no TOML")
}

fn syntax_cure(message: &str) -> &'static str {
    if message.contains("duplicate") { "remove one of the two" } else { "mend the TOML, see toml.io" }
}

#[cfg(test)]
mod tests;
