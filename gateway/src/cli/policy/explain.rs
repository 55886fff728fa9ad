//! `portcullis policy explain`: tells why. In: a call. Out: the decision, the rules that made it, those that nearly did, and what they read. Never here: live calls.

use crate::asked::Asked;
use crate::cli::book::{self, Which};
use crate::cli::say::{Hue, line, painted};
use crate::cli::{End, Failure, Outcome, Ways, client, list, number, say, text};
use crate::{explained, reload};
use clap::Args;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::PathBuf;

/// The call to explain.
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// List the rules that Cedar's own evaluator decides, slower, since they have no program of ours
    #[arg(long, conflicts_with_all = ["agent", "tool", "server"])]
    pub slow: bool,
    /// The agent's id
    #[arg(long, value_name = "ID", required_unless_present = "slow")]
    pub agent: Option<String>,
    /// The tool it calls
    #[arg(long, value_name = "SERVER.TOOL", required_unless_present_any = ["server", "slow"])]
    pub tool: Option<String>,
    /// The arguments of the call, as JSON
    #[arg(long, value_name = "JSON", requires = "tool")]
    pub args: Option<String>,
    /// What the call brings, as JSON: the `structuredContent` of its result
    #[arg(long, value_name = "JSON", requires = "tool")]
    pub output: Option<String>,
    /// The server it connects to, reads a resource of, or gets a prompt of
    #[arg(long, conflicts_with = "tool")]
    pub server: Option<String>,
    /// The resource it reads
    #[arg(long, requires = "server")]
    pub uri: Option<String>,
    /// The prompt it gets
    #[arg(long, requires = "server", conflicts_with = "uri")]
    pub prompt: Option<String>,
    /// When, as in 2026-11-23T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Where it calls from [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub source: Option<IpAddr>,
    /// Claims of its token, as JSON
    #[arg(long, value_name = "JSON")]
    pub claims: Option<String>,
    /// The user it acts for
    #[arg(long)]
    pub user: Option<String>,
    /// The customer account of its token
    #[arg(long)]
    pub account: Option<String>,
    /// Ask the running gateway, not the files
    #[arg(long)]
    pub live: bool,
    /// Ask these rules in the place of those that the configuration names
    #[arg(long, value_name = "FOLDER", conflicts_with = "live")]
    pub candidate: Option<PathBuf>,
    /// Ask the rules of an earlier version
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["live", "candidate"])]
    pub version: Option<u64>,
}

impl Explain {
    fn asked(&self) -> Result<Asked, Failure> {
        let arguments = self.args.as_deref().map(|text| {
            serde_json::from_str::<Box<RawValue>>(text).map_err(|error| {
                Failure::new(
                    format!("the arguments are no JSON: {error}"),
                    "write them as in `--args '{\"table\": \"orders\"}'`",
                )
            })
        });
        let output = self.output.as_deref().map(|text| {
            serde_json::from_str::<Box<RawValue>>(text).map_err(|error| {
                Failure::new(format!("the output is no JSON: {error}"), "write it as in `--output '{\"total\": 3}'`")
            })
        });
        let claims = self.claims.as_deref().map(|text| {
            serde_json::from_str(text).map_err(|error| {
                Failure::new(
                    format!("the claims are no JSON object: {error}"),
                    "write them as in `--claims '{\"level\": \"3\"}'`",
                )
            })
        });
        Ok(Asked {
            agent: self.agent.clone().unwrap_or_default(),
            tool: self.tool.clone(),
            server: self.server.clone(),
            uri: self.uri.clone(),
            prompt: self.prompt.clone(),
            arguments: arguments.transpose()?,
            output: output.transpose()?,
            at: self.at.clone(),
            source: self.source,
            user: self.user.clone(),
            account: self.account.clone(),
            claims: claims.transpose()?.unwrap_or_default(),
        })
    }

    fn which(&self) -> Which<'_> {
        match (&self.candidate, self.version) {
            (Some(folder), _) => Which::Candidate(folder),
            (None, Some(version)) => Which::Version(version),
            (None, None) => Which::Files,
        }
    }
}

/// Explains; exit code 0 whatever the decision is, for the question was answered.
pub fn explain(explain: &Explain, ways: &Ways) -> Outcome {
    if explain.slow {
        return slow(explain, ways);
    }
    let asked = explain.asked()?;
    let told = if explain.live {
        let body = serde_json::to_value(&asked).unwrap_or_default();
        match client::post(ways, "/v1/policy/explain", Some(&body))?.done(ways) {
            Some(told) => told,
            None => return Ok(End::Refused),
        }
    } else {
        offline(&asked, explain.which(), ways)?
    };
    if ways.json {
        say::json(&told);
    } else {
        page(&asked.words(), &told);
    }
    Ok(End::Done)
}

fn slow(explain: &Explain, ways: &Ways) -> Outcome {
    let told = if explain.live {
        match client::get(ways, "/v1/policy/slow")?.done(ways) {
            Some(told) => told,
            None => return Ok(End::Refused),
        }
    } else {
        explained::slow(&book::open(explain.which(), ways)?.snapshot.engine)
    };
    if ways.json {
        say::json(&told);
        return Ok(End::Done);
    }
    for rule in list(&told, "/rules") {
        line(&format!("{}  {}  {}", text(rule, "/id"), place(rule), text(rule, "/reason")));
    }
    line(&format!(
        "{} of {} rules are decided by Cedar's own evaluator somewhere",
        list(&told, "/rules").len(),
        number(&told, "/of")
    ));
    Ok(End::Done)
}

