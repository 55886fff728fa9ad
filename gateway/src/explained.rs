//! Puts an explanation together. In: a snapshot, the rules it was built from, a call. Out: JSON, with what deciding cost here and now. Never here: the
//! explanation itself, which is core's.

use portcullis_core::config::settings::Mode;
use portcullis_core::config::snapshot::{Snapshot, Text};
use portcullis_core::diagnostic::did_you_mean;
use portcullis_core::identity::registry::Status;
use portcullis_core::policy::engine::Engine;
use portcullis_core::policy::explain;
use portcullis_core::policy::source::Source;
use portcullis_core::policy::trial::{Target, Trial, Untried};
use serde_json::{Value, json};
use std::time::Instant;

/// Decisions that are timed; the middle one is told.
const TIMED: usize = 101;

/// A snapshot and the rules it was built from.
#[derive(Clone, Copy)]
pub struct Set<'s> {
    /// The snapshot.
    pub snapshot: &'s Snapshot,
    /// Its rule files.
    pub policies: &'s [Text],
}

/// The rule files as core takes them.
pub fn sources(policies: &[Text]) -> Vec<Source<'_>> {
    policies.iter().map(|text| Source { file: &text.file, text: &text.text }).collect()
}

/// Explains what `set` says to `trial`.
///
/// # Errors
/// Why it cannot be asked: cause and cure.
pub fn explain(set: Set<'_>, trial: &Trial) -> Result<Value, (String, Option<String>)> {
    let Set { snapshot, policies } = set;
    let sources = sources(policies);
    let put = trial.put(&snapshot.engine, &snapshot.registry, &snapshot.json_limits(), |question| {
        let cost = cost(|| question.decide(&snapshot.engine).is_ok());
        (explain::explain(&snapshot.engine, &sources, question), cost)
    });
    let (told, cost_ns) = put.map_err(|untried| (untried.words(trial), cure(snapshot, trial, &untried)))?;
    let mut shown = serde_json::to_value(&told).unwrap_or_default();
    if let Some(members) = shown.as_object_mut() {
        members.insert("agent".into(), json!(trial.agent));
        members.insert("at".into(), json!(trial.at.rfc3339()));
        members.insert("cost_ns".into(), json!(cost_ns));
        members.insert("notes".into(), json!(notes(snapshot, trial)));
    }
    Ok(shown)
}

/// The rules that are left to Cedar's own evaluator, each with the reason.
pub fn slow(engine: &Engine) -> Value {
    let rules: Vec<Value> = engine
        .slow()
        .map(|slow| json!({"id": slow.id, "file": slow.file, "line": slow.line, "reason": slow.reason.to_string()}))
        .collect();
    json!({"rules": rules, "cells": engine.slow_cells(), "of": engine.policy_ids().len()})
}

/// The middle of several timings, in nanoseconds: the first finds caches cold, and the scheduler spoils some.
fn cost(decide: impl Fn() -> bool) -> u64 {
    let mut timings: Vec<u64> = (0..TIMED)
        .map(|_| {
            let begun = Instant::now();
            std::hint::black_box(decide());
            u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    timings.sort_unstable();
    timings.get(TIMED / 2).copied().unwrap_or_default()
}

/// The cure of a question about something that does not exist.
pub fn cure(snapshot: &Snapshot, trial: &Trial, untried: &Untried) -> Option<String> {
    match untried {
        Untried::UnknownAgent => did_you_mean(&trial.agent, snapshot.registry.agents().map(|agent| &*agent.id)),
        Untried::UnknownServer => {
            did_you_mean(&trial.server, snapshot.routes().map(|(_, route)| &*route.settings.name))
        }
        Untried::UnknownTool => {
            let server = snapshot.engine.server(&trial.server)?;
            let known = snapshot.catalogue(server)?.tools().iter().map(|tool| &*tool.name);
            let Target::Tool(name) = &trial.target else { return None };
            did_you_mean(name, known)
                .or_else(|| Some(format!("`portcullis tools diff {}` shows what it offers", trial.server)))
        }
        Untried::Arguments(_) => Some("give the arguments as one JSON object".into()),
        Untried::Output(_) => Some("give the output as one JSON object, as in `structuredContent`".into()),
    }
}

/// What else would become of such a call.
fn notes(snapshot: &Snapshot, trial: &Trial) -> Vec<String> {
    let mut notes = Vec::new();
    let agent = snapshot.registry.find(&trial.agent).and_then(|index| snapshot.registry.agent(index));
    if let Some(agent) = agent {
        match agent.status {
            Status::Active => {}
            Status::Suspended | Status::Retired => notes.push(format!(
                "agent `{}` is {}, so none of its calls gets as far as the rules",
                agent.id,
                agent.status.as_str()
            )),
        }
        if agent.expires.is_some_and(|expires| expires <= trial.at) {
            notes.push(format!(
                "agent `{}` has expired by then, so its call does not get as far as the rules",
                agent.id
            ));
        }
        if !agent.allows_source(trial.source) {
            notes.push(format!("agent `{}` may not call from {} at all", agent.id, trial.source));
        }
    }
    let route = snapshot.engine.server(&trial.server).and_then(|server| snapshot.server(server));
    if route.is_some_and(|route| route.settings.mode == Mode::Observe) {
        notes.push("the route only observes: a denial is recorded and not enforced".into());
    }
    notes
}
