//! Converts arguments to what rules read. In: a value on the tape and its type. Out: a Cedar value, or where it cannot be one. Never here: whole bodies.

use std::sync::Arc;

use cedar_policy::RestrictedExpression as Expression;

use super::check;
use super::plan::{AccountArgument, Input, Member, Want};
use super::types::{Presence, Record, Type};
use crate::protocol::fold::is_variant;
use crate::protocol::json::short::Short;
use crate::protocol::json::{Kind, Value, array_index};

/// An argument that a rule reads and that cannot be what the rule was checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Another type than the schema says, a number beyond Cedar's, `null` where none is allowed.
    Unreadable(Arc<str>),
    /// A member that the schema does not declare and a rule asks for.
    Undeclared(Arc<str>),
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

/// A customer account as an argument names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account<'a> {
    /// A string.
    Text(&'a str),
    /// An integer, which counts in its decimal form.
    Number(i64),
}

/// The customer account that the arguments name, if they do.
pub fn account<'a>(wanted: &AccountArgument, arguments: Option<Value<'a>>) -> Result<Option<Account<'a>>, Unfit> {
    let unreadable = || Unfit::Unreadable(Arc::clone(&wanted.pointer));
    let Some(mut here) = arguments else { return Ok(None) };
    for step in &wanted.path {
        let below = match here.kind() {
            Kind::Array => array_index(step).and_then(|index| here.items().nth(index)),
            Kind::Object => unambiguous(here, step).ok_or_else(unreadable)?,
            Kind::Null | Kind::Bool | Kind::Integer | Kind::Float | Kind::String => None,
        };
        let Some(below) = below else { return Ok(None) };
        here = below;
    }
    match (here.as_str(), here.as_i64()) {
        (Some(text), _) => Ok(Some(Account::Text(text))),
        (None, Some(number)) => Ok(Some(Account::Number(number))),
        (None, None) => Err(unreadable()),
    }
}

/// The member `name` of an object, if it has one; none at all where another member could be taken for it. A server that ignores case (Go's
/// encoding/json does) may read `Table` where the rule reads `table`: what is read must be unambiguous.
pub(super) fn unambiguous<'a>(object: Value<'a>, name: &str) -> Option<Option<Value<'a>>> {
    let mut found = None;
    for (key, value) in object.entries() {
        if key == name {
            found = Some(value);
        } else if is_variant(key, name) {
            return None;
        }
    }
    Some(found)
}

/// The member that is wanted of an object, if it is there; a refusal where it must not be or is ambiguous.
pub(super) fn member<'a>(wanted: &Member, object: Option<Value<'a>>) -> Result<Option<Value<'a>>, Unfit> {
    let Some(object) = object else { return Ok(None) };
    let unreadable = || Unfit::Unreadable(Arc::clone(&wanted.pointer));
    let Some(value) = unambiguous(object, &wanted.name).ok_or_else(unreadable)? else { return Ok(None) };
    match (&wanted.want, value.is_null(), wanted.presence) {
        (Want::Absence, _, _) => Err(Unfit::Undeclared(Arc::clone(&wanted.pointer))),
        (_, true, Presence::Nullable) => Ok(None),
        (_, true, Presence::Required | Presence::Optional) => Err(unreadable()),
        (_, false, _) => Ok(Some(value)),
    }
}

/// A text in the arguments, by its pointer.
pub fn text<'v>(arguments: Option<Value<'v>>, pointer: &str) -> Result<&'v str, Unfit> {
    let unreadable = || Unfit::Unreadable(pointer.into());
    let mut at = arguments.ok_or_else(unreadable)?;
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        if at.kind() != Kind::Object || at.entries().any(|(key, _)| is_variant(key, &name)) {
            return Err(unreadable());
        }
        at = at.get(&name).ok_or_else(unreadable)?;
    }
    at.as_str().ok_or_else(unreadable)
}

fn made(pairs: Vec<(String, Expression)>, pointer: &str) -> Result<Expression, Unfit> {
    // It fails on a repeated key only, and the strict reading left none.
    Expression::new_record(pairs).map_err(|_| Unfit::Unreadable(pointer.into()))
}

fn record_of(members: &[Member], object: Option<Value<'_>>) -> Result<Expression, Unfit> {
    let mut pairs = Vec::with_capacity(members.len());
    for wanted in members {
        let Some(value) = member(wanted, object)? else { continue };
        let converted = match &wanted.want {
            Want::Absence => return Err(Unfit::Undeclared(Arc::clone(&wanted.pointer))),
            Want::Presence => Expression::new_bool(true),
            Want::Value(ty) => typed(value, ty, &wanted.pointer)?,
            Want::Members(inner) if value.kind() == Kind::Object => record_of(inner, Some(value))?,
            Want::Members(_) => return Err(Unfit::Unreadable(Arc::clone(&wanted.pointer))),
        };
        pairs.push((wanted.name.to_string(), converted));
    }
    made(pairs, "")
}

