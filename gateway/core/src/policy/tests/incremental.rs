//! An engine that is built after another is the one that is built from nothing: random worlds, random edits, and after each edit both are compared
//! in all that they decide, name, say and hold.

mod world;

use self::world::{Chance, World};
use super::*;
use crate::policy::duty::Arguments;
use crate::policy::spread::Spread;
use crate::policy::surface::{ServerIndex, Subject};

/// Worlds, and edits of each. A round takes some ten milliseconds unoptimised.
const WORLDS: u64 = 12;
const EDITS: usize = 40;

/// Parts in an order of their own, so that nothing can lean on it.
fn backwards(parts: usize, work: &(dyn Fn(usize) + Sync)) {
    (0..parts).rev().for_each(work);
}

/// What engines say of every agent on every action.
fn decisions(world: &World, engine: &Engine) -> Vec<String> {
    const ARGUMENTS: [&str; 4] = [
        r#"{"table": "a", "limit": 3}"#,
        r#"{"table": "b", "sql": "select x from t1", "amount": 2.5}"#,
        r#"{"table": 7, "sql": "drop table t1"}"#,
        r#"{}"#,
    ];
    let mut said = Vec::new();
    let claims = [("role".into(), ClaimValue::Text("lead".into()))];
    for (position, (agent, _, _)) in world.agents.iter().enumerate() {
        for (server, (name, tools)) in (0..).map(ServerIndex).zip(&world.servers) {
            let account = (position % 2 == 0).then_some("c1");
            let who = Who {
                agent: AgentIndex(position as u32),
                id: agent,
                user: None,
                account,
                claims: Claims::Listed(&claims),
            };
            let asker = (agent.as_str(), name.as_str(), server);
            let mut asked = vec![
                ("connect".to_owned(), Action::Connect, None, world::NOON),
                ("read".to_owned(), Action::ResourceRead { uri: "file:///a" }, None, world::NOON),
                ("prompt".to_owned(), Action::PromptGet { name: "a" }, None, world::NOON),
                ("task".to_owned(), Action::Task { tool: None }, None, world::NOON),
                ("sample".to_owned(), Action::Sample, None, world::NOON),
            ];
            for tool in tools.keys() {
                let index = engine.tool(server, tool).unwrap();
                let calls = ARGUMENTS.map(|text| (tool.clone(), Action::Tool(index), Some(text), world::NOON));
                asked.extend(calls);
                asked.push((tool.clone(), Action::Tool(index), Some(ARGUMENTS[0]), world::NIGHT));
                let label = engine.label(server, Subject::Tool(index));
                said.push(format!("{agent} {label:?} {:?}", engine.lists(&who, server, index)));
            }
            said.extend(asked.into_iter().map(|call| decision(engine, (&who, asker), call)));
        }
    }
    said
}

