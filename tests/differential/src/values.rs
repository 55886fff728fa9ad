//! Writes expressions that are no conditions. In: what a rule may read, a type. Out: Cedar text of that type, what it reads, and what must be tested first. Never here: judging.

use crate::chance::Chance;
use crate::ground::CLAIMS;
use crate::rules::{Piece, Read, quoted};
use crate::shape::{Presence, Ty, is_identifier};
use crate::writer::{self, Env, Fact, Path};

/// An expression, and the tests of presence that must hold before it is looked at.
#[derive(Clone, Debug, Default)]
pub struct Guarded {
    /// The expression.
    pub piece: Piece,
    /// The tests, in their order.
    pub guards: Vec<Piece>,
}

/// What an expression can be: an argument's type, or one that no argument has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sort {
    /// An argument's.
    Of(Ty),
    /// `datetime`
    Datetime,
    /// `duration`
    Duration,
    /// `ipaddr`
    Ip,
}

/// An expression of `kind` made of parts.
pub fn made(kind: &'static str, text: String, parts: impl IntoIterator<Item = Guarded>) -> Guarded {
    let mut whole = Guarded { piece: Piece { text, ..Piece::default() }, guards: Vec::new() };
    whole.piece.kinds.insert(kind);
    for part in parts {
        whole.piece.reads.extend(part.piece.reads);
        whole.piece.kinds.extend(part.piece.kinds);
        for guard in part.guards {
            if !whole.guards.iter().any(|known| known.text == guard.text) {
                whole.guards.push(guard);
            }
        }
    }
    whole
}

/// An expression of `kind` that reads something of the call.
pub fn reading(kind: &'static str, text: String, read: Option<Read>) -> Guarded {
    let mut whole = made(kind, text, []);
    whole.piece.reads.extend(read);
    whole
}

/// An expression of this sort, at most `depth` deep.
pub fn value(env: &Env<'_>, sort: &Sort, depth: usize, chance: &mut Chance) -> Guarded {
    if depth > 0 && chance.percent(8) {
        let cond = writer::cond(env, 1, chance).piece();
        let (then, other) = (value(env, sort, depth - 1, chance), value(env, sort, depth - 1, chance));
        let text = format!("(if {} then {} else {})", cond.text, then.piece.text, other.piece.text);
        return made("if value", text, [Guarded { piece: cond, guards: Vec::new() }, then, other]);
    }
    if let Sort::Of(ty) = sort {
        let fitting: Vec<&Path> = env.paths.iter().filter(|path| path.ty == *ty).collect();
        if !fitting.is_empty() && chance.percent(65) {
            let path = *chance.pick(&fitting);
            return path_value(env, path, chance);
        }
    }
    match sort {
        Sort::Of(Ty::Text) => text(env, chance),
        Sort::Of(Ty::Long) => long(env, depth, chance),
        Sort::Of(ty) => literal(env, ty, chance),
        Sort::Datetime => datetime(env, depth, chance),
        Sort::Duration => duration(env, depth, chance),
        Sort::Ip => match chance.below(3) {
            0 => ip(chance),
            _ => reading("context.source", "context.source".to_owned(), None),
        },
    }
}

/// A path, and the tests that its optional steps need.
pub fn path_value(env: &Env<'_>, path: &Path, chance: &mut Chance) -> Guarded {
    let names: Vec<String> = path.steps.iter().map(|(name, _)| name.clone()).collect();
    let mut whole = reading("argument", place(&names, chance), Some(Read::Value(names)));
    whole.guards = path_guards(env, path, chance);
    whole
}

/// The tests that a path needs before its value is read.
pub fn path_guards(env: &Env<'_>, path: &Path, chance: &mut Chance) -> Vec<Piece> {
    let names: Vec<String> = path.steps.iter().map(|(name, _)| name.clone()).collect();
    let mut guards = Vec::new();
    if env.input_guarded {
        guards.push(reading("has", "context has input".to_owned(), None).piece);
    }
    let Some(last) = path.steps.iter().rposition(|(_, optional)| *optional) else { return guards };
    if names[..=last].iter().all(|name| is_identifier(name)) && chance.percent(50) {
        let (from, upto) = if chance.percent(50) { ("context.input", "") } else { ("context", "input.") };
        let text = format!("{from} has {upto}{}", names[..=last].join("."));
        guards.push(reading("has path", text, Some(Read::Presence(names[..=last].to_vec()))).piece);
        return guards;
    }
    for (position, (_, optional)) in path.steps.iter().enumerate() {
        if *optional {
            guards.push(presence(&names[..=position], chance).piece);
        }
    }
    guards
}

