//! Compares one world. In: a seed. Out: what was met, and the first mismatch with all it takes to see it again. Never here: many worlds.

use std::fmt::Write;
use std::sync::Arc;

use portcullis_core::protocol::json::{Document, JsonLimits, Scratch, Value, read};

use crate::asks::{Ask, ask};
use crate::calendars;
use crate::chance::Chance;
use crate::convert;
use crate::ground::{Column, Ground};
use crate::oracle::{Expected, Oracle, Prepared};
use crate::rules::{Action, Effect, Principal, Read, Resource, Rule};
use crate::subject::{Got, Refused, Stage, Subject};
use crate::tally::Tally;
use crate::writer;

/// One world to compare.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its seed.
    pub seed: u64,
    /// Questions.
    pub cases: u64,
    /// What is wrong with the engine on purpose.
    pub fault: Fault,
}

/// What is wrong on purpose, to prove that it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The engine is loaded without the last rule.
    RuleLost,
    /// The engine's first determining rule is not named.
    ReasonLost,
    /// A forbid that errs is skipped, as Cedar itself would.
    ErringForbidSkipped,
    /// Lists are empty.
    ListsEmpty,
    /// The engine's calendars never open.
    CalendarsShut,
    /// The engine takes all tables for those of another schema.
    TablesElsewhere,
}

/// Names of this file's limits: most decisions name this many rules at most.
const NAMED_MAX: usize = 16;

/// Distinct questions of a world; each is asked by several agents and users.
const QUESTIONS_MAX: u64 = 512;

struct World {
    ground: Ground,
    stage: Arc<Stage>,
    rules: Vec<Rule>,
    subject: Subject,
}

/// Compares a world.
pub fn world(plan: Plan) -> Tally {
    let mut tally = Tally { worlds: 1, ..Tally::default() };
    let mut chance = Chance::new(plan.seed);
    let ground = Ground::new(&mut chance);
    let rules = writer::rules(&ground, &mut chance);
    match load(ground, rules, plan.fault, &mut tally) {
        Ok(world) => cases(&world, plan, &mut chance, &mut tally),
        Err(words) => tally.mismatches.push(format!("the world of seed {} is refused: {words}", plan.seed)),
    }
    tally
}

/// Loads a world without the rules that the load refuses.
fn load(ground: Ground, mut rules: Vec<Rule>, fault: Fault, tally: &mut Tally) -> Result<World, String> {
    tally.written += rules.len() as u64;
    let stage = Arc::new(staged(&ground, fault));
    loop {
        match loaded(&ground, &stage, &rules, fault) {
            Ok(subject) => return Ok(World { ground, stage, rules, subject }),
            Err(refused) if refused.rules.is_empty() => return Err(refused.others.join("\n")),
            Err(refused) => {
                tally.refused += refused.rules.len() as u64;
                for (rule, words) in refused.rules.into_iter().rev() {
                    if tally.refusals.len() < 2 {
                        tally.refusals.push(format!("{words}: {}", rules[rule].text()));
                    }
                    rules.remove(rule);
                }
            }
        }
    }
}

fn staged(ground: &Ground, fault: Fault) -> Stage {
    let stage = Stage::new(ground);
    match fault {
        Fault::CalendarsShut => stage.with_calendars_shut(ground),
        Fault::TablesElsewhere => stage.with_tables_elsewhere(),
        Fault::None | Fault::RuleLost | Fault::ReasonLost | Fault::ErringForbidSkipped | Fault::ListsEmpty => stage,
    }
}

fn loaded(ground: &Ground, stage: &Arc<Stage>, rules: &[Rule], fault: Fault) -> Result<Subject, Refused> {
    let whole = Subject::load(ground, stage, rules)?;
    match fault {
        Fault::RuleLost => Subject::load(ground, stage, &rules[..rules.len().saturating_sub(1)]),
        Fault::None | Fault::ReasonLost | Fault::ErringForbidSkipped | Fault::ListsEmpty => Ok(whole),
        Fault::CalendarsShut | Fault::TablesElsewhere => Ok(whole),
    }
}

