//! Publishes the shape of the configuration. In: the typed layer. Out: a JSON Schema (2020-12). Never here: a key by hand.

use serde_json::{Map, Value};

use super::typed::Typed;

/// The JSON Schema of `portcullis.toml`, made from the very types that read it, so that it cannot drift.
pub fn json_schema() -> Value {
    let generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<Typed>().to_value();
    without_null(&mut schema);
    schema
}

/// TOML has no null: what may be left out is not listed as required, and that is all.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(values)) = object.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            if object
                .get("default")
                .is_some_and(|default| default.is_null() || default.is_object() || default.is_array())
            {
                object.remove("default");
            }
            unwrap_single_choice(object);
            object.values_mut().for_each(without_null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `anyOf: [X, null]` is `X`; the description of the field stands above that of the type.
fn unwrap_single_choice(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    let [Value::Object(only)] = choices.as_mut_slice() else { return };
    let only = std::mem::take(only);
    object.remove("anyOf");
    for (key, value) in only {
        object.entry(key).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with every key of `schema`, each with a value of its type.
    fn fill(schema: &Value) -> toml::Value {
        if let Some(first) = schema.pointer("/oneOf/0/const").or(schema.pointer("/enum/0")) {
            return toml::Value::try_from(first).unwrap();
        }
        match schema["type"].as_str().unwrap_or_else(|| panic!("no type in {schema}")) {
            "string" => toml::Value::String("1s".into()),
            "integer" => toml::Value::Integer(1),
            "array" => toml::Value::Array(vec![fill(&schema["items"])]),
            "object" => {
                let mut table = toml::Table::new();
                for (key, sub) in schema["properties"].as_object().into_iter().flatten() {
                    table.insert(key.clone(), fill(sub));
                }
                if schema["additionalProperties"].is_object() {
                    table.insert("name".into(), fill(&schema["additionalProperties"]));
                }
                toml::Value::Table(table)
            }
            other => panic!("no value of type {other}"),
        }
    }

    fn tables(schema: &Value, path: &str, seen: &mut Vec<(String, Value)>) {
        if schema["type"] == "object" {
            seen.push((path.to_owned(), schema.clone()));
        }
        for (key, sub) in schema["properties"].as_object().into_iter().flatten() {
            tables(sub, &format!("{path}/{key}"), seen);
        }
        for sub in [&schema["additionalProperties"], &schema["items"]] {
            if sub.is_object() {
                tables(sub, &format!("{path}/*"), seen);
            }
        }
    }

    #[test]
    fn every_key_of_the_schema_is_read() {
        let text = toml::to_string(&fill(&json_schema())).unwrap();
        toml::from_str::<Typed>(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }

    #[test]
    fn every_key_is_explained_and_no_other_is_allowed() {
        let mut seen = Vec::new();
        tables(&json_schema(), "", &mut seen);
        assert!(seen.len() > 15, "got {}", seen.len());
        for (path, schema) in seen {
            let map = schema["additionalProperties"].is_object();
            assert!(map || schema["additionalProperties"] == false, "given {path}");
            for (key, sub) in schema["properties"].as_object().into_iter().flatten() {
                assert!(sub["description"].is_string(), "given {path}/{key}");
            }
        }
    }

    #[test]
    fn the_schema_knows_no_null_and_no_reference() {
        let text = json_schema().to_string();
        assert!(!text.contains("null"), "{text}");
        assert!(!text.contains("$ref"), "{text}");
    }
}
