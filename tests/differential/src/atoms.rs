//! Writes conditions about a call. In: what a rule may read. Out: one test of it. Never here: `&&`, `||`, `!`.

use crate::chance::Chance;
use crate::rules::{Read, quoted};
use crate::sets;
use crate::shape::{Presence, Ty};
use crate::values::{self, Guarded, Sort, made, value};
use crate::writer::{self, Env, Path};

/// One test.
pub fn atom(env: &Env<'_>, chance: &mut Chance) -> Guarded {
    if chance.percent(22)
        && let Some(test) = sets::test(env, chance)
    {
        return test;
    }
    if !env.paths.is_empty() && chance.percent(60) {
        let path = chance.pick(&env.paths).clone();
        return about(env, &path, chance);
    }
    match chance.below(26) {
        0..=2 => ordered(env, &Sort::Of(Ty::Long), chance),
        3 | 4 => equal(env, &Sort::Of(Ty::Text), chance),
        5 | 6 => like(value(env, &Sort::Of(Ty::Text), 1, chance), env, chance),
        7 | 8 => among(env, &Ty::Text, chance),
        9 | 10 => ordered(env, &Sort::Datetime, chance),
        11 => ordered(env, &Sort::Duration, chance),
        12..=14 => address(env, chance),
        15..=17 => claims(env, chance),
        18..=20 => accounts(env, chance),
        21 => user(env, chance),
        22 => account(chance),
        23 => conditions(env, chance),
        24 => whole(env, chance),
        _ => equal(env, &Sort::Datetime, chance),
    }
}

/// One test of an argument.
fn about(env: &Env<'_>, path: &Path, chance: &mut Chance) -> Guarded {
    let names: Vec<String> = path.steps.iter().map(|(name, _)| name.clone()).collect();
    if chance.percent(12) {
        return has(env, path, &names, chance);
    }
    let sort = Sort::Of(path.ty.clone());
    match &path.ty {
        Ty::Text => match chance.below(4) {
            0 => among(env, &Ty::Text, chance),
            1 => like(values::path_value(env, path, chance), env, chance),
            _ => compared(values::path_value(env, path, chance), env, &sort, chance),
        },
        Ty::Long if chance.percent(70) => {
            let (left, right) = (values::path_value(env, path, chance), value(env, &sort, 2, chance));
            order(left, right, chance)
        }
        Ty::Decimal if chance.percent(75) => {
            let (left, right) = (values::path_value(env, path, chance), value(env, &sort, 1, chance));
            let method = *chance.pick(&["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"]);
            made(method, format!("{}.{method}({})", left.piece.text, right.piece.text), [left, right])
        }
        Ty::Bool if chance.percent(60) => values::path_value(env, path, chance),
        Ty::Long | Ty::Decimal | Ty::Bool => match chance.below(2) {
            0 => among(env, &path.ty, chance),
            _ => compared(values::path_value(env, path, chance), env, &sort, chance),
        },
        Ty::Set(element) => sets(env, path, element, chance),
        Ty::Record(record) => {
            let fixed = record.fields.iter().all(|field| field.presence == Presence::Required && field.ty.is_some());
            let left = values::path_value(env, path, chance);
            match (fixed, chance.below(3)) {
                (true, 0) => compared(left, env, &sort, chance),
                (true, 1) => {
                    let set = values::literal(env, &Ty::Set(Box::new(path.ty.clone())), chance);
                    made("contains", format!("{}.contains({})", set.piece.text, left.piece.text), [set, left])
                }
                (true, _) | (false, 2) => has(env, path, &names, chance),
                // The same place twice: always equal, but it must be read as a whole.
                (false, _) => {
                    let text = format!("[{}].contains({})", left.piece.text, left.piece.text);
                    made("contains", text, [left])
                }
            }
        }
    }
}

/// `has` of the path's last step, behind the tests of those before it.
fn has(env: &Env<'_>, path: &Path, names: &[String], chance: &mut Chance) -> Guarded {
    let upto = Path { steps: path.steps[..path.steps.len() - 1].to_vec(), ty: path.ty.clone() };
    let mut whole = values::presence(names, chance);
    whole.guards = values::path_guards(env, &upto, chance);
    whole
}

fn compared(left: Guarded, env: &Env<'_>, sort: &Sort, chance: &mut Chance) -> Guarded {
    let right = value(env, sort, 1, chance);
    let sign = *chance.pick(&["==", "==", "!="]);
    made(sign, format!("{} {sign} {}", left.piece.text, right.piece.text), [left, right])
}

fn equal(env: &Env<'_>, sort: &Sort, chance: &mut Chance) -> Guarded {
    let left = value(env, sort, 2, chance);
    compared(left, env, sort, chance)
}

fn order(left: Guarded, right: Guarded, chance: &mut Chance) -> Guarded {
    let sign = *chance.pick(&["<", "<=", ">", ">=", "==", "!="]);
    made(sign, format!("{} {sign} {}", left.piece.text, right.piece.text), [left, right])
}

fn ordered(env: &Env<'_>, sort: &Sort, chance: &mut Chance) -> Guarded {
    let (left, right) = (value(env, sort, 2, chance), value(env, sort, 2, chance));
    order(left, right, chance)
}

