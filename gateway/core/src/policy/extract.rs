//! Reads values that a solver made up. In: Cedar's values. Out: texts, addresses, instants, JSON. Never here: which of them are asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cedar_policy::{Entities, EvalResult, Request, eval_expression};
use serde_json::{Value, json};

use crate::time::UnixMillis;

/// A string.
pub fn string(value: &EvalResult) -> Option<String> {
    match value {
        EvalResult::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// The strings of a set.
pub fn strings(value: EvalResult) -> Vec<String> {
    match value {
        EvalResult::Set(set) => set.iter().filter_map(string).collect(),
        _ => Vec::new(),
    }
}

/// The claims of a token.
pub fn tags(claims: &cedar_policy::Entity) -> BTreeMap<String, String> {
    claims.tags().filter_map(|(name, value)| Some((name.to_owned(), string(&value.ok()?)?))).collect()
}

/// The text that an extension value was made from: `1.5` of `decimal("1.5")`.
fn quoted(value: &str) -> Option<&str> {
    value.split('"').nth(1)
}

/// The first address of a network.
pub fn address(value: &EvalResult) -> Option<IpAddr> {
    match value {
        EvalResult::ExtensionValue(text) => quoted(text)?.split('/').next()?.parse().ok(),
        _ => None,
    }
}

/// Cedar tells the milliseconds itself, however it writes the instant.
pub fn instant(request: &Request, entities: &Entities) -> Result<UnixMillis, String> {
    let since = r#"context.now.durationSince(datetime("1970-01-01")).toMilliseconds()"#;
    let since = since.parse().map_err(|_| "the time cannot be asked")?;
    match eval_expression(request, entities, &since) {
        Ok(EvalResult::Long(millis)) => Ok(UnixMillis(millis)),
        Ok(_) | Err(_) => Err("the time of the call cannot be told".to_owned()),
    }
}

/// As JSON-RPC carries it.
pub fn plain(value: Option<&EvalResult>) -> Value {
    match value {
        None => json!({}),
        Some(EvalResult::Bool(truth)) => json!(truth),
        Some(EvalResult::Long(number)) => json!(number),
        Some(EvalResult::String(text)) => json!(text),
        Some(EvalResult::EntityUid(uid)) => json!(uid.to_string()),
        Some(EvalResult::Set(set)) => set.iter().map(|one| plain(Some(one))).collect(),
        Some(EvalResult::Record(record)) => {
            Value::Object(record.iter().map(|(name, member)| (name.clone(), plain(Some(member)))).collect())
        }
        // The only extension type of an argument is `decimal`.
        Some(EvalResult::ExtensionValue(text)) => {
            quoted(text).and_then(|text| text.parse::<f64>().ok()).map_or(Value::Null, |number| json!(number))
        }
    }
}

/// As Cedar's JSON carries it.
pub fn typed(value: Option<&EvalResult>) -> Value {
    match value {
        Some(EvalResult::Set(set)) => set.iter().map(|one| typed(Some(one))).collect(),
        Some(EvalResult::Record(record)) => {
            Value::Object(record.iter().map(|(name, member)| (name.clone(), typed(Some(member)))).collect())
        }
        Some(EvalResult::ExtensionValue(text)) => {
            json!({"__extn": {"fn": "decimal", "arg": quoted(text).unwrap_or_default()}})
        }
        other => plain(other),
    }
}
