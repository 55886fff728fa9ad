//! Runs a candidate beside what serves. In: copies of live calls. Out: which of them it would decide otherwise. Never here: anything that a caller could notice.

use super::sample::Sample;
use portcullis_core::config::snapshot::{Snapshot, Text};
use portcullis_core::policy::trial::{Target, Tried, Untried};
use portcullis_core::time::UnixMillis;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Kinds of change that are told apart; agents × tools that change are few, and what comes after is counted together.
const KINDS_MAX: usize = 10_000;

/// A candidate and what it would have decided otherwise.
pub struct Shadow {
    /// The candidate.
    pub snapshot: Snapshot,
    /// Its rules.
    pub policies: Vec<Text>,
    /// Since when it runs.
    pub since: UnixMillis,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    judged: u64,
    unasked: u64,
    otherwise: u64,
    kinds: BTreeMap<Kind, Times>,
}

/// Calls that change alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    agent: Box<str>,
    asked: String,
    was: String,
    would: String,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    count: u64,
    last: UnixMillis,
}

impl Shadow {
    /// A candidate that has seen nothing yet.
    pub fn new(snapshot: Snapshot, policies: Vec<Text>, since: UnixMillis) -> Self {
        Self { snapshot, policies, since, seen: Mutex::new(Seen::default()) }
    }

    /// Judges a live call by the candidate.
    pub fn judge(&self, sample: &Sample) {
        let snapshot = &self.snapshot;
        let would = sample.trial.judge(&snapshot.engine, &snapshot.registry, &snapshot.json_limits());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let would = match would {
            Ok(would) => would,
            // Whom the candidate's registry does not know it would refuse; it is the live one's, so this is rare.
            Err(
                Untried::UnknownAgent
                | Untried::UnknownServer
                | Untried::UnknownTool
                | Untried::Arguments(_)
                | Untried::Output(_),
            ) => {
                seen.unasked += 1;
                return;
            }
        };
        seen.judged += 1;
        if would.is_allowed() == sample.tried.is_allowed() {
            return;
        }
        seen.otherwise += 1;
        let kind = Kind {
            agent: sample.trial.agent.clone(),
            asked: asked(sample),
            was: words(&sample.tried),
            would: words(&would),
        };
        let room = seen.kinds.len() < KINDS_MAX;
        match seen.kinds.get_mut(&kind) {
            Some(times) => {
                times.count += 1;
                times.last = sample.trial.at;
            }
            None if room => {
                seen.kinds.insert(kind, Times { count: 1, last: sample.trial.at });
            }
            None => {}
        }
    }

    /// What it came to so far.
    pub fn report(&self, dropped: u64) -> Value {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds: Vec<Value> = seen
            .kinds
            .iter()
            .map(|(kind, times)| {
                json!({
                    "agent": kind.agent, "asked": kind.asked, "was": kind.was, "would_be": kind.would,
                    "count": times.count, "last": times.last.rfc3339(),
                })
            })
            .collect();
        json!({
            "since": self.since.rfc3339(), "judged": seen.judged, "otherwise": seen.otherwise,
            "not_judged": seen.unasked, "dropped": dropped, "changes": kinds,
        })
    }
}

/// What was asked for, without its arguments, which may be anybody's secrets.
fn asked(sample: &Sample) -> String {
    let server = &sample.trial.server;
    match &sample.trial.target {
        Target::Tool(name) => format!("{server}.{name}"),
        Target::Connect => format!("{server} connect"),
        Target::ResourceRead(uri) => format!("{server} resource.read {uri}"),
        Target::PromptGet(name) => format!("{server} prompt.get {name}"),
        Target::CompletePrompt(name) | Target::CompleteResource(name) => format!("{server} complete {name}"),
        Target::Task(Some(name)) => format!("{server} task of {name}"),
        Target::Task(None) => format!("{server} task"),
        Target::Sample => format!("{server} upstream.sample"),
        Target::Elicit => format!("{server} upstream.elicit"),
        Target::Roots => format!("{server} upstream.roots"),
        Target::Extension(method) => format!("{server} {method}"),
    }
}

fn words(tried: &Tried) -> String {
    let by = if tried.rules.is_empty() { String::new() } else { format!(" by {}", tried.rules.join(", ")) };
    match tried.denied {
        None => format!("allow{by}"),
        Some(cause) => format!("deny ({}){by}", cause.name()),
    }
}