/// `has` of one argument.
pub fn presence(path: &[String], chance: &mut Chance) -> Guarded {
    let (last, upto) = path.split_last().unwrap();
    let name = if is_identifier(last) && chance.percent(80) { last.clone() } else { quoted(last) };
    reading("has", format!("{} has {name}", place(upto, chance)), Some(Read::Presence(path.to_vec())))
}

/// `context.input.a["b c"]`
fn place(path: &[String], chance: &mut Chance) -> String {
    let mut text = String::from(if chance.percent(90) { "context.input" } else { "context[\"input\"]" });
    for step in path {
        if is_identifier(step) && chance.percent(90) {
            text.push_str(&format!(".{step}"));
        } else {
            text.push_str(&format!("[{}]", quoted(step)));
        }
    }
    text
}

fn text(env: &Env<'_>, chance: &mut Chance) -> Guarded {
    match chance.below(12) {
        0 => reading("context.account", "context.account".to_owned(), Some(Read::Account)),
        1 => {
            let mut whole = made("principal.user", "principal.user".to_owned(), []);
            whole.guards.push(made("has", "principal has user".to_owned(), []).piece);
            whole
        }
        2 => claim(chance),
        3 | 4 if env.uri != Fact::Never => fact(env.uri, "uri"),
        5 | 6 if env.name != Fact::Never => fact(env.name, "name"),
        _ => literal(env, &Ty::Text, chance),
    }
}

fn fact(fact: Fact, name: &'static str) -> Guarded {
    let mut whole = made(if name == "uri" { "context.uri" } else { "context.name" }, format!("context.{name}"), []);
    if fact == Fact::Guarded {
        whole.guards.push(made("has", format!("context has {name}"), []).piece);
    }
    whole
}

/// `getTag` behind its `hasTag`.
pub fn claim(chance: &mut Chance) -> Guarded {
    let (name, read) = if chance.percent(12) {
        ("context.account".to_owned(), Read::AnyClaim)
    } else {
        let name = *chance.pick(&CLAIMS);
        (quoted(name), Read::Claim(name.to_owned()))
    };
    let computed = read == Read::AnyClaim;
    let mut guard = reading("hasTag", format!("context.claims.hasTag({name})"), Some(read.clone()));
    let mut whole = reading("getTag", format!("context.claims.getTag({name})"), Some(read));
    if computed {
        for side in [&mut guard, &mut whole] {
            side.piece.reads.insert(Read::Account);
            side.piece.kinds.insert("computed tag");
        }
    }
    whole.guards.push(guard.piece);
    whole
}

fn long(env: &Env<'_>, depth: usize, chance: &mut Chance) -> Guarded {
    if depth == 0 || chance.percent(50) {
        return literal(env, &Ty::Long, chance);
    }
    let sort = Sort::Of(Ty::Long);
    let left = value(env, &sort, depth - 1, chance);
    match chance.below(5) {
        0 => made("unary -", format!("(-{})", left.piece.text), [left]),
        1 if chance.percent(50) => {
            let span = value(env, &Sort::Duration, depth - 1, chance);
            let unit = *chance.pick(&["toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"]);
            made("duration in units", format!("{}.{unit}()", span.piece.text), [span])
        }
        _ => {
            let right = value(env, &sort, depth - 1, chance);
            let sign = *chance.pick(&["+", "-", "*"]);
            made(sign, format!("({} {sign} {})", left.piece.text, right.piece.text), [left, right])
        }
    }
}

