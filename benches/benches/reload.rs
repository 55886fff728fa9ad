//! Measures how long rules take to load: from nothing, and after a change of one rule or one tool. Wall time, on as many cores as there are.
//!
//! No two rules have the same condition, and the schemas of tools differ, so that nothing is found again but what was there before the change.

use std::time::Duration;

use portcullis::spread::EVERY_CORE;
use portcullis_benches::grid::{Sizes, World, rule, tool, tool_name};
use portcullis_core::policy::engine::Engine;
use serde_json::Value;

/// Schemas that the tools have among them.
const SCHEMAS: usize = 500;

/// Times that a change is measured; the middle one counts.
const TIMES: usize = 5;

fn main() {
    let large = Sizes { rules: 100_000, agents: 100_000, groups: 2_000, tools: 10_000 };
    let mut world = varied(large);
    let (mut engine, cold) = world.engine(None, EVERY_CORE);
    let (changed, added, tool) = (
        middle(&mut world, &mut engine, change),
        middle(&mut world, &mut engine, insert),
        middle(&mut world, &mut engine, add_tool),
    );
    drop(engine);
    let small = varied(Sizes { rules: 10_000, agents: 10_000, groups: 1_000, tools: 1_000 });
    let (_, cold_small) = small.engine(None, EVERY_CORE);
    println!(
        "100,000 rules: cold {:.1} s, one rule changed {} ms, one rule added {} ms, one tool added {} ms; 10,000 rules x 1,000 tools cold {:.1} s",
        cold.as_secs_f64(),
        changed.as_millis(),
        added.as_millis(),
        tool.as_millis(),
        cold_small.as_secs_f64()
    );
}

fn varied(sizes: Sizes) -> World {
    let own = |number: usize| rule(number, sizes).replace("\"orders\"", &format!("\"orders_{number}\""));
    World::new(sizes, own, varied_tool)
}

fn varied_tool(number: usize) -> Value {
    let mut tool = tool(number);
    tool["inputSchema"]["properties"][format!("option_{}", number % SCHEMAS)] = serde_json::json!({"type": "string"});
    tool
}

/// Makes a change several times, each after the engine before; how long the middle one took to build.
fn middle(world: &mut World, engine: &mut Engine, change: impl Fn(&mut World, usize)) -> Duration {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|time| {
            change(world, time);
            let (after, took) = world.engine(Some(engine), EVERY_CORE);
            *engine = after;
            took
        })
        .collect();
    times.sort_unstable();
    times[TIMES / 2]
}

/// The text of a rule in the midst of the first file.
fn change(world: &mut World, time: usize) {
    let text = &mut world.files[0].1;
    let at = text.len() / 2;
    let at = at + text[at..].find("customers").unwrap();
    text.replace_range(at..at + 9, &format!("Customers{time}"));
}

/// One more rule at the top of the first file: the numbers and the lines of all others move.
fn insert(world: &mut World, time: usize) {
    let rule = rule(time, world.sizes).replace("orders", &format!("added_{time}"));
    world.files[0].1.insert_str(0, &rule);
}

/// One more tool in the midst of a server's: the columns of all that come after it move.
fn add_tool(world: &mut World, time: usize) {
    let mut added = varied_tool(500);
    added["name"] = format!("{}_{time}", tool_name(500)).into();
    added["inputSchema"]["properties"][format!("added_{time}")] = serde_json::json!({"type": "boolean"});
    world.tools[0].push(added);
}
