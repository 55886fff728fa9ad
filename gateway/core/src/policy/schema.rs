//! Writes the Cedar schema. In: the columns of all servers. Out: entity types, and one action per tool with its typed context. Never here: rules.

use cedar_policy::Schema;
use cedar_policy::ffi::DetailedError;
use serde_json::{Map, Value, json};

use super::surface::{Column, Subject, Surface};
use super::types::{Presence, Record, Type};
use crate::diagnostic::Diagnostic;

/// The schema in Cedar's JSON form; names stand in JSON strings, so that no name can break out of its place.
///
/// `principal` is an `Agent` in its `Group`s with `accounts` and, where the token carries one, `user`. `context.claims` is an entity whose tags are the
/// token's scalar claims. `context.account` counts as always there: where a call names none, reading it is an error, so that a permit does not hold and a forbid does.
///
/// `context.calendars` holds the names of the open calendars. `context.sql` exists for tools whose configuration says which argument holds SQL; what cannot be
/// read as SQL is a denial before any rule is asked, so that its members are always there.
///
/// `context.output` exists where rules over results are typed, for tools that declare what they return.
///
/// `scope` narrows it to some columns; all groups stay.
pub fn json(surface: &Surface, scope: Option<&[u32]>, stage: Stage) -> Value {
    let mut actions = Map::new();
    for group in surface.group_ids() {
        actions.insert(group.to_owned(), json!({}));
    }
    let every = scope.is_none().then_some(&surface.columns).into_iter().flatten();
    let some = scope.into_iter().flatten().filter_map(|column| surface.columns.get(*column as usize));
    for column in every.chain(some) {
        if actions.contains_key(&*column.action) {
            continue;
        }
        let member_of: Vec<Value> = column.groups.iter().map(|group| json!({ "id": group })).collect();
        let applies =
            json!({"principalTypes": ["Agent"], "resourceTypes": ["Server"], "context": context(column, stage)});
        actions.insert(column.action.to_string(), json!({"memberOf": member_of, "appliesTo": applies}));
    }
    let agent = json!({
        "memberOfTypes": ["Group"],
        "shape": {"type": "Record", "attributes": {
            "accounts": {"type": "Set", "element": {"type": "String"}},
            "user": {"type": "String", "required": false},
        }},
    });
    let entities = json!({"Agent": agent, "Group": {}, "Server": {}, "Claims": {"tags": {"type": "String"}}});
    json!({"": {"entityTypes": entities, "actions": actions}})
}

/// The schema that rules are validated against. `file` is named where Cedar refuses it, which no configuration should bring about.
pub fn build(surface: &Surface, scope: Option<&[u32]>, file: &str) -> Result<Schema, Diagnostic> {
    build_at(Stage::Request, surface, scope, file)
}

/// What rules are judged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The request.
    Request,
    /// The result of the call, and all that the request was judged with.
    Result,
}

/// The same for the rules of one stage.
pub fn build_at(stage: Stage, surface: &Surface, scope: Option<&[u32]>, file: &str) -> Result<Schema, Diagnostic> {
    Schema::from_json_value(json(surface, scope, stage)).map_err(|error| {
        let said = DetailedError::from(&error);
        Diagnostic::error(file, None, format!("the tools of the catalogues give no schema: {}", said.message))
    })
}

/// The context that an action's rules read.
fn context(column: &Column, stage: Stage) -> Value {
    let mut attributes = Map::new();
    for (name, ty) in [
        ("account", json!({"type": "String"})),
        ("source", json!({"type": "Extension", "name": "ipaddr"})),
        ("claims", json!({"type": "Entity", "name": "Claims"})),
        ("now", json!({"type": "Extension", "name": "datetime"})),
        ("calendars", texts()),
    ] {
        attributes.insert(name.to_owned(), ty);
    }
    let mut add = |name: &str, ty: Value| attributes.insert(name.to_owned(), ty);
    match column.subject {
        Subject::Tool(_) => {
            add("input", record(&column.input));
            if let (Stage::Result, Some(result)) = (stage, &column.result) {
                add("output", record(result));
            }
            if column.sql.is_some() {
                let members = json!({"kinds": texts(), "tables": texts(), "functions": texts()});
                add("sql", json!({"type": "Record", "attributes": members}));
            }
        }
        Subject::ResourceRead => {
            add("uri", json!({"type": "String"}));
        }
        Subject::PromptGet => {
            add("name", json!({"type": "String"}));
        }
        Subject::Complete => {
            add("uri", json!({"type": "String", "required": false}));
            add("name", json!({"type": "String", "required": false}));
        }
        Subject::Connect
        | Subject::Task
        | Subject::Sample
        | Subject::Elicit
        | Subject::Roots
        | Subject::Extension(_) => {}
    }
    json!({"type": "Record", "attributes": attributes})
}

fn texts() -> Value {
    json!({"type": "Set", "element": {"type": "String"}})
}

fn record(record: &Record) -> Value {
    let mut attributes = Map::new();
    for field in &record.fields {
        let Some(ty) = &field.ty else { continue };
        let mut written = type_of(ty);
        if let Some(members) = written.as_object_mut() {
            members.insert("required".to_owned(), Value::Bool(field.presence == Presence::Required));
        }
        attributes.insert(field.name.to_string(), written);
    }
    json!({"type": "Record", "attributes": attributes})
}

fn type_of(ty: &Type) -> Value {
    match ty {
        Type::String => json!({"type": "String"}),
        Type::Long => json!({"type": "Long"}),
        Type::Bool => json!({"type": "Boolean"}),
        Type::Decimal => json!({"type": "Extension", "name": "decimal"}),
        Type::Set(element) => json!({"type": "Set", "element": type_of(element)}),
        Type::Record(inner) => record(inner),
    }
}
