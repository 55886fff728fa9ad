//! Gives the oracle a call's arguments as Cedar sees them, and says where they are not what the schema promises. In: the generator's own values. Out: Cedar values, misfits. Never here: the engine's conversion.
//!
//! The deliberate difference this models: Cedar has no JSON. An argument that a rule reads must be what the rule was checked against, and must be
//! unambiguous for a server that ignores case; where it is not, the call is denied, whatever the rules say.

use cedar_policy::RestrictedExpression as Expression;

use crate::ground::{Tool, pointer};
use crate::json::Json;
use crate::rules::Read;
use crate::shape::{Presence, Record, Ty};
use crate::statements::{Facts, Sql};

/// Why something that a rule reads cannot be read: the cause's name, and where.
pub type Misfit = (&'static str, Option<String>);

const UNREADABLE: &str = "argument_unreadable";
const UNDECLARED: &str = "argument_undeclared";

/// All arguments as a record. What does not fit stands as `true`: rules that look only whether it is there see that it is, and no other rule is asked.
pub fn input(arguments: Option<&Json>, record: &Record) -> Expression {
    let members = record.fields.iter().filter_map(|field| {
        let value = arguments?.member(&field.name)?;
        Some((field.name.clone(), lenient(value, field.ty.as_ref())?))
    });
    Expression::new_record(members.collect::<Vec<_>>()).unwrap()
}

fn lenient(value: &Json, ty: Option<&Ty>) -> Option<Expression> {
    match (value, ty) {
        (Json::Null, _) => None,
        (Json::Object(_), Some(Ty::Record(record))) => Some(input(Some(value), record)),
        (_, Some(ty)) => Some(strict(value, ty, &mut Vec::new(), &[]).unwrap_or_else(|| Expression::new_bool(true))),
        (_, None) => Some(Expression::new_bool(true)),
    }
}

/// The value as its type has it; every place where it is not goes to `misfits`.
fn strict(value: &Json, ty: &Ty, misfits: &mut Vec<Misfit>, path: &[String]) -> Option<Expression> {
    let fit = match (ty, value) {
        (Ty::Text, Json::Text(text)) => Some(Expression::new_string(text.clone())),
        (Ty::Bool, Json::Bool(value)) => Some(Expression::new_bool(*value)),
        (Ty::Long, Json::Number(text)) => long(text).map(Expression::new_long),
        (Ty::Decimal, Json::Number(text)) => decimal(text).map(Expression::new_decimal),
        (Ty::Set(element), Json::List(items)) => {
            let before = misfits.len();
            let fit: Vec<Option<Expression>> = items.iter().map(|item| strict(item, element, misfits, path)).collect();
            let all: Option<Vec<Expression>> = fit.into_iter().collect();
            return all.filter(|_| misfits.len() == before).map(Expression::new_set);
        }
        (Ty::Record(record), Json::Object(_)) => {
            let before = misfits.len();
            whole(value, record, misfits, path);
            return (misfits.len() == before).then(|| input(Some(value), record));
        }
        _ => None,
    };
    if fit.is_none() {
        misfits.push((UNREADABLE, Some(pointer(path))));
    }
    fit
}

/// An object of which every member is compared: each must be declared, typed and fit.
fn whole(value: &Json, record: &Record, misfits: &mut Vec<Misfit>, path: &[String]) {
    let Json::Object(members) = value else { return misfits.push((UNREADABLE, Some(pointer(path)))) };
    for (name, member) in members {
        let below: Vec<String> = path.iter().chain([name]).cloned().collect();
        match record.field(name) {
            None => misfits.push((UNDECLARED, Some(pointer(path)))),
            Some(_)
                if members
                    .iter()
                    .any(|(key, _)| key != name && taken_for(key, name) && record.field(key).is_some()) =>
            {
                misfits.push((UNREADABLE, Some(pointer(&below))));
            }
            Some(field) => match &field.ty {
                None => misfits.push((UNREADABLE, Some(pointer(&below)))),
                Some(_) if *member == Json::Null && field.presence == Presence::Nullable => {}
                Some(ty) => {
                    strict(member, ty, misfits, &below);
                }
            },
        }
    }
    for field in record.fields.iter().filter(|field| field.presence == Presence::Required) {
        if value.member(&field.name).is_none() {
            let below: Vec<String> = path.iter().chain([&field.name]).cloned().collect();
            misfits.push((UNREADABLE, Some(pointer(&below))));
        }
    }
}

/// Where something that a rule reads is not as it was promised; nowhere for most calls.
pub fn misfits(read: &Read, arguments: Option<&Json>, tool: &Tool) -> Vec<Misfit> {
    let mut found = Vec::new();
    match read {
        Read::Value(path) if path.is_empty() => {
            if let Some(arguments) = arguments {
                whole(arguments, &tool.input, &mut found, &[]);
            }
        }
        Read::Presence(path) if path.is_empty() => {}
        Read::Value(path) => argument(path, arguments, &tool.input, true, &mut found),
        Read::Presence(path) => argument(path, arguments, &tool.input, false, &mut found),
        Read::Account => {
            let Some(path) = &tool.account else { return found };
            let odd = reach(arguments, path).is_some_and(|value| account(value).is_none());
            if odd || ambiguous(arguments, path) {
                found.push((UNREADABLE, Some(pointer(path))));
            }
        }
        Read::Sql => found.extend(tool.sql.iter().flat_map(|sql| statement(sql, arguments).err().unwrap_or_default())),
        Read::Claim(_) | Read::AnyClaim | Read::Calendars => {}
    }
    found
}

fn argument(path: &[String], arguments: Option<&Json>, input: &Record, valued: bool, found: &mut Vec<Misfit>) {
    let (mut object, mut record) = (arguments, input);
    for (depth, name) in path.iter().enumerate() {
        let upto = &path[..=depth];
        let last = upto.len() == path.len();
        let place = || Some(pointer(upto));
        let Some(Json::Object(members)) = object else { return };
        if members.iter().any(|(key, _)| key != name && taken_for(key, name)) {
            return found.push((UNREADABLE, place()));
        }
        let Some(value) = object.and_then(|object| object.member(name)) else { return };
        let Some(field) = record.field(name) else { return found.push((UNDECLARED, place())) };
        match (value, &field.ty) {
            (Json::Null, _) if field.presence == Presence::Nullable => return,
            (Json::Null, _) => return found.push((UNREADABLE, place())),
            (_, Some(ty)) if last => {
                if valued {
                    strict(value, ty, found, upto);
                }
                return;
            }
            (Json::Object(_), Some(Ty::Record(inner))) => (object, record) = (Some(value), inner),
            (_, _) => return found.push((UNREADABLE, place())),
        }
    }
}

/// What the SQL of a call does, or why it is not judged; a grammar of its own may refuse a text as no statement at all.
pub fn statement<'s>(sql: &'s Sql, arguments: Option<&Json>) -> Result<&'s Facts, Vec<Misfit>> {
    let place = || Some(pointer(&sql.argument));
    let Some(Json::Text(text)) = reach(arguments, &sql.argument).filter(|_| !ambiguous(arguments, &sql.argument))
    else {
        return Err(vec![(UNREADABLE, place())]);
    };
    match sql.statement_of(text).map(|statement| &statement.facts) {
        Some(Ok(facts)) => Ok(facts),
        Some(Err(why)) => Err(vec![(why, place()), ("sql_unparsable", place())]),
        None => Err(NO_SQL.map(|why| (why, place())).to_vec()),
    }
}