fn cases(world: &World, plan: Plan, chance: &mut Chance, tally: &mut Tally) {
    let oracle = Oracle::new(&world.ground, &world.rules);
    let asks: Vec<Ask> = (0..(plan.cases / 4).clamp(1, QUESTIONS_MAX)).map(|_| ask(&world.ground, chance)).collect();
    let prepared: Vec<Prepared> = asks.iter().map(|ask| oracle.prepare(ask)).collect();
    let mut scratches: Vec<Scratch> = asks.iter().map(|_| Scratch::new()).collect();
    let documents: Vec<Option<Document<'_>>> =
        asks.iter().zip(&mut scratches).map(|(ask, scratch)| document(ask, scratch)).collect();
    let columns: Vec<Option<usize>> = asks.iter().map(|ask| column_of(&world.ground, ask)).collect();
    let agents = world.ground.agents.len();
    let mut put = vec![0_u64; agents * asks.len()];
    let mut permitted = vec![false; agents * world.ground.columns.len()];
    for _ in 0..plan.cases {
        let (number, who) = (chance.below(asks.len()), (chance.below(agents), chance.below(world.ground.users.len())));
        let (ask, arguments) = (&asks[number], documents[number].as_ref().map(Document::root));
        let expected = oracle.decide(ask, &prepared[number], who.0, who.1);
        let (got, evaluator) = world.subject.decide(&world.ground, ask, arguments, who);
        let got = faulty(got, plan.fault);
        tally.cases += 1;
        put[number * agents + who.0] += 1;
        if !agree(&expected, &got) {
            tally.mismatches.push(told(world, plan, ask, who));
            return;
        }
        *tally.outcomes.entry(outcome(&expected, &got)).or_default() += 1;
        *tally.evaluators.entry(evaluator).or_default() += 1;
        if let (Some(column), Some(tool), Got::Allowed(..)) = (columns[number], tool_of(ask), &got)
            && !std::mem::replace(&mut permitted[who.0 * world.ground.columns.len() + column], true)
        {
            tally.listed += 1;
            if plan.fault == Fault::ListsEmpty || !world.subject.lists(&world.ground, ask, who.0, tool) {
                tally.mismatches.push(format!(
                    "a call was permitted of a tool that is not listed\n{}",
                    told(world, plan, ask, who)
                ));
                return;
            }
        }
    }
    let mut met = vec![vec![0_u64; world.ground.columns.len()]; agents];
    for (position, cases) in put.into_iter().enumerate().filter(|(_, cases)| *cases > 0) {
        let (number, agent) = (position / agents, position % agents);
        *tally.calls.entry(asks[number].call.name()).or_default() += cases;
        let Some(column) = columns[number] else { continue };
        met[agent][column] += cases;
        for fact in oracle.facts((&asks[number], &prepared[number]), agent, column) {
            *tally.facts.entry(fact).or_default() += cases;
        }
    }
    exercised(world, &oracle, &met, tally);
}

fn tool_of(ask: &Ask) -> Option<usize> {
    match ask.call {
        crate::asks::Call::Tool(tool) => Some(tool),
        _ => None,
    }
}

fn column_of(ground: &Ground, ask: &Ask) -> Option<usize> {
    use crate::asks::Call;
    use crate::ground::Kind;
    let wanted = |column: &Column| match &ask.call {
        Call::Connect => column.kind == Kind::Connect,
        Call::Tool(tool) => column.kind == Kind::Tool(*tool),
        Call::Resource(_) | Call::CompleteResource(_) => column.kind == Kind::Resource,
        Call::Prompt(_) | Call::CompletePrompt(_) => column.kind == Kind::Prompt,
        Call::Task(_) => column.kind == Kind::Task,
        Call::Sample => column.action == "upstream.sample",
        Call::Elicit => column.action == "upstream.elicit",
        Call::Roots => column.action == "upstream.roots",
        Call::Extension(method) => column.action == *method,
    };
    ground.column(ask.server, wanted)
}

/// A body is read as the gateway reads it; what the generator writes is always readable.
fn document<'s>(ask: &Ask, scratch: &'s mut Scratch) -> Option<Document<'s>> {
    ask.arguments.as_ref()?;
    let limits = JsonLimits { bytes_max: 1 << 20, depth_max: 64 };
    Some(read(scratch, ask.body.as_bytes(), &limits).unwrap_or_else(|error| panic!("{error}: {}", ask.body)))
}

