//! Types a tool's arguments. In: its `inputSchema` and the types its configuration gives. Out: Cedar types, or an honest "untyped". Never here: values.

use std::cell::Cell;

use serde_json::{Map, Value};

/// Nesting that is followed, `$ref` steps included: schemas in the wild stay below 8, a recursive one never ends.
const DEPTH_MAX: usize = 16;

/// Schemas visited for one tool: two mutually recursive `$ref`s double at every level, so that depth alone bounds nothing.
const NODES_MAX: usize = 4_096;

/// The type a rule sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Cedar `String`.
    String,
    /// Cedar `Long`, 64 bits.
    Long,
    /// Cedar `Bool`.
    Bool,
    /// Cedar `decimal`, four digits after the point.
    Decimal,
    /// Cedar `Set`; order and repetitions of the array are lost.
    Set(Box<Type>),
    /// A Cedar record.
    Record(Record),
}

/// The declared members of a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// In the order of the schema.
    pub fields: Vec<Field>,
    /// What the schema says of members that it does not declare.
    pub undeclared: Undeclared,
}

/// One declared member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// The member's name.
    pub name: Box<str>,
    /// Its type; none where the schema gives no single one, so that no rule can read it.
    pub ty: Option<Type>,
    /// Whether it may be absent or `null`.
    pub presence: Presence,
}

/// Whether a member may be absent or `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Always there, never `null`.
    Required,
    /// May be absent, never `null`.
    Optional,
    /// May be absent or `null`; a rule takes both as absent.
    Nullable,
}

/// What a schema says of members that it does not declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undeclared {
    /// `additionalProperties` is absent, true or a schema.
    Legal,
    /// `additionalProperties` is false.
    Refused,
}

impl Record {
    /// No declared members, anything goes: a tool without a schema.
    pub fn open() -> Self {
        Self { fields: Vec::new(), undeclared: Undeclared::Legal }
    }

    /// The member called `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| &*field.name == name)
    }

    /// The arguments of a tool, from its `inputSchema`.
    pub fn of_schema(schema: Option<&Value>) -> Self {
        let Some(root) = schema else { return Self::open() };
        match (Reader { root, nodes_left: Cell::new(NODES_MAX) }).read(root, 0).ty {
            Some(Type::Record(record)) => record,
            Some(Type::String | Type::Long | Type::Bool | Type::Decimal | Type::Set(_)) | None => Self::open(),
        }
    }

    /// Gives the member at `pointer` (RFC 6901) the type written as `text`; members on the way become records.
    pub fn assign(&mut self, pointer: &str, text: &str) -> Result<(), AssignError> {
        let ty = Type::parse(text).ok_or(AssignError::UnknownType)?;
        let mut steps: Vec<String> = Vec::new();
        for step in pointer.strip_prefix('/').ok_or(AssignError::NotAPointer)?.split('/') {
            steps.push(step.replace("~1", "/").replace("~0", "~"));
        }
        let Some(last) = steps.pop() else { return Err(AssignError::NotAPointer) };
        let mut at = self;
        for step in steps {
            let field = at.entry(&step).ok_or(AssignError::NotAPointer)?;
            if !matches!(field.ty, Some(Type::Record(_))) {
                field.ty = Some(Type::Record(Self::open()));
            }
            let Some(Type::Record(inner)) = &mut field.ty else { return Err(AssignError::NotAPointer) };
            at = inner;
        }
        at.entry(&last).ok_or(AssignError::NotAPointer)?.ty = Some(ty);
        Ok(())
    }

    /// The member called `name`, added as untyped where it was not declared.
    fn entry(&mut self, name: &str) -> Option<&mut Field> {
        let declared = self.fields.iter().position(|field| &*field.name == name);
        let position = declared.unwrap_or(self.fields.len());
        if declared.is_none() {
            self.fields.push(Field { name: name.into(), ty: None, presence: Presence::Nullable });
        }
        self.fields.get_mut(position)
    }
}

/// Why a configured type cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignError {
    /// The pointer does not begin with `/`.
    NotAPointer,
    /// The type is none of those that a rule can read.
    UnknownType,
}

impl Type {
    /// The types a configuration can give: `string`, `integer`, `decimal`, `boolean`, and `set of` one of these.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(element) = text.strip_prefix("set of ") {
            return Some(Self::Set(Box::new(Self::parse(element)?)));
        }
        match text {
            "string" => Some(Self::String),
            "integer" | "long" => Some(Self::Long),
            "decimal" | "number" => Some(Self::Decimal),
            "boolean" | "bool" => Some(Self::Bool),
            _ => None,
        }
    }
}

/// What a schema says of one place.
struct Shape {
    ty: Option<Type>,
    null: Null,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    Allowed,
    Refused,
}

const UNTYPED: Shape = Shape { ty: None, null: Null::Allowed };

struct Reader<'s> {
    root: &'s Value,
    nodes_left: Cell<usize>,
}

