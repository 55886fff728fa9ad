//! Writes JSON in many spellings. In: a value. Out: text that means it. Never here: reading.

use crate::chance::Chance;

/// A JSON value as an agent writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it is spelled.
    Number(String),
    /// A string, not yet escaped.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object; no name occurs twice.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The member of this name, where this is an object that has it.
    pub fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members.iter().find(|(own, _)| own == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, spelled as chance has it.
    pub fn write(&self, chance: &mut Chance, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(text) => out.push_str(text),
            Self::Text(text) => quote(text, chance, out),
            Self::List(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    out.push_str(if position > 0 { ", " } else { "" });
                    item.write(chance, out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (position, (name, value)) in members.iter().enumerate() {
                    out.push_str(if position > 0 { "," } else { "" });
                    quote(name, chance, out);
                    out.push_str(": ");
                    value.write(chance, out);
                }
                out.push('}');
            }
        }
    }
}

fn quote(text: &str, chance: &mut Chance, out: &mut String) {
    let escape_all = chance.percent(5);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' if !escape_all => out.push_str("\\n"),
            '/' if chance.percent(20) => out.push_str("\\/"),
            control if control < ' ' => utf16(control, out),
            other if escape_all || chance.percent(2) => utf16(other, out),
            other => out.push(other),
        }
    }
    out.push('"');
}

fn utf16(letter: char, out: &mut String) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_means_the_value() {
        let text = "a/\"\\\n\u{0}é\u{1F600}";
        for seed in 0..200 {
            let mut out = String::new();
            Json::Object(vec![(text.to_owned(), Json::Text(text.to_owned()))]).write(&mut Chance::new(seed), &mut out);
            let read: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(read, serde_json::json!({ text: text }), "{out}");
        }
    }
}
