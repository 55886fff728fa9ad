//! `portcullis policy suggest`: drafts rules from what a route did. In: recorded calls. Out: Cedar, as narrow as the calls were, and what it would still refuse. Never here: putting rules in force.

use crate::cli::book::{self, Book, Which};
use crate::cli::policy::replay::Span;
use crate::cli::recorded::{self, Unreplayable};
use crate::cli::segments::Reader;
use crate::cli::{End, Failure, Outcome, Ways, audit, counted, say};
use clap::Args;
use portcullis_core::audit::view::Entry;
use portcullis_core::policy::names;
use portcullis_core::policy::suggest::{Draft, Observed};
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::policy::trial::{Target, Trial};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Of which route, from which calls.
#[derive(Args, Clone, Debug)]
pub struct Suggest {
    /// The server of the route
    #[arg(long, value_name = "SERVER")]
    pub route: String,
    /// From when on: a time, a day, or how long ago, as in 90m, 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub from: String,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Draft from refused calls as well, as after a first day under no rules at all
    #[arg(long)]
    pub with_denied: bool,
}

/// Drafts, and checks the draft against the calls it was made from.
pub fn suggest(suggest: &Suggest, ways: &Ways) -> Outcome {
    let span = Span::of(&suggest.from, suggest.to.as_deref())?;
    let book = book::open(Which::Files, ways)?;
    let server = book.snapshot.engine.server(&suggest.route).ok_or_else(|| {
        Failure::new(
            format!("no server is called `{}`", suggest.route),
            "name one of the configuration's `[server.NAME]`",
        )
    })?;
    let Seen { calls, blind, strange } = observed(suggest, &span, (&book, server), ways)?;
    let agents = book.snapshot.registry.agents().map(|agent| (&*agent.id, agent.groups.as_slice()));
    let draft = Draft::of(&book.snapshot.engine, server, agents, &calls);
    let text = draft.to_cedar();
    let refused = check(&text, &calls, ways)?;
    for (what, count) in &strange {
        let calls = counted(*count, "call");
        say::note(&format!("warning: {what}, so no rule is drafted for {calls}"));
    }
    if ways.json {
        let skipped: Vec<Value> = strange.iter().map(|(what, count)| json!({"why": what, "calls": count})).collect();
        say::json(&json!({
            "route": suggest.route, "from": span.from.rfc3339(), "to": span.to.rfc3339(), "calls": calls.len(),
            "arguments_not_captured": blind, "skipped": skipped, "rules": text, "would_still_refuse": refused,
        }));
        return Ok(End::Done);
    }
    say::line(&format!(
        "// Drafted from {} on route `{}` between {} and {}. Read it before you put it in force.",
        counted(calls.len(), "call"),
        suggest.route,
        span.from.rfc3339(),
        span.to.rfc3339()
    ));
    if blind > 0 {
        say::line(&format!(
            "// The arguments of {} were not captured, so nothing below narrows on their account.",
            counted(blind, "call")
        ));
    }
    say::line(&format!(
        "// {}",
        if refused == 0 {
            "It would permit all of them.".to_owned()
        } else {
            format!("It would still refuse {refused} of them.")
        }
    ));
    say::line(&text);
    Ok(End::Done)
}

/// What the log holds of a route.
#[derive(Default)]
struct Seen {
    /// The calls to draft from.
    calls: Vec<Observed>,
    /// How many of them without their arguments.
    blind: usize,
    /// Calls of what the reviewed tools or the registry do not know, by what that is. A rule about it would not load.
    strange: BTreeMap<String, usize>,
}

/// The calls that were let pass, whether by rules or because the route only observes.
fn observed(
    suggest: &Suggest,
    span: &Span,
    (book, server): (&Book, ServerIndex),
    ways: &Ways,
) -> Result<Seen, Failure> {
    let folder = audit::folder(ways)?;
    let mut seen = Seen::default();
    let read = Reader::new(&folder).each(span.from, |line| {
        let entry = &line.entry;
        let passed = entry.decision.as_deref() != Some("deny") || suggest.with_denied;
        let ours = recorded::is_decision(entry) && entry.server.as_deref() == Some(&*suggest.route);
        if !(ours && passed && span.holds(entry.ts)) {
            return;
        }
        if let Some(what) = strange(entry, book, server) {
            *seen.strange.entry(what).or_default() += 1;
            return;
        }
        match recorded::trial(&line) {
            Ok(trial) => seen.calls.extend(call(trial)),
            Err(Unreplayable::Arguments) => {
                seen.blind += 1;
                let tool = entry.tool.as_deref().unwrap_or_default();
                seen.calls.push(Observed::blind(entry.agent.as_deref().unwrap_or_default(), tool));
            }
            Err(Unreplayable::Claims | Unreplayable::Method | Unreplayable::Drifted) => {}
        }
    });
    read.map_err(|error| audit::unreadable(&folder, &error))?;
    Ok(seen)
}

/// What a rule about this call could not name: calls of tools that never were stand in the log as well.
fn strange(entry: &Entry, book: &Book, server: ServerIndex) -> Option<String> {
    let agent = entry.agent.as_deref().unwrap_or_default();
    if book.snapshot.registry.find(agent).is_none() {
        return Some(format!("agent `{}` is not in the registry", names::visible(agent)));
    }
    let tool = entry.tool.as_deref().filter(|tool| book.snapshot.engine.tool(server, tool).is_err())?;
    Some(format!(
        "tool `{}` is not among the reviewed tools of `{}`",
        names::visible(tool),
        entry.server.as_deref().unwrap_or_default()
    ))
}

/// The handshake and the lists follow from any permit on the server, so no rule is drafted for them.
fn call(trial: Trial) -> Option<Observed> {
    match trial.target {
        Target::Connect => None,
        Target::Tool(_) | Target::ResourceRead(_) | Target::PromptGet(_) => Some(Observed::of(trial)),
        Target::CompletePrompt(_) | Target::CompleteResource(_) | Target::Task(_) | Target::Sample => None,
        Target::Elicit | Target::Roots | Target::Extension(_) => None,
    }
}

/// How many of the calls the draft would refuse, were it all there is.
fn check(text: &str, calls: &[Observed], ways: &Ways) -> Result<usize, Failure> {
    let snapshot = book::with_rules(text, ways)?;
    let refused = calls.iter().filter_map(Observed::trial).filter(|trial| {
        let judged = trial.judge(&snapshot.engine, &snapshot.registry, &snapshot.json_limits());
        !judged.is_ok_and(|tried| tried.is_allowed())
    });
    Ok(refused.count())
}