fn faulty(got: Got, fault: Fault) -> Got {
    match (fault, got) {
        (Fault::ReasonLost, Got::Allowed(rules, total)) if rules.len() > 1 => Got::Allowed(rules[1..].to_vec(), total),
        (Fault::ErringForbidSkipped, Got::Denied("rule_error", ..)) => Got::Denied("no_rule", Vec::new(), 0, None),
        (_, got) => got,
    }
}

/// Is this what it had to be: the decision, its cause, and the rules that determine it?
fn agree(expected: &Expected, got: &Got) -> bool {
    let same = |all: &[u32], named: &[u32], total: u32| {
        named == &all[..all.len().min(NAMED_MAX)] && total as usize == all.len()
    };
    match (expected, got) {
        (Expected::Allowed(rules), Got::Allowed(named, total)) => same(rules, named, *total),
        (Expected::Implied(rules), Got::Allowed(named, total)) if rules.len() <= NAMED_MAX => {
            same(rules, named, *total)
        }
        (Expected::Implied(rules), Got::Allowed(named, _)) => {
            named.len() == NAMED_MAX && named.iter().all(|rule| rules.contains(rule))
        }
        (Expected::Denied(cause, rules), Got::Denied(got, named, total, None)) => {
            cause == got && same(rules, named, *total)
        }
        (Expected::Unfit(misfits), Got::Denied(got, named, _, pointer)) => {
            named.is_empty() && misfits.iter().any(|(cause, place)| cause == got && place == pointer)
        }
        _ => false,
    }
}

/// The name of a decision that both agree on.
fn outcome(expected: &Expected, got: &Got) -> &'static str {
    match (expected, got) {
        (Expected::Implied(_), Got::Allowed(..)) => "implied",
        (_, Got::Allowed(..)) => "allowed",
        (_, Got::Denied(cause, ..)) => cause,
    }
}

/// Adds up which kinds of expression were in question how often.
fn exercised(world: &World, oracle: &Oracle<'_>, met: &[Vec<u64>], tally: &mut Tally) {
    let kinds: Vec<Vec<&'static str>> = world.rules.iter().map(kinds).collect();
    for kind in kinds.iter().flatten() {
        tally.expressions.entry(kind).or_default().0 += 1;
    }
    for (agent, columns) in met.iter().enumerate() {
        for (column, cases) in columns.iter().enumerate() {
            let live = &oracle.cell(agent, column).live;
            let mut own: Vec<&'static str> = live.iter().flat_map(|rule| kinds[*rule as usize].clone()).collect();
            own.sort_unstable();
            own.dedup();
            for kind in own {
                tally.expressions.entry(kind).or_default().1 += cases;
            }
        }
    }
}

fn kinds(rule: &Rule) -> Vec<&'static str> {
    let principal = match &rule.principal {
        Principal::Any => "scope any principal",
        Principal::Is => "scope principal is",
        Principal::Eq(_) => "scope principal ==",
        Principal::In(_) => "scope principal in",
        Principal::IsIn(_) => "scope principal is in",
    };
    let action = match &rule.action {
        Action::Any => "scope any action",
        Action::Eq(_) => "scope action ==",
        Action::In(_) => "scope action in",
        Action::InAny(_) => "scope action in set",
    };
    let resource = match &rule.resource {
        Resource::Any => "scope any resource",
        Resource::Is => "scope resource is",
        Resource::Eq(_) => "scope resource ==",
        Resource::In(_) | Resource::IsIn(_) => "scope resource in",
    };
    rule.kinds().into_iter().chain([principal, action, resource]).collect()
}

/// The answers to one question with some of the rules; none where they do not load.
fn asked(world: &World, rules: &[Rule], fault: Fault, ask: &Ask, who: (usize, usize)) -> Option<(Expected, Got)> {
    let ground = &world.ground;
    let subject = loaded(ground, &world.stage, rules, fault).ok()?;
    let oracle = Oracle::new(ground, rules);
    let mut scratch = Scratch::new();
    let document = document(ask, &mut scratch);
    let arguments: Option<Value<'_>> = document.as_ref().map(Document::root);
    let got = faulty(subject.decide(ground, ask, arguments, who).0, fault);
    Some((oracle.decide(ask, &oracle.prepare(ask), who.0, who.1), got))
}

