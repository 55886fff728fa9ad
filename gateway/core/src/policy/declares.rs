//! Tells whether a tool's `outputSchema` declares what a pointer names. In: a schema, a pointer. Out: that it may be there, or the names that are.
//! Never here: values, refusals.

use serde_json::{Map, Value};

use super::obligation::{Pointer, Segment};

/// `$ref`s followed in a row; one that leads to itself never ends.
const REFERENCES_MAX: usize = 8;

/// What a schema says of a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// It declares it, or leaves open what is there.
    Perhaps,
    /// The members are listed where the pointer names another: their names, and the name that is not among them.
    No {
        /// What is declared.
        known: Vec<String>,
        /// What the pointer names.
        named: Box<str>,
    },
}

/// Follows `pointer` through the schema of a result.
pub fn declares(schema: &Value, pointer: &Pointer) -> Declared {
    let mut at = schema;
    for segment in pointer.segments() {
        let Some(here) = resolved(schema, at) else { return Declared::Perhaps };
        let properties = here.get("properties").and_then(Value::as_object);
        let items = here.get("items").filter(|items| items.is_object());
        let next = match (segment, properties) {
            (Segment::Any, _) | (Segment::One { index: Some(_), name: _ }, None) => items,
            (Segment::One { name, index: _ }, Some(properties)) => {
                let Some(declared) = properties.get(&**name) else {
                    if leaves_open(here) {
                        return Declared::Perhaps;
                    }
                    return Declared::No { known: properties.keys().cloned().collect(), named: name.clone() };
                };
                Some(declared)
            }
            (Segment::One { name: _, index: None }, None) => None,
        };
        let Some(next) = next else { return Declared::Perhaps };
        at = next;
    }
    Declared::Perhaps
}

/// The schema itself, its `$ref` into this document followed.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> Option<&'s Map<String, Value>> {
    let mut at = schema;
    for _ in 0..REFERENCES_MAX {
        match at.get("$ref").and_then(Value::as_str) {
            None => return at.as_object(),
            Some(reference) => at = root.pointer(reference.strip_prefix('#')?)?,
        }
    }
    None
}

/// Whether a schema tells of members elsewhere than in `properties`, or says what undeclared ones are. Silence is no such word: a name that a
/// server forgot to declare is rarer than one that a rule misspells.
fn leaves_open(schema: &Map<String, Value>) -> bool {
    let told = ["anyOf", "oneOf", "allOf", "if", "patternProperties"].iter().any(|key| schema.contains_key(*key));
    told || schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::obligation::Stated;

    #[test]
    fn a_name_that_a_closed_list_does_not_hold_is_told_apart() {
        let row = json!({"type": "object", "properties": {"ssn": {"type": "string"}, "tags": {"type": "array"}}});
        let schema = json!({"$defs": {"Row": row, "Loop": {"$ref": "#/$defs/Loop"}}, "properties": {
            "rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}},
            "free": {"properties": {}, "additionalProperties": true},
            "any": {"anyOf": [{"type": "string"}]},
            "loop": {"$ref": "#/$defs/Loop"},
        }});
        let check = |pointer: &str, expected: Option<&str>| {
            let mut stated = Stated::default();
            stated.add("redact", pointer).unwrap();
            let got = match declares(&schema, &stated.redact[0]) {
                Declared::Perhaps => None,
                Declared::No { mut known, named } => {
                    known.sort();
                    Some(format!("{named} of {}", known.join(",")))
                }
            };
            assert_eq!(got.as_deref(), expected, "{pointer}");
        };
        check("/row", Some("row of any,free,loop,rows"));
        check("/rows/*/snn", Some("snn of ssn,tags"));
        check("/rows/0/snn", Some("snn of ssn,tags"));
        for pointer in ["/rows", "/rows/*/ssn", "/rows/*/tags/*", "/free/x", "/any/x", "/loop/x", "/*/x", "/rows/x"] {
            check(pointer, None);
        }
    }
}