fn offline(asked: &Asked, which: Which<'_>, ways: &Ways) -> Result<Value, Failure> {
    let trial = asked.trial(reload::now()).map_err(|unclear| Failure::new(unclear.message, unclear.help))?;
    let book = book::open(which, ways)?;
    let mut told = explained::explain(book.set(), &trial).map_err(|(message, help)| Failure { message, help })?;
    if let Some(members) = told.as_object_mut() {
        members.insert("snapshot".into(), book.about());
        if book.version.is_none() && which == Which::Files {
            let notes = members.entry("notes").or_insert_with(|| json!([]));
            if let Some(notes) = notes.as_array_mut() {
                notes.push(json!("these files are not what served last; `--live` asks the running gateway"));
            }
        }
    }
    Ok(told)
}

/// The explanation as a page.
pub fn page(question: &str, told: &Value) {
    let (word, hue) = verdict(told);
    line(&format!("{}  {question}", painted(word, hue)));
    match told.get("cause").and_then(Value::as_str) {
        Some(cause) => {
            let place =
                told.get("pointer").and_then(Value::as_str).map(|at| format!(" (at `{at}`)")).unwrap_or_default();
            line(&format!("  why       {cause}: {}{place}", text(told, "/why")));
        }
        None => line(&format!("  why       {}", text(told, "/why"))),
    }
    for rule in list(told, "/rules") {
        line(&format!("  rule      {}  {}", named(rule), place(rule)));
        body(rule);
    }
    for rule in list(told, "/results") {
        line(&format!("  result    is judged by {}  {}", named(rule), place(rule)));
        body(rule);
    }
    for near in list(told, "/near") {
        let rule = near.get("rule").unwrap_or(&Value::Null);
        line(&format!("  not       {}  {}", named(rule), place(rule)));
        line(&format!("            {}", kept(near)));
    }
    for other in list(told, "/elsewhere") {
        line(&format!("  others    {} permits it to {}  {}", text(other, "/id"), text(other, "/about"), place(other)));
    }
    for read in list(told, "/values") {
        let value = read.get("value").and_then(Value::as_str).unwrap_or("absent");
        line(&format!("  read      {} = {value}", text(read, "/name")));
    }
    let listed = told.get("listed").and_then(Value::as_bool) == Some(true);
    line(&format!("  listed    {}", if listed { "yes, it is seen in lists" } else { "no, it is left out of lists" }));
    line(&format!("  at        {}", text(told, "/at")));
    line(&format!("  snapshot  {}, {}", set(told), text(told, "/snapshot/hash")));
    if let Some(cost) = told.get("cost_ns").and_then(Value::as_u64) {
        line(&format!("  cost      {cost} ns"));
    }
    for note in list(told, "/notes").iter().filter_map(Value::as_str) {
        line(&painted(&format!("  note      {note}"), Hue::Yellow));
    }
}

/// Which rules were asked: `the files, version 3`, `version 2`, `the candidate in new, never served`.
fn set(told: &Value) -> String {
    let name = text(told, "/snapshot/name");
    let version = told.pointer("/snapshot/version").and_then(Value::as_u64);
    match version.map(|version| format!("version {version}")) {
        Some(version) if name.starts_with(&version) => name.to_owned(),
        Some(version) => format!("{name}, {version}"),
        None => format!("{name}, never served"),
    }
}

fn verdict(told: &Value) -> (&'static str, Hue) {
    if text(told, "/decision") == "allow" { ("ALLOW", Hue::Green) } else { ("DENY", Hue::Red) }
}

fn named(rule: &Value) -> String {
    format!("{} {}", text(rule, "/effect"), text(rule, "/id"))
}

fn place(rule: &Value) -> String {
    painted(&format!("{}:{}", text(rule, "/file"), number(rule, "/line")), Hue::Dim)
}

/// The text of a rule, indented.
pub fn body(rule: &Value) {
    text(rule, "/text").lines().for_each(|words| line(&format!("            {words}")));
}

/// What kept a rule from counting.
fn kept(near: &Value) -> String {
    let part = text(near, "/part");
    match text(near, "/kept_by") {
        "part" => format!("`{part}` does not hold"),
        "error" => format!("`{part}` cannot be evaluated: {}", text(near, "/message")),
        "argument" => format!("the argument `{}` cannot be read as its tool declares it", text(near, "/pointer")),
        "output" => {
            format!("the member `{}` of the output cannot be read as its tool declares it", text(near, "/pointer"))
        }
        "sql" => format!("the SQL in `{}` is not judged: {}", text(near, "/pointer"), text(near, "/refusal")),
        "calendars" => "the time lies outside of what the calendars are laid out for".to_owned(),
        "claim" => "a claim that it reads has a shape that no rule can read".to_owned(),
        _ => "it holds, and a forbid outweighs it".to_owned(),
    }
}
