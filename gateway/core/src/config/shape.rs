//! Compares what was typed with the published schema. In: a TOML tree. Out: findings, and the tree without what they are about. Never here: meaning.
//!
//! serde stops at the first fault; an operator wants all of them. So the tree is walked first, and whatever serde would stumble over is
//! named and cut out.

use serde_json::Value;
use toml::de::{DeArray, DeTable, DeValue};

use super::findings::Findings;
use super::later;
use crate::diagnostic::did_you_mean;

/// Names every unknown key, missing key, wrong type and unknown word of `table`, and removes what is wrong.
pub fn prune(table: &mut DeTable<'_>, schema: &Value, findings: &mut Findings<'_>) {
    Walk { root: schema, findings, path: Vec::new() }.table(table, schema, 0);
}

struct Walk<'w, 't> {
    root: &'w Value,
    findings: &'w mut Findings<'t>,
    path: Vec<String>,
}

/// Whether the value may stay in the tree.
#[derive(PartialEq, Eq)]
enum Shape {
    Right,
    Wrong,
}

impl Walk<'_, '_> {
    fn table(&mut self, table: &mut DeTable<'_>, schema: &Value, at: usize) {
        let mut wrong = Vec::new();
        let mut unknown = false;
        for (key, value) in table.iter_mut() {
            let (name, key_at) = (key.get_ref().as_ref(), key.span().start);
            let known = schema.pointer("/properties").and_then(|all| all.get(name));
            let known = known.or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()));
            let Some(known) = known else {
                unknown = true;
                wrong.push(key.clone());
                self.unknown_key(name, key_at, value.get_ref(), schema);
                continue;
            };
            let value_at = if value.get_ref().is_table() { key_at } else { value.span().start };
            self.path.push(name.to_owned());
            if self.value(value.get_mut(), known, value_at) == Shape::Wrong {
                wrong.push(key.clone());
            }
            self.path.pop();
        }
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            // A key that is both missing and unknown is one slip of the fingers, and named already.
            if !unknown && !table.contains_key(name) {
                let (message, cure) = later::missing_key(&self.path, name, schema);
                self.findings.refuse(at, message, cure);
            }
        }
        for key in wrong {
            table.remove(&key);
        }
    }

    fn value(&mut self, value: &mut DeValue<'_>, schema: &Value, at: usize) -> Shape {
        let expected = schema.get("type").and_then(Value::as_str).unwrap_or("string");
        match (value, expected) {
            (DeValue::Table(table), "object") => self.table(table, schema, at),
            (DeValue::Array(array), "array") => {
                let (empty, items) = (Value::Null, schema.get("items"));
                self.array(array, items.unwrap_or(&empty));
            }
            (DeValue::String(text), "string") => return self.word(text, schema, at),
            (DeValue::Integer(number), "integer") => {
                if i64::from_str_radix(number.as_str(), number.radix()).is_err() {
                    self.findings.refuse(at, format!("`{number}` is larger than any count"), "write a smaller number");
                    return Shape::Wrong;
                }
            }
            (other, _) => {
                let message =
                    format!("`{}` must be {}, not {}", self.here(), article(expected), article(other.type_str()));
                let cure = match example(schema, expected) {
                    Some(example) => format!("write it like `{example}`"),
                    None => format!("write {}", article(expected)),
                };
                self.findings.refuse(at, message, cure);
                return Shape::Wrong;
            }
        }
        Shape::Right
    }

    fn array(&mut self, array: &mut DeArray<'_>, items: &Value) {
        let mut right = Vec::new();
        for value in array.iter_mut() {
            let at = value.span().start;
            right.push(self.value(value.get_mut(), items, at) == Shape::Right);
        }
        let mut right = right.into_iter();
        let kept = array.iter().filter(|_| right.next().unwrap_or(false)).cloned().collect();
        *array = kept;
    }

    /// A text where the schema lists the words it may be.
    fn word(&mut self, text: &str, schema: &Value, at: usize) -> Shape {
        let words = words(schema);
        if words.is_empty() || words.contains(&text) {
            return Shape::Right;
        }
        let (message, cure) = later::refused_word(&self.path, text).unwrap_or_else(|| {
            let cure = did_you_mean(text, words.iter().copied()).unwrap_or_else(|| format!("write {}", one_of(&words)));
            (format!("`{}` knows no `{text}`", self.here()), cure)
        });
        self.findings.refuse(at, message, cure);
        Shape::Wrong
    }

    fn unknown_key(&mut self, name: &str, at: usize, value: &DeValue<'_>, schema: &Value) {
        if let Some((message, cure)) = later::later_key(&self.path, name) {
            return self.findings.refuse(at, message, cure);
        }
        let known =
            || schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.as_str());
        let top_level = || self.root.get("properties").and_then(|all| all.get(name));
        let place = if self.path.is_empty() { "the file".to_owned() } else { format!("`[{}]`", self.here()) };
        let cure = match (self.path.as_slice(), value) {
            ([kind, server], DeValue::Table(_)) if kind == "tool" => {
                format!("quote the name: `[tool.\"{server}.{name}\"]`")
            }
            _ => match did_you_mean(name, known()) {
                Some(cure) => cure,
                None if !self.path.is_empty() && top_level().is_some() => {
                    format!("`{name}` belongs to the top of the file, above the first `[table]`")
                }
                None => format!("it knows {}", listed(&known().collect::<Vec<_>>())),
            },
        };
        self.findings.refuse(at, format!("unknown key `{name}` in {place}"), cure);
    }

    fn here(&self) -> String {
        self.path.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".")
    }
}

/// The words of `enum`, or the constants of `oneOf`.
fn words(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let constants = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let constants = constants.flat_map(|choice| {
        let several = choice.get("enum").and_then(Value::as_array).into_iter().flatten();
        choice.get("const").into_iter().chain(several)
    });
    listed.chain(constants).filter_map(Value::as_str).collect()
}

/// A key as TOML writes it.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if bare { key.to_owned() } else { format!("{key:?}") }
}

fn example(schema: &Value, expected: &str) -> Option<String> {
    let first = words(schema).first().map(|word| format!("{word:?}"));
    let given = schema.pointer("/examples/0").map(Value::to_string);
    let items = schema.get("items").and_then(|items| example(items, "string")).map(|item| format!("[{item}]"));
    let plain = (expected == "string").then(|| "\"…\"".to_owned());
    given.or(first).or(items).or(plain)
}

fn article(kind: &str) -> &'static str {
    match kind {
        "string" => "a text",
        "integer" => "a whole number",
        "float" => "a number with a fraction",
        "boolean" => "a true or false",
        "datetime" => "a date",
        "array" => "a list",
        "object" | "table" => "a table",
        _ => "something else",
    }
}

fn one_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