/// `like`, with stars that mean anything and stars that mean themselves.
fn like(left: Guarded, env: &Env<'_>, chance: &mut Chance) -> Guarded {
    let letters: Vec<char> = chance.pick(&env.ground.pools.texts).chars().take(40).collect();
    let mut pattern = String::new();
    let mut escaped = false;
    let (mut position, mut stars) = (0, 0);
    while position < letters.len() {
        if chance.percent(25) && stars < 4 {
            pattern.push('*');
            stars += 1;
            position += chance.within(0, 3);
            continue;
        }
        match letters[position] {
            '*' => {
                pattern.push_str("\\*");
                escaped = true;
            }
            other => pattern.push_str(quoted(&other.to_string()).trim_matches('"')),
        }
        if letters[position] == '"' {
            // `trim_matches` took the quotation mark that it stands for.
            pattern.push('"');
        }
        position += 1;
    }
    if chance.percent(30) {
        pattern.push('*');
    }
    let kind = if escaped { "like with \\*" } else { "like" };
    made(kind, format!("{} like \"{pattern}\"", left.piece.text), [left])
}

/// A literal set that contains a value.
fn among(env: &Env<'_>, ty: &Ty, chance: &mut Chance) -> Guarded {
    let set = values::literal(env, &Ty::Set(Box::new(ty.clone())), chance);
    let element = value(env, &Sort::Of(ty.clone()), 1, chance);
    made("contains", format!("{}.contains({})", set.piece.text, element.piece.text), [set, element])
}

fn sets(env: &Env<'_>, path: &Path, element: &Ty, chance: &mut Chance) -> Guarded {
    let own = values::path_value(env, path, chance);
    let sort = Sort::Of(path.ty.clone());
    match chance.below(6) {
        0 => made("isEmpty", format!("{}.isEmpty()", own.piece.text), [own]),
        1 => {
            let one = value(env, &Sort::Of(element.clone()), 1, chance);
            made("contains", format!("{}.contains({})", own.piece.text, one.piece.text), [own, one])
        }
        2 => compared(own, env, &sort, chance),
        other => {
            let method = if other == 3 { "containsAny" } else { "containsAll" };
            let set = value(env, &sort, 1, chance);
            let (left, right) = if chance.percent(50) { (own, set) } else { (set, own) };
            made(method, format!("{}.{method}({})", left.piece.text, right.piece.text), [left, right])
        }
    }
}

fn address(env: &Env<'_>, chance: &mut Chance) -> Guarded {
    let own = value(env, &Sort::Ip, 1, chance);
    match chance.below(6) {
        0 | 1 => {
            let method = *chance.pick(&["isIpv4", "isIpv6", "isLoopback", "isMulticast"]);
            made(method, format!("{}.{method}()", own.piece.text), [own])
        }
        2 => compared(own, env, &Sort::Ip, chance),
        _ => {
            let net = values::ip(chance);
            made("isInRange", format!("{}.isInRange({})", own.piece.text, net.piece.text), [own, net])
        }
    }
}

fn claims(env: &Env<'_>, chance: &mut Chance) -> Guarded {
    let claim = values::claim(chance);
    match chance.below(4) {
        0 => Guarded { piece: claim.guards[0].clone(), guards: Vec::new() },
        1 => like(claim, env, chance),
        _ => compared(claim, env, &Sort::Of(Ty::Text), chance),
    }
}

fn accounts(env: &Env<'_>, chance: &mut Chance) -> Guarded {
    let own = made("principal.accounts", "principal.accounts".to_owned(), []);
    match chance.below(5) {
        0 => made("isEmpty", format!("{}.isEmpty()", own.piece.text), [own]),
        1 => {
            let set = value(env, &Sort::Of(Ty::Set(Box::new(Ty::Text))), 1, chance);
            let method = *chance.pick(&["containsAll", "containsAny"]);
            made(method, format!("{}.{method}({})", own.piece.text, set.piece.text), [own, set])
        }
        2 => {
            let one = value(env, &Sort::Of(Ty::Text), 1, chance);
            made("contains", format!("{}.contains({})", own.piece.text, one.piece.text), [own, one])
        }
        _ => {
            let mut account = made("context.account", "context.account".to_owned(), []);
            account.piece.reads.insert(Read::Account);
            made("contains", format!("{}.contains(context.account)", own.piece.text), [own, account])
        }
    }
}

fn user(env: &Env<'_>, chance: &mut Chance) -> Guarded {
    let has = made("has", "principal has user".to_owned(), []);
    if chance.percent(40) {
        return has;
    }
    let own = made("principal.user", "principal.user".to_owned(), []);
    let mut whole = compared(own, env, &Sort::Of(Ty::Text), chance);
    whole.guards.insert(0, has.piece);
    whole
}

/// The schema says that an account is always there; a call may still lack one.
fn account(chance: &mut Chance) -> Guarded {
    let mut whole = made("has", "context has account".to_owned(), []);
    if chance.percent(70) {
        whole = made("context.account", "context.account == \"c1\"".to_owned(), []);
    }
    whole.piece.reads.insert(Read::Account);
    whole
}

/// Two conditions that agree, or not.
fn conditions(env: &Env<'_>, chance: &mut Chance) -> Guarded {
    let (left, right) = (writer::cond(env, 1, chance).piece(), writer::cond(env, 1, chance).piece());
    let text = format!("{} == {}", left.text, right.text);
    made("== of conditions", text, [left, right].map(|piece| Guarded { piece, guards: Vec::new() }))
}

/// All arguments at once.
fn whole(env: &Env<'_>, chance: &mut Chance) -> Guarded {
    if env.paths.is_empty() || chance.percent(40) {
        return made("now twice", "[context.now, context.now].contains(context.now)".to_owned(), []);
    }
    let mut whole = made("whole input", "[context.input].contains(context.input)".to_owned(), []);
    whole.piece.reads.insert(Read::Value(Vec::new()));
    if env.input_guarded {
        whole.guards.push(made("has", "context has input".to_owned(), []).piece);
    }
    whole
}