/// Given, when, expected, got: with as few rules as still show it.
fn told(world: &World, plan: Plan, ask: &Ask, who: (usize, usize)) -> String {
    let differs =
        |rules: &[Rule]| asked(world, rules, plan.fault, ask, who).filter(|(expected, got)| !agree(expected, got));
    let mut rules = world.rules.clone();
    for position in (0..rules.len()).rev() {
        let mut fewer = rules.clone();
        fewer.remove(position);
        if differs(&fewer).is_some() {
            rules = fewer;
        }
    }
    for position in 0..rules.len() {
        while !rules[position].clauses.is_empty() {
            let mut shorter = rules.clone();
            shorter[position].clauses.pop();
            if differs(&shorter).is_none() {
                break;
            }
            rules = shorter;
        }
    }
    let (ground, answers) = (&world.ground, asked(world, &rules, plan.fault, ask, who));
    let agent = &ground.agents[who.0];
    let mut out = String::from("given\n");
    for (number, rule) in rules.iter().enumerate() {
        let effect = if rule.effect == Effect::Permit { 'p' } else { 'f' };
        writeln!(out, "  {effect}{number} {}", rule.text()).unwrap();
    }
    if rules.iter().any(|rule| rule.reads().contains(&Read::Calendars)) {
        let open = ground.calendars.iter().filter(|calendar| calendar.is_open(ask.now));
        let open: Vec<&str> = open.map(|calendar| calendar.name.as_str()).collect();
        writeln!(out, "  {}  open {open:?}", calendars::file(&ground.calendars)).unwrap();
    }
    let server = &ground.servers[ask.server];
    if let Some(tool) = tool_of(ask) {
        let tool = &server.tools[tool];
        writeln!(out, "  tool {} {} types {:?} account {:?}", tool.name, tool.definition, tool.types, tool.account)
            .unwrap();
        writeln!(out, "  groups {:?} input {:?}", tool.groups, tool.input).unwrap();
        if let Some(sql) = &tool.sql {
            let facts = convert::statement(sql, ask.arguments.as_ref());
            writeln!(out, "  sql {:?} does {facts:?}", crate::subject::sql_rules(sql)).unwrap();
        }
    }
    writeln!(
        out,
        "  {agent:?} user {:?} token {:?} account {:?}",
        ground.users[who.1], ground.tokens[ask.token], ask.account
    )
    .unwrap();
    writeln!(out, "when\n  {} {:?} {} at {} from {}", server.name, ask.call, ask.body, ask.now, ask.source).unwrap();
    let (expected, got) = answers
        .map_or(("-".to_owned(), "-".to_owned()), |(expected, got)| (format!("{expected:?}"), format!("{got:?}")));
    writeln!(out, "expect\n  {expected}\ngot\n  {got}").unwrap();
    write!(
        out,
        "repeat\n  cargo xtask differential --seed {} --cases {} --per-world {}",
        plan.seed, plan.cases, plan.cases
    )
    .unwrap();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fault: Fault, worlds: u64) -> Tally {
        let mut whole = Tally::default();
        for seed in 1..=worlds {
            whole.add(world(Plan { seed, cases: 100, fault }));
            if fault != Fault::None && !whole.mismatches.is_empty() {
                break;
            }
        }
        whole
    }

    #[test]
    fn an_engine_that_is_broken_on_purpose_is_found_out() {
        for (fault, worlds) in [
            (Fault::RuleLost, 12),
            (Fault::ReasonLost, 12),
            (Fault::ErringForbidSkipped, 12),
            (Fault::ListsEmpty, 12),
            (Fault::CalendarsShut, 24),
            (Fault::TablesElsewhere, 48),
        ] {
            let found = check(fault, worlds).mismatches;
            assert!(!found.is_empty(), "{fault:?} was not seen in {worlds} worlds");
            assert!(found.iter().all(|told| told.contains("repeat\n  cargo xtask differential --seed ")), "{found:?}");
        }
    }

    #[test]
    fn the_engine_decides_as_cedar_does() {
        let whole = check(Fault::None, 12);
        assert!(whole.mismatches.is_empty(), "{}", whole.mismatches.join("\n\n"));
        assert_eq!(whole.gaps(crate::tally::Length::Short), Vec::<String>::new());
    }

    #[test]
    fn a_seed_makes_the_same_world_again() {
        let plan = Plan { seed: 11, cases: 50, fault: Fault::None };
        assert_eq!(world(plan).json(), world(plan).json());
    }
}
