//! Writes tests of sets that the gateway finds out: open calendars, what SQL does. In: what a rule may read. Out: one test of it. Never here: which are open, what is done.

use crate::chance::Chance;
use crate::rules::{Read, quoted};
use crate::shape::Ty;
use crate::statements::{FUNCTIONS, KINDS};
use crate::values::{self, Guarded, made, reading};
use crate::writer::{Env, Fact, Path};

/// A set that the gateway finds out, and the kinds under which its tests are counted.
struct Subject {
    read: Read,
    /// `context.` and this.
    path: &'static str,
    kind: &'static str,
    contains: &'static str,
    contains_any: &'static str,
    contains_all: &'static str,
    within: &'static str,
    equal: &'static str,
    is_empty: &'static str,
}

const SUBJECTS: [Subject; 4] = [
    Subject {
        read: Read::Calendars,
        path: "calendars",
        kind: "context.calendars",
        contains: "calendars contains",
        contains_any: "calendars containsAny",
        contains_all: "calendars containsAll",
        within: "containsAll calendars",
        equal: "calendars ==",
        is_empty: "calendars isEmpty",
    },
    Subject {
        read: Read::Sql,
        path: "sql.kinds",
        kind: "context.sql.kinds",
        contains: "sql.kinds contains",
        contains_any: "sql.kinds containsAny",
        contains_all: "sql.kinds containsAll",
        within: "containsAll sql.kinds",
        equal: "sql.kinds ==",
        is_empty: "sql.kinds isEmpty",
    },
    Subject {
        read: Read::Sql,
        path: "sql.tables",
        kind: "context.sql.tables",
        contains: "sql.tables contains",
        contains_any: "sql.tables containsAny",
        contains_all: "sql.tables containsAll",
        within: "containsAll sql.tables",
        equal: "sql.tables ==",
        is_empty: "sql.tables isEmpty",
    },
    Subject {
        read: Read::Sql,
        path: "sql.functions",
        kind: "context.sql.functions",
        contains: "sql.functions contains",
        contains_any: "sql.functions containsAny",
        contains_all: "sql.functions containsAll",
        within: "containsAll sql.functions",
        equal: "sql.functions ==",
        is_empty: "sql.functions isEmpty",
    },
];

/// One test; none where the rule can read no such set.
pub fn test(env: &Env<'_>, chance: &mut Chance) -> Option<Guarded> {
    let readable = |subject: &&Subject| match subject.read {
        Read::Calendars => !env.ground.calendars.is_empty(),
        _ => env.sql != Fact::Never,
    };
    let all: Vec<&Subject> = SUBJECTS.iter().filter(readable).collect();
    if all.is_empty() {
        return None;
    }
    if chance.percent(10) {
        return Some(presence(env, chance));
    }
    let subject = *chance.pick(&all);
    Some(about(env, subject, chance))
}

/// `has` of what is always there, and of SQL, which most tools do not take.
fn presence(env: &Env<'_>, chance: &mut Chance) -> Guarded {
    let sql = || reading("context has sql", "context has sql".to_owned(), Some(Read::Sql));
    match chance.below(8) {
        0 if !env.ground.calendars.is_empty() => {
            reading("context has calendars", "context has calendars".to_owned(), Some(Read::Calendars))
        }
        0 | 1 => made("context has claims", "context has claims".to_owned(), []),
        2 => made("context has source", "context has source".to_owned(), []),
        3 => made("context has now", "context has now".to_owned(), []),
        _ if env.sql == Fact::Never => made("context has now", "context has now".to_owned(), []),
        4 | 5 => sql(),
        6 => reading("context has sql.tables", "context has sql.tables".to_owned(), Some(Read::Sql)),
        _ => {
            let mut whole = reading("context.sql has", "context.sql has functions".to_owned(), Some(Read::Sql));
            if env.sql == Fact::Guarded {
                whole.guards.push(sql().piece);
            }
            whole
        }
    }
}

