//! Checks rules over results. In: one parsed rule, the columns it covers. Out: findings with place, cause and cure. Never here: results, evaluation.
//!
//! A rule that reads `context.output` is judged once the call has been made. So it can only forbid that its result is released, and it can
//! read only what the tool's `outputSchema` declares, of `structuredContent`.

use cedar_policy::Effect;

use super::check::{self, Fault, Place};
use super::reads::How;
use super::scope::Columns;
use super::source::Parsed;
use super::surface::{Column, Subject};
use super::types::Record;
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};

/// All that is wrong with a rule over results; an empty list where nothing is, or where it is none.
pub fn findings(rule: &Parsed, covered: &Columns, place: Place<'_>) -> Diagnostics {
    if !rule.reads.is_over_results() {
        return Diagnostics::new();
    }
    let line = rule.line_of_member("output", place.text);
    let finding = |message: String, cure: &str| vec![Diagnostic::error(&*rule.file, Some(line), message).help(cure)];
    if rule.effect == Effect::Permit {
        let message = "a permit cannot read `context.output`: the call has been made by the time its result is known";
        return finding(message.to_owned(), "permit the call, and write a `forbid` over its result");
    }
    if rule.reads.takes_context {
        let message = "a rule that reads `context.output` cannot take the context as a whole";
        return finding(message.to_owned(), "read single members, as in `context.output.total`");
    }
    if rule.reads.outputs.iter().any(|read| read.path.is_empty() && read.how == How::Presence) {
        let message = "`context has output` asks nothing: a rule that reads it is judged only where there is a result";
        return finding(message.to_owned(), "ask for a member, as in `context.output has total`");
    }
    let columns = covered.matching.iter().filter_map(|column| place.surface.columns.get(*column as usize));
    let mut typed: Vec<(&Column, &Record)> = Vec::new();
    for column in columns {
        match (column.subject, &column.result) {
            (Subject::Tool(_), Some(result)) => typed.push((column, result)),
            (Subject::Tool(_), None) => {
                let message = format!("tool `{}` does not declare what its results hold", column.action);
                return finding(message, "name only tools with an `outputSchema`; a rule can read no other results");
            }
            (_, _) => {
                let message =
                    format!("`context.output` is what a tool returned, and this rule also covers `{}`", column.action);
                return finding(message, "name the tools; give the rest to another rule");
            }
        }
    }
    check::members(&rule.reads.outputs, &typed, |fault, path| match fault {
        Fault::Untyped(column) => untyped(rule, column, path, place.text),
        Fault::Undeclared(column, record) => undeclared(rule, (column, typed.len()), record, path, place.text),
    })
}

fn untyped(rule: &Parsed, column: &Column, path: &[Box<str>], text: &str) -> Diagnostic {
    let pointer = check::pointer(path);
    let line = rule.line_of_member(path.last().map_or("", |name| name), text);
    let message =
        format!("member `{pointer}` of the results of tool `{}` has no single type in its schema", column.action);
    Diagnostic::error(&*rule.file, Some(line), message).help(format!(
        "say which with `output_types = {{ \"{pointer}\" = \"string\" }}` under `[tool.\"{}\"]`",
        column.action
    ))
}

fn undeclared(
    rule: &Parsed,
    (column, tools): (&Column, usize),
    record: &Record,
    path: &[Box<str>],
    text: &str,
) -> Diagnostic {
    let name = path.last().map_or("", |name| &**name);
    let line = rule.line_of_member(name, text);
    let pointer = check::pointer(path);
    let message = match tools {
        1 => format!("unknown member `{pointer}` of the results of tool `{}`", column.action),
        many => format!("none of the {many} tools that this rule covers has results with a member `{pointer}`"),
    };
    let cure = did_you_mean(name, record.fields.iter().map(|field| &*field.name));
    let finding = Diagnostic::error(&*rule.file, Some(line), message);
    finding.help(cure.unwrap_or_else(|| "a rule can read only what the tool's `outputSchema` declares".to_owned()))
}
