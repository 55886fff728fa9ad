//! Walks real SDK clients through the target. In: an endpoint, a token. Out: a line a walk, and what failed.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::conformance::runner::Target;
use crate::tools::Sdk;

#[derive(Deserialize)]
struct Step {
    step: String,
    ok: bool,
    detail: String,
}

/// Runs every SDK in every era it knows; gives the words of each walk that failed.
pub fn walk_all(target: &Target) -> Result<Vec<String>> {
    let mut failed = Vec::new();
    for sdk in Sdk::ALL {
        for era in sdk.eras() {
            if let Some(words) = walk(sdk, era, target)? {
                failed.push(format!("{sdk:?} {era}: {words}"));
            }
        }
    }
    Ok(failed)
}

fn walk(sdk: Sdk, era: &str, target: &Target) -> Result<Option<String>> {
    let token = target.token.as_deref().unwrap_or("-");
    let mut command = sdk.command()?;
    let output = command.args([&target.url, token, era]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("the client {sdk:?} cannot be started"))?;
    let mut steps = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let step: Step = serde_json::from_str(line).with_context(|| format!("{sdk:?} said `{line}`"))?;
        steps.insert(step.step.clone(), step);
    }
    let mut faults: Vec<String> = STEPS.iter().filter_map(|step| fault(step, steps.get(*step))).collect();
    if faults.is_empty() && !output.status.success() {
        faults.push(format!("every step went well but the client ended with {}", output.status));
    }
    println!(
        "{:<40} {:>2} of {} steps went well",
        format!("{sdk:?}, {era}"),
        STEPS.len() - faults.len().min(STEPS.len()),
        STEPS.len()
    );
    for words in &faults {
        println!("    {words}");
    }
    Ok((!faults.is_empty()).then(|| faults.join(", ")))
}

/// Why a step does not count; one that was never reported does not count either.
fn fault(name: &str, step: Option<&Step>) -> Option<String> {
    match step {
        Some(step) if step.ok => None,
        Some(step) => Some(format!("{name}: {}", step.detail)),
        None => Some(format!("{name}: never done")),
    }
}

/// What every client must do.
const STEPS: [&str; 10] = [
    "connect",
    "tools_list",
    "call",
    "progress",
    "sampling",
    "elicitation",
    "cancellation",
    "resources",
    "prompts",
    "close",
];