fn value(env: &Env<'_>, subject: &Subject, chance: &mut Chance) -> Guarded {
    let text = match subject.path.split_once('.') {
        Some((outer, inner)) if chance.percent(10) => format!("context[\"{outer}\"].{inner}"),
        _ => format!("context.{}", subject.path),
    };
    let mut whole = reading(subject.kind, text, Some(subject.read.clone()));
    if subject.read == Read::Sql && env.sql == Fact::Guarded {
        let (kind, text) = match chance.below(3) {
            0 => ("context has sql.member", format!("context has {}", subject.path)),
            _ => ("context has sql", "context has sql".to_owned()),
        };
        whole.guards.push(reading(kind, text, Some(Read::Sql)).piece);
    }
    whole
}

fn about(env: &Env<'_>, subject: &Subject, chance: &mut Chance) -> Guarded {
    let own = value(env, subject, chance);
    let on = |kind, left: Guarded, method: &str, right: Guarded| {
        let text = format!("{}.{method}({})", left.piece.text, right.piece.text);
        made(kind, text, [left, right])
    };
    match chance.below(12) {
        0..=3 => on(subject.contains, own, "contains", word(env, subject, chance)),
        4 => on(subject.contains_any, own, "containsAny", other(env, subject, chance)),
        5 => on(subject.contains_any, other(env, subject, chance), "containsAny", own),
        6 => on(subject.contains_all, own, "containsAll", other(env, subject, chance)),
        7 | 8 => on(subject.within, other(env, subject, chance), "containsAll", own),
        9 => made(subject.is_empty, format!("{}.isEmpty()", own.piece.text), [own]),
        _ => {
            let sign = *chance.pick(&["==", "==", "!="]);
            let set = other(env, subject, chance);
            let (left, right) = if chance.percent(70) { (own, set) } else { (set, own) };
            made(subject.equal, format!("{} {sign} {}", left.piece.text, right.piece.text), [left, right])
        }
    }
}

/// A word that can be in the set; the load refuses any other that is written down.
fn known(env: &Env<'_>, subject: &Subject, chance: &mut Chance) -> Guarded {
    let word = match subject.path {
        "calendars" => chance.pick(&env.ground.calendars).name.as_str(),
        "sql.kinds" => chance.pick(&KINDS),
        "sql.tables" => chance.pick::<String>(&env.tables).as_str(),
        _ => chance.pick(&FUNCTIONS),
    };
    made("string", quoted(word), [])
}

/// A word of the set, or one that the call brings.
fn word(env: &Env<'_>, subject: &Subject, chance: &mut Chance) -> Guarded {
    let texts: Vec<&Path> = env.paths.iter().filter(|path| path.ty == Ty::Text).collect();
    match chance.below(10) {
        0 => reading("context.account", "context.account".to_owned(), Some(Read::Account)),
        1 => values::claim(chance),
        2 if !texts.is_empty() => values::path_value(env, chance.pick(&texts), chance),
        _ => known(env, subject, chance),
    }
}

/// A set to compare with.
fn other(env: &Env<'_>, subject: &Subject, chance: &mut Chance) -> Guarded {
    let sets: Vec<&Path> = env.paths.iter().filter(|path| path.ty == Ty::Set(Box::new(Ty::Text))).collect();
    match chance.below(12) {
        0 => made("principal.accounts", "principal.accounts".to_owned(), []),
        1 if !sets.is_empty() => values::path_value(env, chance.pick(&sets), chance),
        2 if subject.read == Read::Sql || env.sql != Fact::Never => value(env, chance.pick(&SUBJECTS[1..]), chance),
        3 => {
            let (one, two) = (known(env, subject, chance), word(env, subject, chance));
            made("set", format!("[{}, {}]", one.piece.text, two.piece.text), [one, two])
        }
        _ => {
            let words: Vec<Guarded> = (0..chance.within(1, 3)).map(|_| known(env, subject, chance)).collect();
            let texts: Vec<&str> = words.iter().map(|word| word.piece.text.as_str()).collect();
            made("set", format!("[{}]", texts.join(", ")), words.clone())
        }
    }
}
