//! `portcullis policy suggest`: drafts rules from what a route did. In: recorded calls. Out: Cedar, as narrow as the calls were, and what it would still refuse. Never here: putting rules in force.

use crate::cli::book::{self, Which};
use crate::cli::policy::replay::Span;
use crate::cli::recorded::{self, Unreplayable};
use crate::cli::segments::Reader;
use crate::cli::{End, Failure, Outcome, Ways, audit, counted, say};
use clap::Args;
use portcullis_core::policy::suggest::{Draft, Observed};
use portcullis_core::policy::trial::{Target, Trial};
use serde_json::json;

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
    let (calls, blind) = observed(suggest, &span, ways)?;
    let agents = book.snapshot.registry.agents().map(|agent| (&*agent.id, agent.groups.as_slice()));
    let draft = Draft::of(&book.snapshot.engine, server, agents, &calls);
    let text = draft.to_cedar();
    let refused = check(&text, &calls, ways)?;
    if ways.json {
        say::json(&json!({
            "route": suggest.route, "from": span.from.rfc3339(), "to": span.to.rfc3339(), "calls": calls.len(),
            "arguments_not_captured": blind, "rules": text, "would_still_refuse": refused,
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

/// The calls that were let pass, whether by rules or because the route only observes; and how many of them without their arguments.
fn observed(suggest: &Suggest, span: &Span, ways: &Ways) -> Result<(Vec<Observed>, usize), Failure> {
    let folder = audit::folder(ways)?;
    let (mut calls, mut blind) = (Vec::new(), 0);
    let read = Reader::new(&folder).each(span.from, |line| {
        let entry = &line.entry;
        let passed = entry.decision.as_deref() != Some("deny") || suggest.with_denied;
        let ours = recorded::is_decision(entry) && entry.server.as_deref() == Some(&*suggest.route);
        if !(ours && passed && span.holds(entry.ts)) {
            return;
        }
        match recorded::trial(&line) {
            Ok(trial) => calls.extend(call(trial)),
            Err(Unreplayable::Arguments) => {
                blind += 1;
                let tool = entry.tool.as_deref().unwrap_or_default();
                calls.push(Observed::blind(entry.agent.as_deref().unwrap_or_default(), tool));
            }
            Err(Unreplayable::Claims | Unreplayable::Method | Unreplayable::Drifted) => {}
        }
    });
    read.map_err(|error| audit::unreadable(&folder, &error))?;
    Ok((calls, blind))
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
