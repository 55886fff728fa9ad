//! Shapes arguments. In: chance. Out: types, and JSON schemas that say them in many ways. Never here: what the engine makes of a schema.

use serde_json::{Map, Value, json};

use crate::chance::Chance;

/// What an argument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ty {
    /// A string.
    Text,
    /// A whole number.
    Long,
    /// A truth value.
    Bool,
    /// A number.
    Decimal,
    /// An array.
    Set(Box<Ty>),
    /// An object.
    Record(Record),
}

/// An object's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Those that the schema declares.
    pub fields: Vec<Field>,
    /// Whether others are ruled out.
    pub closed: bool,
}

/// One declared member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type; none where the schema allows several.
    pub ty: Option<Ty>,
    /// Whether it may be left out or `null`.
    pub presence: Presence,
}

/// Whether a member may be left out or `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must be there.
    Required,
    /// It may be left out.
    Optional,
    /// It may be left out or `null`.
    Nullable,
}

/// Names of arguments, identifiers and others.
pub const NAMES: [&str; 12] =
    ["table", "limit", "amount", "flag", "to", "tags", "where", "größe", "a b", "x/y", "t~n", "if"];

const INNER: [&str; 6] = ["region", "id", "deep", "k\"q", "x/y", "on"];

/// Can `name` stand behind a dot?
pub fn is_identifier(name: &str) -> bool {
    !["if", "in", "is", "like", "has", "then", "else", "true", "false", "__cedar"].contains(&name)
        && name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

impl Record {
    /// The member of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The schema of the whole object.
    pub fn schema(&self, chance: &mut Chance) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in &self.fields {
            let schema = match &field.ty {
                None => chance
                    .pick(&[
                        json!({}),
                        json!({"type": ["string", "integer"]}),
                        json!({"anyOf": [{"type": "string"}, {"type": "boolean"}]}),
                    ])
                    .clone(),
                Some(ty) => field_schema(ty, field.presence, chance),
            };
            properties.insert(field.name.clone(), schema);
            // A nullable member that must be there may still be `null`, which rules take as absent.
            if field.presence == Presence::Required || (field.presence == Presence::Nullable && chance.percent(20)) {
                required.push(field.name.clone());
            }
        }
        let mut whole = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            whole["required"] = json!(required);
        }
        if self.closed {
            whole["additionalProperties"] = json!(false);
        } else if chance.percent(20) {
            whole["additionalProperties"] = chance.pick(&[json!(true), json!({"type": "string"})]).clone();
        }
        whole
    }
}

fn field_schema(ty: &Ty, presence: Presence, chance: &mut Chance) -> Value {
    let plain = schema(ty, chance);
    if presence != Presence::Nullable {
        return plain;
    }
    match plain.get("type").and_then(Value::as_str).map(str::to_owned) {
        Some(name) if chance.percent(50) => {
            let mut both = plain;
            both["type"] = json!([name, "null"]);
            both
        }
        _ => json!({ *chance.pick(&["anyOf", "oneOf"]): [plain, {"type": "null"}] }),
    }
}

fn schema(ty: &Ty, chance: &mut Chance) -> Value {
    let forms = match ty {
        Ty::Text => vec![
            json!({"type": "string"}),
            json!({"type": "string", "enum": ["customers", "orders"]}),
            json!({"enum": ["customers", "a"]}),
            json!({"allOf": [{"type": "string"}]}),
            json!({"$ref": "#/$defs/text"}),
        ],
        Ty::Long => vec![
            json!({"type": "integer", "minimum": 0}),
            json!({"enum": [1, 2]}),
            json!({"const": 7}),
            json!({"$ref": "#/$defs/long"}),
        ],
        Ty::Bool => vec![json!({"type": "boolean"}), json!({"enum": [true, false]})],
        Ty::Decimal => vec![
            json!({"type": "number"}),
            json!({"type": ["integer", "number"]}),
            json!({"anyOf": [{"type": "integer"}, {"type": "number"}]}),
        ],
        Ty::Set(element) => vec![json!({"type": "array", "items": schema(element, chance)})],
        Ty::Record(record) => vec![record.schema(chance)],
    };
    chance.pick(&forms).clone()
}

/// What a tool's schema refers to.
pub fn definitions() -> Value {
    json!({"text": {"type": "string"}, "long": {"type": "integer"}})
}

/// A type, at most `depth` objects deep.
pub fn ty(chance: &mut Chance, depth: usize) -> Ty {
    match chance.below(if depth == 0 { 8 } else { 12 }) {
        0..=2 => Ty::Text,
        3 | 4 => Ty::Long,
        5 => Ty::Bool,
        6 | 7 => Ty::Decimal,
        8 | 9 => Ty::Set(Box::new(element(chance))),
        _ => Ty::Record(record(chance, depth - 1)),
    }
}

fn element(chance: &mut Chance) -> Ty {
    match chance.below(8) {
        0..=2 => Ty::Text,
        3 | 4 => Ty::Long,
        5 => Ty::Bool,
        6 => Ty::Decimal,
        _ => Ty::Record(flat(chance)),
    }
}

/// An object all of whose members are required, so that a rule can compare it with a literal.
fn flat(chance: &mut Chance) -> Record {
    let fields = chance.some(&INNER, 1, 2).into_iter();
    let field = |name: &str, ty| Field { name: name.to_owned(), ty: Some(ty), presence: Presence::Required };
    Record { fields: fields.map(|name| field(name, ty(chance, 0))).collect(), closed: false }
}

fn record(chance: &mut Chance, depth: usize) -> Record {
    if chance.percent(25) {
        return flat(chance);
    }
    let fields = chance.some(&INNER, 1, 4).into_iter().map(|name| Field {
        name: name.to_owned(),
        ty: (!chance.percent(6)).then(|| ty(chance, depth)),
        presence: Presence::Required,
    });
    let mut fields: Vec<Field> = fields.collect();
    for field in &mut fields {
        field.presence = presence(chance, field.ty.as_ref());
    }
    Record { fields, closed: chance.percent(15) }
}

/// A presence; what has no type may always be `null`.
pub fn presence(chance: &mut Chance, ty: Option<&Ty>) -> Presence {
    match (ty, chance.below(10)) {
        (None, _) => Presence::Nullable,
        (Some(_), 0..=3) => Presence::Required,
        (Some(_), 4..=7) => Presence::Optional,
        (Some(_), _) => Presence::Nullable,
    }
}
