//! Finds obligations that cannot be held against what tools declare. In: rule files, the tools. Out: warnings. Never here: refusals; a pointer that
//! no tool of its rule declares is one already.
//!
//! A pointer that meets nothing hides nothing, and nobody would be told: what it should hide would pass.

use cedar_policy::Effect;

use super::declares::{Declared, declares};
use super::engine::Engine;
use super::names;
use super::obligation::{Pointer, Stated};
use super::scope;
use super::source::{self, Parsed, Source};
use super::surface::{Column, Subject};
use crate::diagnostic::{Diagnostic, Diagnostics};

/// Tools that one warning names.
const NAMES_MAX: usize = 3;

/// What an operator should look at in the rules of a load that was accepted; at most two warnings a rule.
pub fn warnings(sources: &[Source<'_>], engine: &Engine) -> Diagnostics {
    let oblige = |source: &&Source<'_>| source.text.contains("@redact") || source.text.contains("@max_rows");
    let concerned: Vec<Source<'_>> = sources.iter().filter(oblige).copied().collect();
    let text = |file: &str| concerned.iter().find(|source| source.file == file).map_or("", |source| source.text);
    let parsed = source::parse(&concerned).unwrap_or_default();
    parsed.iter().flat_map(|rule| of_rule(rule, text(&rule.file), engine)).collect()
}

fn of_rule(rule: &Parsed, text: &str, engine: &Engine) -> Diagnostics {
    let mut found = Diagnostics::new();
    let columns = scope::columns(&rule.scope, &engine.surface).matching;
    let columns: Vec<&Column> = (columns.iter())
        .filter_map(|column| engine.surface.columns.get(*column as usize))
        .filter(|column| matches!(column.subject, Subject::Tool(_)))
        .collect();
    if rule.effect == Effect::Forbid {
        return found;
    }
    for key in ["redact", "max_rows"] {
        let Some((_, written)) = rule.annotations.iter().find(|(name, _)| &**name == key) else { continue };
        let mut stated = Stated::default();
        if stated.add(key, written).is_err() {
            continue;
        }
        let caps = stated.rows.iter().filter_map(|cap| cap.at.as_ref());
        let pointers: Vec<&Pointer> = stated.redact.iter().chain(caps).collect();
        let line = rule.line_of(&format!("@{key}"), text);
        let warn = |message: String, cure: &str| Diagnostic::warning(&*rule.file, Some(line), message).help(cure);
        let silent: Vec<&str> =
            columns.iter().filter(|column| column.output.is_none()).map(|column| &*column.action).collect();
        if !pointers.is_empty() && !silent.is_empty() {
            found.push(warn(
                format!(
                    "{} no `outputSchema`, so nobody can tell whether `@{key}(\"{written}\")` meets anything in {} results",
                    several(&silent, "has", "have"),
                    if silent.len() == 1 { "its" } else { "their" }
                ),
                "compare it with a result that `portcullis audit show` tells, or have the server declare its results",
            ));
        }
        let without = |column: &&&Column| {
            let schema = column.output.as_deref();
            schema.is_some_and(|schema| pointers.iter().any(|pointer| declares(schema, pointer) != Declared::Perhaps))
        };
        let without: Vec<&str> = columns.iter().filter(without).map(|column| &*column.action).collect();
        if !without.is_empty() {
            found.push(warn(
                format!(
                    "{} nothing that `@{key}(\"{written}\")` points at, unlike other tools of this rule",
                    several(&without, "declares", "declare")
                ),
                "give each of them a rule of its own",
            ));
        }
    }
    found
}

/// `tool `crm.a` has`, `tools `crm.a` and `crm.b` have`, `tools `crm.a`, `crm.b`, `crm.c` and 4 more have`.
fn several(tools: &[&str], one: &str, many: &str) -> String {
    let names: Vec<String> = tools.iter().take(NAMES_MAX).map(|name| format!("`{}`", names::visible(name))).collect();
    let more = tools.len().saturating_sub(NAMES_MAX);
    match names.split_last() {
        Some((only, [])) => format!("tool {only} {one}"),
        Some(_) if more > 0 => format!("tools {} and {more} more {many}", names.join(", ")),
        Some((last, rest)) => format!("tools {} and {last} {many}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::calendar::Calendars;
    use crate::policy::catalogue::Catalogue;
    use crate::policy::drift::Drift;
    use crate::policy::engine::Inputs;
    use crate::policy::index::AgentSource;
    use crate::policy::surface::ServerSource;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn engine_of(catalogue: &Catalogue, sources: &[Source<'_>]) -> Result<Engine, Diagnostics> {
        let server = ServerSource { name: "crm", catalogue, tools: &BTreeMap::new(), extension_methods: &[] };
        Engine::build(Inputs {
            sources,
            servers: &[(server, Arc::new(Drift::new(catalogue)))],
            agents: &[AgentSource { id: "bot", groups: Vec::new(), accounts: Vec::new() }],
            calendars: &Calendars::default(),
            settings_file: "portcullis.toml",
        })
    }

    #[test]
    fn a_pointer_that_no_schema_can_confirm_is_told() {
        let rows =
            json!({"type": "object", "properties": {"rows": {"type": "array", "items": {"properties": {"ssn": {}}}}}});
        let other = json!({"type": "object", "properties": {"total": {"type": "integer"}}});
        let tool = |name: &str, output: Option<&serde_json::Value>| {
            let mut tool = json!({"name": name, "inputSchema": {"type": "object"}});
            if let Some(output) = output {
                tool["outputSchema"] = output.clone();
            }
            tool
        };
        let tools = [tool("told", Some(&rows)), tool("other", Some(&other)), tool("mute", None), tool("still", None)];
        let catalogue = Catalogue::learn("crm", &tools).unwrap();
        let check = |scope: &str, annotation: &str, expected: &[&str]| {
            let text = format!("\n{annotation}\npermit (principal, action in [{scope}], resource);");
            let sources = [Source { file: "p.cedar", text: &text }];
            let engine = engine_of(&catalogue, &sources).unwrap_or_else(|found| panic!("{found:?}"));
            let got: Vec<String> = warnings(&sources, &engine).iter().map(ToString::to_string).collect();
            assert_eq!(got, expected, "{text}");
        };
        let of =
            |names: &[&str]| names.iter().map(|name| format!("Action::\"crm.{name}\"")).collect::<Vec<_>>().join(", ");
        let cure =
            "compare it with a result that `portcullis audit show` tells, or have the server declare its results";
        check(
            &of(&["mute"]),
            "@redact(\"/rows/*/ssn\")",
            &[&format!(
                "p.cedar:2: warning: tool `crm.mute` has no `outputSchema`, so nobody can tell whether `@redact(\"/rows/*/ssn\")` meets anything in its results; {cure}"
            )],
        );
        check(
            &of(&["mute", "still", "told"]),
            "@max_rows(\"/rows 5\")",
            &[&format!(
                "p.cedar:2: warning: tools `crm.mute` and `crm.still` have no `outputSchema`, so nobody can tell whether `@max_rows(\"/rows 5\")` meets anything in their results; {cure}"
            )],
        );
        check(
            &of(&["told", "other"]),
            "@redact(\"/rows/*/ssn\")",
            &[
                "p.cedar:2: warning: tool `crm.other` declares nothing that `@redact(\"/rows/*/ssn\")` points at, unlike other tools of this rule; give each of them a rule of its own",
            ],
        );
        check(&of(&["told"]), "@redact(\"/rows/*/ssn\")", &[]);
        check(&of(&["mute"]), "@max_rows(\"5\")", &[]);
        check(&of(&["mute"]), "@rate(\"5/m\")", &[]);
    }
}