impl Reader<'_> {
    fn read(&self, schema: &Value, depth: usize) -> Shape {
        let (Some(left), Some(members)) = (self.nodes_left.get().checked_sub(1), schema.as_object()) else {
            return UNTYPED;
        };
        self.nodes_left.set(left);
        if depth > DEPTH_MAX {
            return UNTYPED;
        }
        if let Some(target) = members.get("$ref") {
            return self.referred(target).map_or(UNTYPED, |target| self.read(target, depth + 1));
        }
        match members.get("type") {
            Some(Value::String(name)) => self.named(name, members, depth),
            Some(Value::Array(names)) => self.listed(names, members, depth),
            Some(_) => UNTYPED,
            None => self.composed(members, depth),
        }
    }

    /// A local `$ref` (`#/$defs/X`); anything that leaves the document is never followed.
    fn referred(&self, target: &Value) -> Option<&Value> {
        self.root.pointer(target.as_str()?.strip_prefix('#')?)
    }

    fn named(&self, name: &str, members: &Map<String, Value>, depth: usize) -> Shape {
        let ty = match name {
            "string" => Some(Type::String),
            "integer" => Some(Type::Long),
            "number" => Some(Type::Decimal),
            "boolean" => Some(Type::Bool),
            "object" => Some(Type::Record(self.record(members, depth))),
            "array" => members.get("items").map(|items| self.read(items, depth + 1)).and_then(element),
            _ => None,
        };
        Shape { null: if ty.is_some() { Null::Refused } else { Null::Allowed }, ty }
    }

    /// `"type": ["string", "null"]`.
    fn listed(&self, names: &[Value], members: &Map<String, Value>, depth: usize) -> Shape {
        let shapes = names.iter().map(|name| match name.as_str() {
            Some("null") => Shape { ty: None, null: Null::Allowed },
            Some(name) => match self.named(name, members, depth) {
                Shape { ty: None, null: _ } => UNTYPED,
                typed => typed,
            },
            None => UNTYPED,
        });
        let only_null = |name: &Value| name.as_str() == Some("null");
        united(names.iter().map(only_null).zip(shapes))
    }

    /// No `type`: a union, a composition, or values that tell.
    fn composed(&self, members: &Map<String, Value>, depth: usize) -> Shape {
        if let Some(Value::Array(branches)) = members.get("anyOf").or_else(|| members.get("oneOf")) {
            let only_null = |branch: &Value| {
                branch.get("type").and_then(Value::as_str) == Some("null") || branch.get("const") == Some(&Value::Null)
            };
            return united(branches.iter().map(|branch| (only_null(branch), self.read(branch, depth + 1))));
        }
        if let Some(Value::Array(parts)) = members.get("allOf") {
            return match parts.as_slice() {
                [only] if !members.contains_key("properties") => self.read(only, depth + 1),
                _ => UNTYPED,
            };
        }
        if let Some(Value::Array(values)) = members.get("enum") {
            return united(values.iter().map(|value| (value.is_null(), of_value(value))));
        }
        if let Some(value) = members.get("const") {
            return of_value(value);
        }
        if members.contains_key("properties") { self.named("object", members, depth) } else { UNTYPED }
    }

    fn record(&self, members: &Map<String, Value>, depth: usize) -> Record {
        let required = |name: &str| {
            members
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|names| names.iter().any(|one| one.as_str() == Some(name)))
        };
        let closed = members.get("additionalProperties") == Some(&Value::Bool(false))
            && ["patternProperties", "allOf", "anyOf", "oneOf", "$ref"]
                .iter()
                .all(|other| !members.contains_key(*other));
        let declared = members.get("properties").and_then(Value::as_object).into_iter().flatten();
        let fields = declared.map(|(name, schema)| {
            let shape = self.read(schema, depth + 1);
            let presence = match (shape.null, required(name)) {
                (Null::Allowed, _) => Presence::Nullable,
                (Null::Refused, true) => Presence::Required,
                (Null::Refused, false) => Presence::Optional,
            };
            Field { name: name.as_str().into(), ty: shape.ty, presence }
        });
        Record { fields: fields.collect(), undeclared: if closed { Undeclared::Refused } else { Undeclared::Legal } }
    }
}

/// An element of a set cannot be `null`: Cedar has no such value.
fn element(shape: Shape) -> Option<Type> {
    match shape.null {
        Null::Refused => shape.ty.map(|ty| Type::Set(Box::new(ty))),
        Null::Allowed => None,
    }
}

fn of_value(value: &Value) -> Shape {
    let ty = match value {
        Value::String(_) => Type::String,
        Value::Bool(_) => Type::Bool,
        Value::Number(number) if number.is_i64() => Type::Long,
        Value::Number(_) => Type::Decimal,
        Value::Null | Value::Array(_) | Value::Object(_) => return UNTYPED,
    };
    Shape { ty: Some(ty), null: Null::Refused }
}

/// One type for all branches but `null`, or none; whole numbers are decimals where both occur.
fn united(branches: impl Iterator<Item = (bool, Shape)>) -> Shape {
    let mut whole: Option<Shape> = None;
    let mut null = Null::Refused;
    for (only_null, shape) in branches {
        if shape.null == Null::Allowed {
            null = Null::Allowed;
        }
        if only_null {
            continue;
        }
        let ty = match (whole.map(|before| before.ty), shape.ty) {
            (None, ty) => ty,
            (Some(Some(Type::Long)), Some(Type::Decimal)) | (Some(Some(Type::Decimal)), Some(Type::Long)) => {
                Some(Type::Decimal)
            }
            (Some(Some(before)), Some(ty)) if before == ty => Some(ty),
            (Some(_), _) => None,
        };
        whole = Some(Shape { ty, null });
    }
    match whole {
        Some(Shape { ty: Some(ty), null: _ }) => Shape { ty: Some(ty), null },
        Some(Shape { ty: None, null: _ }) | None => UNTYPED,
    }
}

#[cfg(test)]
#[path = "types_tests.rs"]
mod tests;