/// What is decided of one call, by what, and what it obliges to.
fn decision(
    engine: &Engine,
    (who, (agent, name, server)): (&Who<'_>, (&str, &str, ServerIndex)),
    (what, action, arguments, now): (String, Action<'_>, Option<&str>, i64),
) -> String {
    let mut scratch = Scratch::new();
    let limits = JsonLimits { bytes_max: 1 << 20, depth_max: 32 };
    let document = arguments.map(|text| read(&mut scratch, text.as_bytes(), &limits).unwrap());
    let facts = Facts {
        arguments: document.as_ref().map(|document| document.root()),
        source: "10.1.2.3".parse().unwrap(),
        now: UnixMillis(now),
    };
    let decided = engine.decide(who, server, action, &facts);
    let (total, evaluator) = match &decided {
        Ok(permit) => (permit.determining().total(), permit.evaluator()),
        Err(denial) => (denial.determining().total(), denial.evaluator()),
    };
    let obliged: Vec<String> = match (&decided, action) {
        (Ok(permit), Action::Tool(tool)) => {
            let obligations = engine.obligations(permit, tool);
            let pointers = obligations.redactions().map(|pointer| format!("{pointer:?}"));
            obligations.ids().map(str::to_owned).chain(pointers).collect()
        }
        _ => Vec::new(),
    };
    let results = match action {
        Action::Tool(tool) => engine.results(who, (server, tool), &facts, Arguments::Known),
        _ => None,
    };
    let mut scratch = Scratch::new();
    let brought = read(&mut scratch, br#"{"total": 5}"#, &limits).unwrap();
    let judged = results.map(|results| format!("{:?}", results.judge(Some(brought.root()))));
    let outcome = outcome(engine, &decided);
    format!("{agent} {name} {what} {now}: {outcome} {total} {evaluator:?} {obliged:?} {judged:?}")
}

/// All else: rules with their places and annotations, warnings, what is slow, the hash, and the index itself.
fn held(engine: &Engine) -> Vec<String> {
    let rules = (0_u32..).zip(engine.policy_ids()).map(|(rule, id)| {
        let place = engine.place(rule);
        format!("{rule} {id} {place:?} {:?} {:?}", engine.annotation(rule, "owner"), engine.effect(rule))
    });
    let warnings = engine.warnings().iter().map(ToString::to_string);
    let slow = engine.slow().map(|slow| format!("{slow:?}"));
    let sizes = format!("{:?} {} {:?}", engine.sizes(), engine.slow_cells(), engine.hash());
    rules.chain(warnings).chain(slow).chain([sizes]).chain(engine.index.cells.iter().map(cell)).collect()
}

/// A cell with its conditions and plans, those left to Cedar by their rules.
fn cell(cell: &crate::policy::cell::Cell) -> String {
    use crate::policy::cell::{Verdict, Way};
    let Verdict::Program(program) = &cell.verdict else { return format!("{cell:?}") };
    let way = match &program.way {
        Way::Residuals(residuals) => format!("{residuals:?}"),
        Way::Cedar(set) => {
            let mut rules: Vec<String> =
                set.policies().map(|rule| format!("{} {}", rule.id(), rule.to_cedar().unwrap_or_default())).collect();
            rules.sort();
            rules.join("\n")
        }
    };
    format!("{:?} {:?} {:?} {way} {:?}", cell.permits, cell.visibility, program.plan, program.otherwise)
}

#[track_caller]
fn same(ours: &[String], theirs: &[String], world: &World, edits: &[String]) {
    let differs = ours.iter().zip(theirs).find(|(ours, theirs)| ours != theirs);
    assert!(
        differs.is_none() && ours.len() == theirs.len(),
        "after {edits:#?}\n{differs:#?}\n{} and {} lines\n{world:#?}",
        ours.len(),
        theirs.len()
    );
}

#[test]
fn an_engine_built_after_another_is_the_one_built_from_nothing() {
    let (mut loaded, mut refused) = (0, 0);
    for seed in 0..WORLDS {
        let mut chance = Chance::new(seed);
        let mut world = World::new(&mut chance);
        while world.inputs(Engine::build).is_err() {
            world = World::new(&mut chance);
        }
        let mut good = world.clone();
        let mut edits = Vec::new();
        let mut serving: Option<Engine> = None;
        for _ in 0..EDITS {
            edits.push(world.edit(&mut chance));
            let cold = world.inputs(Engine::build);
            let after = world.inputs(|inputs| Engine::build_after(inputs, serving.as_ref(), Spread(backwards)));
            match (cold, after) {
                (Ok(cold), Ok(after)) => {
                    loaded += 1;
                    same(&held(&after), &held(&cold), &world, &edits);
                    same(&decisions(&world, &after), &decisions(&world, &cold), &world, &edits);
                    serving = Some(after);
                    good = world.clone();
                }
                (Err(cold), Err(after)) => {
                    refused += 1;
                    same(&shown(&after), &shown(&cold), &world, &edits);
                    // Now and then the fault stays for a while, and the next engine comes after the last good one.
                    if chance.below(3) > 0 {
                        world = good.clone();
                    }
                }
                (Ok(_), Err(after)) => panic!("only the later is refused: {:?}\nafter {edits:#?}", shown(&after)),
                (Err(cold), Ok(_)) => panic!("only the first is refused: {:?}\nafter {edits:#?}", shown(&cold)),
            }
        }
    }
    println!("{loaded} loads and {refused} refusals alike");
    assert!(loaded > 250 && refused > 50, "the edits prove little: {loaded} loads, {refused} refusals");
}

#[test]
fn rules_that_pass_by_their_conditions_are_valid_as_they_are_written() {
    use crate::policy::check::KnownNames;
    use crate::policy::{load, source, surface::Surface};
    let (mut passed, mut doubted) = (0, 0);
    for seed in 100..112 {
        let mut chance = Chance::new(seed);
        let mut world = World::new(&mut chance);
        for _ in 0..8 {
            world.edit(&mut chance);
            world.inputs(|inputs| {
                let servers: Vec<_> = inputs.servers.iter().map(|(server, _)| *server).collect();
                let Ok(surface) = Surface::build(&servers, "f") else { return };
                let Ok(parsed) = source::parse(inputs.sources) else { return };
                let mut names = KnownNames::default();
                names.agents.extend(inputs.agents.iter().map(|agent| agent.id));
                names.groups.extend(inputs.agents.iter().flat_map(|agent| &agent.groups));
                names.calendars.extend(inputs.calendars.names());
                let (own, other) = load::passing_and_valid(&parsed, &surface, &names);
                for rule in &own {
                    assert!(other.contains(rule), "{}\n{world:#?}", parsed[*rule as usize].text);
                }
                passed += own.len();
                doubted += parsed.len() - own.len();
            });
        }
    }
    assert!(passed > 500 && doubted > 50, "the rules prove little: {passed} passed, {doubted} did not");
}
