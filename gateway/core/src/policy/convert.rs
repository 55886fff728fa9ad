//! Converts arguments to what rules read. In: a value on the tape and its type. Out: a Cedar value, or where it cannot be one. Never here: whole bodies.

use cedar_policy::RestrictedExpression as Expression;

use super::check;
use super::plan::{Input, Member, Want};
use super::types::{Presence, Record, Type};
use crate::protocol::fold::is_variant;
use crate::protocol::json::{Kind, Value};

/// An argument that a rule reads and that cannot be what the rule was checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Another type than the schema says, a number beyond Cedar's, `null` where none is allowed.
    Unreadable(Box<str>),
    /// A member that the schema does not declare and a rule asks for.
    Undeclared(Box<str>),
}

/// The wanted part of a call's arguments as the record `context.input`.
pub fn input(wanted: &Input, arguments: Option<Value<'_>>) -> Result<Expression, Unfit> {
    match wanted {
        Input::Members(members) => record_of(members, arguments),
        Input::Whole(record) => match arguments {
            Some(value) => whole(value, record, ""),
            None => made(Vec::new(), ""),
        },
    }
}

/// A customer account out of an argument: a string, or an integer in its decimal form.
pub fn account(value: Value<'_>, pointer: &str) -> Result<Box<str>, Unfit> {
    match (value.as_str(), value.as_i64()) {
        (Some(text), _) => Ok(text.into()),
        (None, Some(number)) => Ok(number.to_string().into()),
        (None, None) => Err(Unfit::Unreadable(pointer.into())),
    }
}

fn made(pairs: Vec<(String, Expression)>, pointer: &str) -> Result<Expression, Unfit> {
    // It fails on a repeated key only, and the strict reading left none.
    Expression::new_record(pairs).map_err(|_| Unfit::Unreadable(pointer.into()))
}

fn record_of(members: &[Member], object: Option<Value<'_>>) -> Result<Expression, Unfit> {
    let mut pairs = Vec::with_capacity(members.len());
    for member in members {
        refuse_variants(object, member)?;
        let Some(value) = object.and_then(|object| object.get(&member.name)) else { continue };
        if let Want::Absence = member.want {
            return Err(Unfit::Undeclared(member.pointer.clone()));
        }
        if value.is_null() {
            match member.presence {
                Presence::Nullable => continue,
                Presence::Required | Presence::Optional => return Err(Unfit::Unreadable(member.pointer.clone())),
            }
        }
        let converted = match &member.want {
            Want::Absence => return Err(Unfit::Undeclared(member.pointer.clone())),
            Want::Presence => Expression::new_bool(true),
            Want::Value(ty) => typed(value, ty, &member.pointer)?,
            Want::Members(inner) if value.kind() == Kind::Object => record_of(inner, Some(value))?,
            Want::Members(_) => return Err(Unfit::Unreadable(member.pointer.clone())),
        };
        pairs.push((member.name.to_string(), converted));
    }
    made(pairs, "")
}

/// A server that ignores case (Go's encoding/json does) may read `Table` where the rule reads `table`: what is read must be unambiguous.
fn refuse_variants(object: Option<Value<'_>>, member: &Member) -> Result<(), Unfit> {
    let Some(object) = object else { return Ok(()) };
    let ambiguous = object.kind() == Kind::Object && object.entries().any(|(key, _)| is_variant(key, &member.name));
    if ambiguous { Err(Unfit::Unreadable(member.pointer.clone())) } else { Ok(()) }
}

fn typed(value: Value<'_>, ty: &Type, pointer: &str) -> Result<Expression, Unfit> {
    let unreadable = || Unfit::Unreadable(pointer.into());
    match ty {
        Type::String => value.as_str().map(|text| Expression::new_string(text.to_owned())).ok_or_else(unreadable),
        Type::Long => long(value).map(Expression::new_long).ok_or_else(unreadable),
        Type::Bool => value.as_bool().map(Expression::new_bool).ok_or_else(unreadable),
        Type::Decimal => decimal(value).map(Expression::new_decimal).ok_or_else(unreadable),
        Type::Set(element) if value.kind() == Kind::Array => {
            let elements: Result<Vec<Expression>, Unfit> =
                value.items().map(|item| typed(item, element, pointer)).collect();
            elements.map(Expression::new_set)
        }
        Type::Set(_) => Err(unreadable()),
        Type::Record(record) => whole(value, record, pointer),
    }
}