pub(super) fn typed(value: Value<'_>, ty: &Type, pointer: &str) -> Result<Expression, Unfit> {
    let unreadable = || Unfit::Unreadable(pointer.into());
    match ty {
        Type::String => value.as_str().map(|text| Expression::new_string(text.to_owned())).ok_or_else(unreadable),
        Type::Long => long(value).map(Expression::new_long).ok_or_else(unreadable),
        Type::Bool => value.as_bool().map(Expression::new_bool).ok_or_else(unreadable),
        Type::Decimal => {
            decimal(value).map(|scaled| Expression::new_decimal(decimal_text(scaled))).ok_or_else(unreadable)
        }
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
        // Two declared members that some reader takes for one; what is not declared is found in its own turn.
        if value.entries().any(|(other, _)| is_variant(other, name) && record.field(other).is_some()) {
            return Err(Unfit::Unreadable(below().into()));
        }
        let Some(ty) = &field.ty else { return Err(Unfit::Unreadable(below().into())) };
        if member.is_null() && field.presence == Presence::Nullable {
            continue;
        }
        pairs.push((name.to_owned(), typed(member, ty, &below())?));
    }
    // Without a member that must be there it is equal to nothing that a rule could compare it with, and so would pass what names it.
    let missing =
        record.fields.iter().find(|field| field.presence == Presence::Required && value.get(&field.name).is_none());
    if let Some(field) = missing {
        return Err(Unfit::Unreadable(format!("{pointer}{}", check::pointer([&field.name])).into()));
    }
    made(pairs, pointer)
}

/// JSON Schema counts `5.0` as an integer; a float of more digits than `f64` holds is none (see [`Value::as_f64`]).
pub(super) fn long(value: Value<'_>) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| match value.kind() {
        // Whole and below 2^53, so the cast is exact.
        Kind::Float => value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT).map(|it| it as i64),
        Kind::Null | Kind::Bool | Kind::Integer | Kind::String | Kind::Array | Kind::Object => None,
    })
}

/// Cedar's decimal in ten-thousandths: at most four digits after the point, 64 bits.
pub(super) fn decimal(value: Value<'_>) -> Option<i64> {
    if let Some(whole) = value.as_i64() {
        return whole.checked_mul(10_000);
    }
    if value.kind() != Kind::Float {
        return None;
    }
    // The shortest decimal that reads back as this float is what was written: other floats have no value.
    let text = Short::of(format_args!("{}", value.as_f64()?))?;
    let (whole, fraction) = text.as_str().split_once('.').unwrap_or((text.as_str(), "0"));
    if fraction.len() > 4 {
        return None;
    }
    let scale = 10_i64.pow(4 - u32::try_from(fraction.len()).ok()?);
    let (whole_part, fraction): (i64, i64) = (whole.parse().ok()?, fraction.parse::<i64>().ok()?.checked_mul(scale)?);
    let whole_part = whole_part.checked_mul(10_000)?;
    if whole.starts_with('-') { whole_part.checked_sub(fraction) } else { whole_part.checked_add(fraction) }
}

/// As Cedar writes it.
fn decimal_text(scaled: i64) -> String {
    let sign = if scaled < 0 { "-" } else { "" };
    let (whole, fraction) = (scaled.unsigned_abs() / 10_000, scaled.unsigned_abs() % 10_000);
    let digits = format!("{fraction:04}");
    let short = digits.trim_end_matches('0');
    format!("{sign}{whole}.{}", if short.is_empty() { "0" } else { short })
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
            ("integer", "9007199254740993.0"),
            ("integer", "9007199254740991.4"),
            ("integer", "1.00000000000000000001"),
            ("decimal", "0.10000000000000000001"),
            ("decimal", "922337203685477.5808"),
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
            ("integer", "9007199254740991.0", "9007199254740991"),
            ("integer", "1e3", "1000"),
            ("integer", "9223372036854775807", "9223372036854775807"),
            ("boolean", "true", "true"),
            ("decimal", "7", "decimal(\"7.0\")"),
            ("decimal", "0.1", "decimal(\"0.1\")"),
            ("decimal", "1e3", "decimal(\"1000.0\")"),
            ("decimal", "-0.0001", "decimal(\"-0.0001\")"),
            ("decimal", "-0.5", "decimal(\"-0.5\")"),
            ("decimal", "-12.25", "decimal(\"-12.25\")"),
            ("decimal", "0.0500", "decimal(\"0.05\")"),
            ("decimal", "922337203685477", "decimal(\"922337203685477.0\")"),
            ("set of integer", "[1, 2, 1]", "[1, 2]"),
            ("set of string", "[]", "[]"),
        ] {
            check(ty, text, Some(expected));
        }
    }
}
