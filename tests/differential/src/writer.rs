//! Writes rules. In: the ground, chance. Out: rules that say something about it, most of them valid. Never here: judging.

use crate::atoms;
use crate::chance::Chance;
use crate::ground::{Column, Ground, Kind};
use crate::rules::{Action, Cond, Effect, Known, Piece, Principal, Resource, Rule, Sign, Uid, Word};
use crate::shape::{Presence, Record, Ty};
use crate::statements::{SCHEMA, Sql, TABLES};

/// What a rule may read, by what it covers.
pub struct Env<'g> {
    /// The ground.
    pub ground: &'g Ground,
    /// Paths into the arguments that have one type wherever they are declared.
    pub paths: Vec<Path>,
    /// Whether some action it covers is no tool's, so that `context has input` must come first.
    pub input_guarded: bool,
    /// How `context.uri` can be read.
    pub uri: Fact,
    /// How `context.name` can be read.
    pub name: Fact,
    /// How `context.sql` can be read.
    pub sql: Fact,
    /// Tables as every covered tool that takes SQL may name them.
    pub tables: Vec<String>,
}

/// How a fact can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It is always there.
    Always,
    /// It may be missing.
    Guarded,
    /// No action that the rule covers has it.
    Never,
}

/// A path into the arguments.
#[derive(Clone, Debug)]
pub struct Path {
    /// Its steps; each whether it may be missing.
    pub steps: Vec<(String, bool)>,
    /// The type at its end.
    pub ty: Ty,
}

/// All rules of one world.
pub fn rules(ground: &Ground, chance: &mut Chance) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for _ in 0..chance.within(0, 2) {
        // Something must be permitted for a forbid to matter.
        let mut broad = rule(ground, Effect::Permit, chance);
        broad.principal = principal(ground, chance);
        broad.clauses.clear();
        rules.push(broad);
    }
    for _ in 0..chance.within(2, 9) {
        let effect = if chance.percent(60) { Effect::Permit } else { Effect::Forbid };
        rules.push(rule(ground, effect, chance));
    }
    if chance.percent(3) {
        // More than a decision can name.
        let again = rule(ground, Effect::Permit, chance);
        rules.extend(std::iter::repeat_n(again, 18));
    }
    rules
}

fn rule(ground: &Ground, effect: Effect, chance: &mut Chance) -> Rule {
    let action = action(ground, chance);
    let resource = resource(ground, chance);
    let mut rule = Rule { effect, principal: principal(ground, chance), action, resource, clauses: Vec::new() };
    let env = env(ground, &rule);
    for _ in 0..*chance.pick(&[0, 1, 1, 1, 2, 3]) {
        let word = if chance.percent(65) { Word::When } else { Word::Unless };
        let depth = chance.within(0, 3);
        rule.clauses.push((word, cond(&env, depth, chance)));
    }
    rule
}

fn group_or_agent(ground: &Ground, chance: &mut Chance) -> Uid {
    if ground.groups.is_empty() || chance.percent(15) {
        return ("Agent", chance.pick(&ground.agents).id.clone());
    }
    ("Group", chance.pick(&ground.groups).clone())
}

fn principal(ground: &Ground, chance: &mut Chance) -> Principal {
    match chance.below(10) {
        0..=3 => Principal::Any,
        4 => Principal::Is,
        5 => Principal::Eq(("Agent", chance.pick(&ground.agents).id.clone())),
        6..=8 => Principal::In(group_or_agent(ground, chance)),
        _ => Principal::IsIn(group_or_agent(ground, chance)),
    }
}

/// An action or a group of actions.
fn some_action(ground: &Ground, chance: &mut Chance) -> String {
    let groups: Vec<&String> = ground.columns.iter().flat_map(|column| &column.groups).collect();
    match chance.below(3) {
        0 if !groups.is_empty() => (*chance.pick(&groups)).clone(),
        _ => one_action(ground, chance),
    }
}

fn one_action(ground: &Ground, chance: &mut Chance) -> String {
    let tools: Vec<&Column> =
        ground.columns.iter().filter(|column| matches!(column.kind, Kind::Tool(_)) || chance.percent(25)).collect();
    chance.pick(&tools).action.clone()
}

fn action(ground: &Ground, chance: &mut Chance) -> Action {
    match chance.below(10) {
        0 | 1 => Action::Any,
        2..=5 => Action::Eq(one_action(ground, chance)),
        6..=8 => Action::In(some_action(ground, chance)),
        _ => Action::InAny((0..chance.within(1, 3)).map(|_| some_action(ground, chance)).collect()),
    }
}

fn resource(ground: &Ground, chance: &mut Chance) -> Resource {
    let name = chance.pick(&ground.servers).name.clone();
    match chance.below(12) {
        0..=6 => Resource::Any,
        7 => Resource::Is,
        8 | 9 => Resource::Eq(name),
        10 => Resource::In(name),
        _ => Resource::IsIn(name),
    }
}