/// A whole object, every member of it: what is not declared or not typed cannot be compared and so cannot be read.
fn whole(value: Value<'_>, record: &Record, pointer: &str) -> Result<Expression, Unfit> {
    if value.kind() != Kind::Object {
        return Err(Unfit::Unreadable(pointer.into()));
    }
    let mut pairs = Vec::with_capacity(record.fields.len());
    for (name, member) in value.entries() {
        let Some(field) = record.field(name) else { return Err(Unfit::Undeclared(pointer.into())) };
        let below = || format!("{pointer}{}", check::pointer([&field.name]));
        let Some(ty) = &field.ty else { return Err(Unfit::Unreadable(below().into())) };
        if member.is_null() && field.presence == Presence::Nullable {
            continue;
        }
        pairs.push((name.to_owned(), typed(member, ty, &below())?));
    }
    made(pairs, pointer)
}

/// JSON Schema counts `5.0` as an integer; beyond 2^53 a float no longer says which one it is.
fn long(value: Value<'_>) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| match value.kind() {
        Kind::Float => {
            let float = value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT)?;
            // Whole and below 2^53, so its text is an integer's.
            format!("{float:.0}").parse().ok()
        }
        Kind::Null | Kind::Bool | Kind::Integer | Kind::String | Kind::Array | Kind::Object => None,
    })
}

/// Cedar's decimal: at most four digits after the point, 64 bits in ten-thousandths.
fn decimal(value: Value<'_>) -> Option<String> {
    if let Some(whole) = value.as_i64() {
        whole.checked_mul(10_000)?;
        return Some(format!("{whole}.0"));
    }
    if value.kind() != Kind::Float {
        return None;
    }
    // The shortest decimal that reads back as this float: what was written, or the same number.
    let mut text = format!("{}", value.as_f64()?);
    if !text.contains('.') {
        text.push_str(".0");
    }
    let (whole, fraction) = text.split_once('.')?;
    if fraction.len() > 4 || whole.len() > 16 {
        return None;
    }
    let scaled = format!("{whole}{fraction:0<4}");
    scaled.parse::<i64>().ok().map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{JsonLimits, Scratch, read};

    fn check(ty: &str, text: &str, expected: Option<&str>) {
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, text.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 32 }).unwrap();
        let converted = typed(document.root(), &Type::parse(ty).unwrap(), "/x").ok();
        let expected = expected.map(|source| source.parse::<Expression>().unwrap());
        let shown = |expression: &Option<Expression>| expression.as_ref().map(|one| format!("{:?}", one.as_ref()));
        let plain = |expression: Option<Expression>| {
            expression.map(|one| cedar_policy::Context::from_pairs([("x".to_owned(), one)]).unwrap().to_string())
        };
        let note = shown(&converted);
        assert_eq!(plain(converted), plain(expected), "{ty} {text} {note:?}");
    }

    #[test]
    fn what_is_not_of_its_type_is_unreadable() {
        for (ty, text) in [
            ("string", "1"),
            ("string", "null"),
            ("integer", "\"1\""),
            ("integer", "1.5"),
            ("integer", "9223372036854775808"),
            ("integer", "1e300"),
            ("integer", "9007199254740992.0"),
            ("boolean", "0"),
            ("decimal", "0.12345"),
            ("decimal", "922337203685478"),
            ("decimal", "-922337203685478.5"),
            ("decimal", "1e20"),
            ("decimal", "1e-9"),
            ("decimal", "\"1.0\""),
            ("set of string", "\"a\""),
            ("set of string", "[\"a\", 1]"),
            ("set of string", "[null]"),
        ] {
            check(ty, text, None);
        }
    }

    #[test]
    fn what_is_of_its_type_reads_as_written() {
        for (ty, text, expected) in [
            ("string", "\"a\\u0000\\\"\"", "\"a\\0\\\"\""),
            ("integer", "-5", "-5"),
            ("integer", "5.0", "5"),
            ("integer", "-0.0", "0"),
            ("integer", "9223372036854775807", "9223372036854775807"),
            ("boolean", "true", "true"),
            ("decimal", "7", "decimal(\"7.0\")"),
            ("decimal", "0.1", "decimal(\"0.1\")"),
            ("decimal", "1e3", "decimal(\"1000.0\")"),
            ("decimal", "-0.0001", "decimal(\"-0.0001\")"),
            ("decimal", "922337203685477", "decimal(\"922337203685477.0\")"),
            ("set of integer", "[1, 2, 1]", "[1, 2]"),
            ("set of string", "[]", "[]"),
        ] {
            check(ty, text, Some(expected));
        }
    }
}
