//! Asks recorded calls again. In: lines of the audit log, a rule set. Out: what it says of each, or why it cannot be asked. Never here: live calls.

use crate::cli::segments::Line;
use portcullis_core::audit::view::Entry;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::policy::trial::{Target, Trial, Tried, Untried};
use portcullis_core::time::UnixMillis;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};

/// Why a recorded call cannot be judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unreplayable {
    /// It carried arguments, and they were not captured, or not whole.
    Arguments,
    /// A rule reads claims of its token, which nobody records.
    Claims,
    /// Its method follows something that is not in the record, such as a task.
    Method,
    /// It was refused because the tool had drifted, which is no matter of rules.
    Drifted,
}

impl Unreplayable {
    /// The word in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arguments => "arguments_not_captured",
            Self::Claims => "claims_not_recorded",
            Self::Method => "method_follows_another",
            Self::Drifted => "tool_had_drifted",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Arguments => "their arguments were not captured; `capture = { arguments = \"full\" }` keeps them",
            Self::Claims => "a rule reads claims of the token, which are not recorded",
            Self::Method => "they follow another call, such as the one that made a task",
            Self::Drifted => "their tool had drifted, which is no matter of rules",
        }
    }
}

/// Whether a line tells of a decision about an agent's request.
pub fn is_decision(entry: &Entry) -> bool {
    entry.event == "decision"
}

/// The call of a decision's record.
///
/// # Errors
/// Why it cannot be asked again.
pub fn trial(line: &Line) -> Result<Trial, Unreplayable> {
    let entry = &line.entry;
    if entry.cause.as_deref() == Some("drifted") {
        return Err(Unreplayable::Drifted);
    }
    let named = |name: &Option<String>| name.as_deref().map(Box::from).ok_or(Unreplayable::Method);
    let target = match entry.method.as_deref().unwrap_or_default() {
        "tools/call" => Target::Tool(named(&entry.tool)?),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Target::ResourceRead(named(&entry.uri)?),
        "prompts/get" => Target::PromptGet(named(&entry.name)?),
        "initialize"
        | "server/discover"
        | "ping"
        | "logging/setLevel"
        | "tools/list"
        | "resources/list"
        | "resources/templates/list"
        | "prompts/list"
        | "response"
        | "GET"
        | "DELETE" => Target::Connect,
        method if method.starts_with("notifications/") => Target::Connect,
        _ => return Err(Unreplayable::Method),
    };
    let arguments = match (&target, &entry.arguments) {
        (Target::Tool(_), None) if entry.arguments_bytes.is_some() => return Err(Unreplayable::Arguments),
        (Target::Tool(_), Some(_)) if redacted(&line.raw) => return Err(Unreplayable::Arguments),
        (Target::Tool(_), Some(raw)) => Some(raw.get().as_bytes().into()),
        (_, _) => None,
    };
    let source = entry.source.as_deref().and_then(|source| source.parse().ok());
    Ok(Trial {
        agent: entry.agent.as_deref().unwrap_or_default().into(),
        user: entry.user.as_deref().map(Box::from),
        account: entry.account.as_deref().map(Box::from),
        claims: Vec::new(),
        server: entry.server.as_deref().unwrap_or_default().into(),
        target,
        arguments,
        // Results are not judged again: a record may hold no more than their digest.
        output: None,
        source: source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        at: UnixMillis(entry.ts),
    })
}

/// Whether values were taken out of the arguments before they were written.
fn redacted(raw: &str) -> bool {
    serde_json::from_str::<Value>(raw).is_ok_and(|record| record.get("arguments_redacted").is_some())
}

/// What a snapshot says of a recorded call. Who or what it no longer knows is denied, as it would be.
///
/// # Errors
/// Why it cannot be asked again.
pub fn judge(trial: &Trial, snapshot: &Snapshot) -> Result<Judged, Unreplayable> {
    let (engine, limits) = (&snapshot.engine, snapshot.json_limits());
    let asked = trial.put(engine, &snapshot.registry, &limits, |question| {
        let claims = question.reads_claims(engine);
        (claims, Tried::of(engine, &question.decide(engine)))
    });
    match asked {
        Ok((true, _)) => Err(Unreplayable::Claims),
        Ok((false, tried)) => Ok(Judged {
            word: tried.word(),
            why: tried.denied.map(|denied| denied.name().to_owned()),
            rules: tried.rules.iter().map(ToString::to_string).collect(),
        }),
        Err(Untried::Arguments(_) | Untried::Output(_)) => Err(Unreplayable::Arguments),
        Err(untried @ (Untried::UnknownAgent | Untried::UnknownServer | Untried::UnknownTool)) => {
            Ok(Judged { word: "deny", why: Some(cause(&untried).to_owned()), rules: Vec::new() })
        }
    }
}

/// The word of records for a question that names something unknown.
pub fn cause(untried: &Untried) -> &'static str {
    match untried {
        Untried::UnknownAgent => "unknown_agent",
        Untried::UnknownServer => "unknown_server",
        Untried::UnknownTool => "unknown_tool",
        Untried::Arguments(error) | Untried::Output(error) => error.name(),
    }
}

/// What rules say of a recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// `allow` or `deny`.
    pub word: &'static str,
    /// Why it is denied.
    pub why: Option<String>,
    /// The rules that determined it.
    pub rules: Vec<String>,
}

impl Judged {
    /// What the record says was decided by the rules; a route that only observes let it pass nevertheless.
    pub fn recorded(entry: &Entry) -> Self {
        let word = if entry.decision.as_deref() == Some("allow") { "allow" } else { "deny" };
        Self { word, why: entry.cause.clone(), rules: entry.rules.clone() }
    }

    /// In words: `deny (no_rule)`, `allow by support.cedar:4`.
    pub fn words(&self) -> String {
        let why = self.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let by = if self.rules.is_empty() { String::new() } else { format!(" by {}", self.rules.join(", ")) };
        format!("{}{why}{by}", self.word)
    }
}