/// What a rule with this scope may read.
fn env<'g>(ground: &'g Ground, rule: &Rule) -> Env<'g> {
    let reached = |column: &Column| {
        let server = &ground.servers[column.server].name;
        ground
            .agents
            .iter()
            .any(|agent| Rule { principal: Principal::Any, ..rule.clone() }.matches(agent, column, server))
    };
    let covered: Vec<usize> = (0..ground.columns.len()).filter(|column| reached(&ground.columns[*column])).collect();
    let inputs: Vec<&Record> =
        covered.iter().filter_map(|column| ground.tool(*column)).map(|tool| &tool.input).collect();
    let fact = |holder: Kind| {
        let own = |kind: &Kind| *kind == holder;
        let kinds: Vec<Kind> = covered.iter().map(|column| ground.columns[*column].kind).collect();
        match (kinds.iter().all(own), kinds.iter().any(|kind| own(kind) || *kind == Kind::Complete)) {
            (true, true) => Fact::Always,
            (_, true) => Fact::Guarded,
            (_, false) => Fact::Never,
        }
    };
    let taking: Vec<&Sql> =
        covered.iter().filter_map(|column| ground.tool(*column)).filter_map(|tool| tool.sql.as_ref()).collect();
    Env {
        ground,
        paths: paths(&inputs),
        input_guarded: inputs.len() < covered.len(),
        uri: fact(Kind::Resource),
        name: fact(Kind::Prompt),
        sql: match taking.len() {
            0 => Fact::Never,
            some if some == covered.len() => Fact::Always,
            _ => Fact::Guarded,
        },
        tables: tables(&taking),
    }
}

/// Names of tables: with a schema, and without one unless no tool knows such names. All in lower case: a rule over other names may not load.
fn tables(taking: &[&Sql]) -> Vec<String> {
    let plain = TABLES.into_iter().map(String::from).filter(|_| taking.iter().any(|sql| sql.schema.is_none()));
    TABLES.into_iter().map(|table| format!("{SCHEMA}.{table}")).chain(plain).collect()
}

/// The paths that have the same type in every input that declares them.
fn paths(inputs: &[&Record]) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    for input in inputs {
        for field in &input.fields {
            let same = |other: &&Record| other.field(&field.name).is_none_or(|other| other.ty == field.ty);
            let known = paths.iter().any(|path| path.steps[0].0 == field.name);
            let Some(ty) = field.ty.as_ref().filter(|_| !known && inputs.iter().all(same)) else { continue };
            let required =
                |input: &&Record| input.field(&field.name).is_some_and(|own| own.presence == Presence::Required);
            below(&[(field.name.clone(), !inputs.iter().all(required))], ty, &mut paths);
        }
    }
    paths
}

fn below(upto: &[(String, bool)], ty: &Ty, paths: &mut Vec<Path>) {
    paths.push(Path { steps: upto.to_vec(), ty: ty.clone() });
    if let Ty::Record(record) = ty {
        for field in &record.fields {
            if let Some(ty) = &field.ty {
                let mut steps = upto.to_vec();
                steps.push((field.name.clone(), field.presence != Presence::Required));
                below(&steps, ty, paths);
            }
        }
    }
}

/// A condition at most `depth` deep.
pub fn cond(env: &Env<'_>, depth: usize, chance: &mut Chance) -> Cond {
    let deeper = |chance: &mut Chance| Box::new(cond(env, depth - 1, chance));
    match if depth == 0 { 0 } else { chance.below(100) } {
        0..=24 => leaf(env, chance),
        25..=49 => Cond::And(deeper(chance), deeper(chance)),
        50..=69 => Cond::Or(deeper(chance), deeper(chance)),
        70..=84 => Cond::Not(deeper(chance)),
        _ => Cond::If(deeper(chance), deeper(chance), deeper(chance)),
    }
}

fn leaf(env: &Env<'_>, chance: &mut Chance) -> Cond {
    match chance.below(100) {
        0..=17 => Cond::Known(known(env.ground, chance)),
        18..=20 => Cond::Const(chance.percent(50)),
        _ => {
            let guarded = atoms::atom(env, chance);
            let inner = Cond::Atom(guarded.piece);
            // A guard that does not hold: false, or another answer.
            let chain = |other: Option<Cond>, inner: Cond| {
                guarded.guards.iter().rev().fold(inner, |inner, guard: &Piece| {
                    let guard = Box::new(Cond::Atom(guard.clone()));
                    match &other {
                        None => Cond::And(guard, Box::new(inner)),
                        Some(other) => Cond::If(guard, Box::new(inner), Box::new(other.clone())),
                    }
                })
            };
            let other = chance.percent(25).then(|| Cond::Const(chance.percent(60)));
            chain(other, inner)
        }
    }
}

fn known(ground: &Ground, chance: &mut Chance) -> Known {
    let sign = |chance: &mut Chance| if chance.percent(75) { Sign::Equal } else { Sign::Unequal };
    let agent = |chance: &mut Chance| chance.pick(&ground.agents).id.clone();
    match chance.below(20) {
        0 => Known::PrincipalIs(["Agent", "Agent", "Group"][chance.below(3)]),
        1..=4 => Known::PrincipalEq(agent(chance), sign(chance)),
        5..=9 => Known::PrincipalIn((0..chance.within(1, 2)).map(|_| group_or_agent(ground, chance)).collect()),
        10 => Known::PrincipalIsIn(group_or_agent(ground, chance)),
        11..=13 => Known::ActionEq(one_action(ground, chance), sign(chance)),
        14..=16 => Known::ActionIn((0..chance.within(1, 2)).map(|_| some_action(ground, chance)).collect()),
        _ => Known::ResourceEq(chance.pick(&ground.servers).name.clone(), sign(chance)),
    }
}
