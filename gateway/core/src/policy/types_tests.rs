//! Promises of the typing: schemas as FastMCP, Zod and pydantic emit them, and those that no rule can read.

use super::*;
use serde_json::json;

fn shown(ty: &Option<Type>) -> String {
    match ty {
        None => "untyped".to_owned(),
        Some(Type::Set(element)) => format!("set of {}", shown(&Some((**element).clone()))),
        Some(Type::Record(record)) => format!("{{{}}}", listing(record)),
        Some(ty) => format!("{ty:?}").to_lowercase(),
    }
}

fn listing(record: &Record) -> String {
    let mark = |presence| match presence {
        Presence::Required => "",
        Presence::Optional => "?",
        Presence::Nullable => "?null",
    };
    let fields =
        record.fields.iter().map(|field| format!("{}{}: {}", field.name, mark(field.presence), shown(&field.ty)));
    let closed = (record.undeclared == Undeclared::Refused).then(|| "closed".to_owned());
    fields.chain(closed).collect::<Vec<_>>().join(", ")
}

fn check(schema: Value, expected: &str) {
    assert_eq!(listing(&Record::of_schema(Some(&schema))), expected, "{schema}");
}

#[test]
fn what_has_no_single_type_is_untyped() {
    let untyped = [
        json!({}),
        json!(true),
        json!({"type": ["string", "integer"]}),
        json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        json!({"type": "array"}),
        json!({"type": "array", "items": {}}),
        json!({"type": "array", "items": {"type": ["string", "null"]}}),
        json!({"$ref": "https://evil.example/schema.json"}),
        json!({"$ref": "#/$defs/none"}),
        json!({"allOf": [{"type": "string"}, {"minLength": 1}]}),
        json!({"enum": ["a", 1]}),
        json!({"type": "null"}),
        json!({"type": 3}),
    ];
    for schema in untyped {
        check(json!({"type": "object", "properties": {"x": schema}, "required": ["x"]}), "x?null: untyped");
    }
}

#[test]
fn a_recursive_schema_ends() {
    let schema = json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"l": {"$ref": "#/$defs/n"}, "r": {"$ref": "#/$defs/n"}}}}});
    assert_eq!(Record::of_schema(Some(&schema)).fields.len(), 2);
}

#[test]
fn a_tool_without_a_schema_takes_anything() {
    assert_eq!(Record::of_schema(None), Record::open());
    for schema in [json!({}), json!({"type": "object"}), json!({"type": "object", "additionalProperties": true})] {
        check(schema, "");
    }
    check(json!({"type": "object", "additionalProperties": false}), "closed");
    check(json!({"type": "object", "additionalProperties": false, "patternProperties": {"^x": {}}}), "");
}

#[test]
fn schemas_of_fastmcp_are_read() {
    let schema = json!({
        "type": "object",
        "properties": {
            "table": {"title": "Table", "type": "string"},
            "limit": {"default": 10, "title": "Limit", "type": "integer"},
            "where": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null, "title": "Where"},
            "columns": {"anyOf": [{"items": {"type": "string"}, "type": "array"}, {"type": "null"}], "default": null},
            "mode": {"enum": ["fast", "slow"], "title": "Mode", "type": "string"}
        },
        "required": ["table"], "title": "read_tableArguments"
    });
    check(schema, "table: string, limit?: long, where?null: string, columns?null: set of string, mode?: string");
}

#[test]
fn schemas_of_zod_are_read() {
    let schema = json!({
        "type": "object",
        "properties": {
            "amount": {"type": "number", "exclusiveMinimum": 0},
            "currency": {"type": "string", "enum": ["EUR", "USD"]},
            "note": {"type": ["string", "null"]},
            "kind": {"anyOf": [{"type": "string", "const": "a"}, {"type": "string", "const": "b"}]},
            "size": {"anyOf": [{"type": "integer"}, {"type": "number"}]},
            "fixed": {"const": true},
            "to": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"], "additionalProperties": false},
            "meta": {"type": "object", "additionalProperties": {"type": "string"}}
        },
        "required": ["amount", "currency", "to", "note"], "additionalProperties": false, "$schema": "http://json-schema.org/draft-07/schema#"
    });
    let expected = "amount: decimal, currency: string, note?null: string, kind?: string, size?: decimal, fixed?: bool, to: {id: string, closed}, meta?: {}, closed";
    check(schema, expected);
}

#[test]
fn schemas_of_pydantic_are_read() {
    let schema = json!({
        "$defs": {
            "Color": {"enum": ["red", "blue"], "title": "Color", "type": "string"},
            "Item": {"properties": {"sku": {"type": "string"}, "count": {"type": "integer"}, "color": {"$ref": "#/$defs/Color"}}, "required": ["sku", "count"], "type": "object"}
        },
        "properties": {
            "items": {"items": {"$ref": "#/$defs/Item"}, "type": "array"},
            "first": {"allOf": [{"$ref": "#/$defs/Item"}], "default": null},
            "color": {"anyOf": [{"$ref": "#/$defs/Color"}, {"type": "null"}], "default": null},
            "total": {"anyOf": [{"type": "number"}, {"type": "string"}]}
        },
        "required": ["items", "color"], "type": "object"
    });
    let item = "{sku: string, count: long, color?: string}";
    check(schema, &format!("items: set of {item}, first?: {item}, color?null: string, total?null: untyped"));
}

#[test]
fn a_configured_type_replaces_what_the_schema_left_open() {
    let mut record = Record::of_schema(Some(&json!({"type": "object", "properties": {"amount": {}, "a/b": {}}})));
    assert_eq!(record.assign("amount", "decimal"), Err(AssignError::NotAPointer));
    assert_eq!(record.assign("/amount", "money"), Err(AssignError::UnknownType));
    for (pointer, text) in [("/amount", "decimal"), ("/a~1b", "set of string"), ("/filter/owner", "string")] {
        assert_eq!(record.assign(pointer, text), Ok(()));
    }
    assert_eq!(listing(&record), "amount?null: decimal, a/b?null: set of string, filter?null: {owner?null: string}");
}
