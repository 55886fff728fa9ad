//! Pins a tool's definition. In: one element of a `tools/list` result. Out: a hash that a reviewer approved, or did not. Never here: IO.

use std::fmt;

use aws_lc_rs::digest;
use serde_json::{Map, Value};

/// What a pin covers: all that tells a model what the tool does. Anything else (icons, titles of the server) may change unreviewed.
pub const PINNED_FIELDS: [&str; 6] = ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];

/// The name under which `_meta.ui` is reported when it changed; MCP apps render it, so it is pinned too.
pub const PINNED_UI: &str = "_meta.ui";

/// SHA-256 over the JCS form (RFC 8785) of the pinned fields of one tool definition.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    /// What no definition hashes to: stands where a pin is missing.
    pub const NONE: Self = Self([0; 32]);

    /// The pin of a definition, an element of `tools` in a `tools/list` result; none where it is not an object.
    pub fn of(definition: &Value) -> Option<Self> {
        let canonical = serde_json_canonicalizer::to_vec(&pinned(definition)?).ok()?;
        Some(Self(sha256(&canonical)))
    }

    /// The pin of the raw bytes of such an element, as cut out of a live `tools/list` result.
    pub fn of_bytes(element: &[u8]) -> Option<Self> {
        Self::of(&serde_json::from_slice(element).ok()?)
    }

    /// Reads `sha256:` and 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(bytes))
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// The pinned part of a definition, as its own object.
pub(crate) fn pinned(definition: &Value) -> Option<Value> {
    let whole = definition.as_object()?;
    let mut kept = Map::new();
    for field in PINNED_FIELDS {
        if let Some(value) = whole.get(field) {
            kept.insert(field.to_owned(), value.clone());
        }
    }
    if let Some(ui) = whole.get("_meta").and_then(|meta| meta.get("ui")) {
        kept.insert(PINNED_UI.to_owned(), ui.clone());
    }
    Some(Value::Object(kept))
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pin_covers_what_a_model_reads_and_nothing_else() {
        let base = json!({"name": "a", "description": "reads", "inputSchema": {"type": "object"}, "icons": [1]});
        let pin = Pin::of(&base).unwrap();
        let rows = [
            (json!({"icons": [2], "inputSchema": {"type": "object"}, "description": "reads", "name": "a"}), true),
            (json!({"name": "a", "description": "reads", "inputSchema": {"type": "object"}, "_meta": {"x": 1}}), true),
            (json!({"name": "a", "description": "reads ", "inputSchema": {"type": "object"}}), false),
            (
                json!({"name": "a", "description": "reads", "inputSchema": {"type": "object"}, "_meta": {"ui": {}}}),
                false,
            ),
            (json!({"name": "a", "description": "reads", "inputSchema": {}}), false),
            (json!({"name": "a", "description": "reads", "inputSchema": {"type": "object"}, "annotations": {}}), false),
        ];
        for (other, same) in rows {
            assert_eq!(Pin::of(&other).unwrap() == pin, same, "{other}");
            assert_eq!(Pin::of_bytes(other.to_string().as_bytes()), Pin::of(&other));
        }
        assert_eq!(Pin::of(&json!("a")), None);
    }

    #[test]
    fn a_pin_reads_back_only_from_its_own_text() {
        let pin = Pin::of(&json!({"name": "a"})).unwrap();
        assert_eq!(Pin::parse(&pin.to_string()), Some(pin));
        for text in ["", "sha256:", "sha256:00", &pin.to_string().to_uppercase(), &format!("{pin}0")] {
            assert_eq!(Pin::parse(text), None, "{text}");
        }
    }
}