fn datetime(env: &Env<'_>, depth: usize, chance: &mut Chance) -> Guarded {
    match chance.below(if depth == 0 { 6 } else { 10 }) {
        0..=1 => made("datetime", format!("datetime({})", quoted(&iso(*chance.pick(&env.ground.pools.nows)))), []),
        2 => {
            made("datetime", format!("datetime(\"{}\")", chance.pick(&["2024-02-29", "1970-01-01", "9999-12-31"])), [])
        }
        3..=5 => made("context.now", "context.now".to_owned(), []),
        6 => {
            let at = datetime(env, depth - 1, chance);
            made("toDate", format!("{}.toDate()", at.piece.text), [at])
        }
        _ => {
            let (at, by) = (datetime(env, depth - 1, chance), duration(env, depth - 1, chance));
            made("offset", format!("{}.offset({})", at.piece.text, by.piece.text), [at, by])
        }
    }
}

const DURATIONS: [&str; 9] = ["0ms", "1ms", "-1ms", "9h", "17h", "1d2h3m4s5ms", "-1d", "365d", "106751991167d"];

fn duration(env: &Env<'_>, depth: usize, chance: &mut Chance) -> Guarded {
    match chance.below(if depth == 0 { 2 } else { 5 }) {
        0 | 1 => made("duration", format!("duration(\"{}\")", chance.pick(&DURATIONS)), []),
        2 | 3 => {
            let at = datetime(env, depth - 1, chance);
            made("toTime", format!("{}.toTime()", at.piece.text), [at])
        }
        _ => {
            let (at, since) = (datetime(env, depth - 1, chance), datetime(env, depth - 1, chance));
            made("durationSince", format!("{}.durationSince({})", at.piece.text, since.piece.text), [at, since])
        }
    }
}

/// An address or a network.
pub fn ip(chance: &mut Chance) -> Guarded {
    const IPS: [&str; 12] = [
        "10.0.0.0/8",
        "10.0.0.1",
        "0.0.0.0/0",
        "127.0.0.0/8",
        "192.0.2.0/24",
        "224.0.0.0/4",
        "::1",
        "::/0",
        "2001:db8::/32",
        "::ffff:0:0/96",
        "10.0.0.9/32",
        "ff00::/8",
    ];
    made("ip", format!("ip(\"{}\")", chance.pick(&IPS)), [])
}

/// A literal of a type.
pub fn literal(env: &Env<'_>, ty: &Ty, chance: &mut Chance) -> Guarded {
    let pools = &env.ground.pools;
    match ty {
        Ty::Text => made("string", quoted(chance.pick::<String>(&pools.texts)), []),
        Ty::Long => made("long", chance.pick(&pools.longs).to_string(), []),
        Ty::Bool => made("boolean", chance.percent(50).to_string(), []),
        Ty::Decimal => made("decimal", format!("decimal(\"{}\")", chance.pick(&pools.decimals)), []),
        Ty::Set(element) => {
            let elements: Vec<Guarded> = (0..chance.within(1, 4)).map(|_| literal(env, element, chance)).collect();
            let texts: Vec<&str> = elements.iter().map(|element| element.piece.text.as_str()).collect();
            made("set", format!("[{}]", texts.join(", ")), elements.clone())
        }
        Ty::Record(record) => {
            let present: Vec<_> = record.fields.iter().filter_map(|field| Some((field, field.ty.as_ref()?))).collect();
            let present = present.into_iter().filter(|(field, _)| field.presence == Presence::Required);
            let members: Vec<Guarded> = present
                .map(|(field, ty)| {
                    let value = literal(env, ty, chance);
                    made("record", format!("{}: {}", quoted(&field.name), value.piece.text), [value])
                })
                .collect();
            let texts: Vec<&str> = members.iter().map(|member| member.piece.text.as_str()).collect();
            made("record", format!("{{{}}}", texts.join(", ")), members.clone())
        }
    }
}

/// RFC 3339 in UTC with milliseconds, by the calendar's own arithmetic.
pub fn iso(millis: i64) -> String {
    let (mut day, within) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut year = 1970;
    while day < 0 {
        year -= 1;
        day += if leap(year) { 366 } else { 365 };
    }
    while day >= if leap(year) { 366 } else { 365 } {
        day -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (within / 3_600_000, within / 60_000 % 60, within / 1000 % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", month + 1, day + 1, within % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_by_the_calendar() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_521_600_123, "2026-11-24T12:00:00.123Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ];
        for (millis, expected) in rows {
            assert_eq!(iso(millis), expected);
        }
    }
}