/// Why texts that are no SQL are refused: none of those that arguments are made of is a statement.
const NO_SQL: [&str; 5] = ["sql_unparsable", "sql_character", "sql_literal", "sql_statement", "sql_construct"];

/// Does another key on the way to a path read like its own?
fn ambiguous(arguments: Option<&Json>, path: &[String]) -> bool {
    let mut at = arguments;
    for name in path {
        let Some(Json::Object(members)) = at else { return false };
        if members.iter().any(|(key, _)| key != name && taken_for(key, name)) {
            return true;
        }
        at = at.and_then(|object| object.member(name));
    }
    false
}

/// Does a reader that ignores case take one key for the other? By Unicode's own mappings of whole texts, İ read as a plain i.
fn taken_for(key: &str, name: &str) -> bool {
    let folded = |text: &str| text.replace('İ', "i").to_lowercase().to_uppercase().to_lowercase();
    folded(key) == folded(name)
}

/// The argument at a path.
pub fn reach<'j>(arguments: Option<&'j Json>, path: &[String]) -> Option<&'j Json> {
    path.iter().try_fold(arguments?, |at, step| at.member(step))
}

/// An account: a string, or a whole number in its decimal form.
pub fn account(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text.clone()),
        Json::Number(text) if is_whole(text) => text.parse::<i64>().ok().map(|number| number.to_string()),
        _ => None,
    }
}

fn is_whole(text: &str) -> bool {
    !text.contains(['.', 'e', 'E'])
}

/// A number that is whole in 64 bits. `5.0` is five (JSON Schema); beyond 2^53 a float says no single number.
fn long(text: &str) -> Option<i64> {
    if is_whole(text) {
        return text.parse().ok();
    }
    let float = float(text)?;
    (float == float.trunc() && float.abs() < 9_007_199_254_740_992.0).then_some(float as i64)
}

/// A float, where its shortest spelling is the same number: one of more digits than 64 bits hold says something else to every reader.
fn float(text: &str) -> Option<f64> {
    let float: f64 = text.parse().ok()?;
    (digits(text) == digits(&format!("{float:e}"))).then_some(float)
}

/// A number's digits without zeros at either end, and the power of ten of the last.
fn digits(text: &str) -> (String, i64) {
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{}{fraction}", whole.trim_start_matches('-'));
    let short = all.trim_end_matches('0');
    let power = exponent.parse::<i64>().unwrap() - fraction.len() as i64 + (all.len() - short.len()) as i64;
    match short.trim_start_matches('0') {
        "" => (String::new(), 0),
        digits => (digits.to_owned(), power),
    }
}

/// A number with at most four digits behind the point, in 64 bits of ten-thousandths.
fn decimal(text: &str) -> Option<String> {
    if !is_whole(text) {
        float(text)?;
    }
    let shortest = if is_whole(text) {
        format!("{}.0", text.parse::<i64>().ok()?)
    } else {
        format!("{:?}", text.parse::<f64>().ok()?)
    };
    let plain = if shortest.contains('e') { format!("{:.1}", text.parse::<f64>().ok()?) } else { shortest };
    // Beyond its exponent form a float is too large or too small for four digits.
    if text.parse::<f64>().is_ok_and(|float| float != 0.0 && float.abs() < 0.000_1) {
        return None;
    }
    let (whole, fraction) = plain.split_once('.')?;
    if fraction.len() > 4 {
        return None;
    }
    format!("{whole}{fraction:0<4}").parse::<i64>().ok().map(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cedar_cannot_hold_do_not_fit() {
        for (text, expected) in [
            ("1", Some("1.0")),
            ("-0", Some("0.0")),
            ("1.50", Some("1.5")),
            ("15e-1", Some("1.5")),
            ("1e3", Some("1000.0")),
            ("0.0001", Some("0.0001")),
            ("0.00001", None),
            ("0.12345", None),
            ("1.00000000000000001", None),
            ("922337203685477.5808", None),
            ("1e20", None),
            ("922337203685477", Some("922337203685477.0")),
            ("922337203685478", None),
            ("-922337203685478.5", None),
        ] {
            assert_eq!(decimal(text).as_deref(), expected, "{text}");
        }
        for (text, expected) in [
            ("5.0", Some(5)),
            ("-0.0", Some(0)),
            ("5.5", None),
            ("9223372036854775808", None),
            ("9007199254740992.0", None),
        ] {
            assert_eq!(long(text), expected, "{text}");
        }
    }
}
