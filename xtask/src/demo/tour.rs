//! Walks the tour. In: the scene. Out: a line for each thing asked, told from the audit log, and how many were not as promised.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::demo::agents::{Era, Saw, Step};
use crate::demo::lines::{self, Face, Tone};
use crate::demo::log::Record;
use crate::demo::scene::Scene;
use crate::demo::stop::Stop;

/// What an agent asks.
#[derive(Clone, Debug)]
enum Ask {
    Connect,
    List,
    Call(&'static str, Value),
}

/// What must be in the log and before the agent's eyes.
#[derive(Clone, Copy, Debug)]
enum Promise {
    /// Let pass, by this rule where one is named.
    Allow(Option<Rule>, Sight),
    /// Refused, for this reason, by this rule where one decided.
    Deny(&'static str, Option<Rule>, Sight),
}

/// The n-th rule of a file, counted from 0.
type Rule = (&'static str, usize);

#[derive(Clone, Copy, Debug)]
enum Sight {
    Rows,
    Tools(&'static [&'static str]),
    /// A JSON-RPC error with these words.
    Told(&'static str),
    /// HTTP 401 with these words in the challenge.
    Unauthorized(&'static str),
    /// HTTP 403.
    Forbidden,
}

struct Visit {
    agent: &'static str,
    ask: Ask,
    promise: Promise,
}

/// Everything, in order; gives the number of lines that are not as promised.
pub fn walk(scene: &mut Scene, face: &Face, stop: &Stop) -> Result<u32> {
    open(scene)?;
    let mut broken = 0;
    heading(face, "What each agent may do");
    for visit in allowed_and_refused() {
        stop.check()?;
        broken += show(scene, face, &visit)?;
    }
    heading(face, "Who is not let in");
    for visit in strangers() {
        stop.check()?;
        broken += show(scene, face, &visit)?;
    }
    stop.check()?;
    heading(face, "Rules change while agents are connected");
    broken += change_a_rule(scene, face)?;
    stop.check()?;
    heading(face, "An agent is cut off, and let in again");
    Ok(broken + suspend(scene, face)?)
}

fn allowed_and_refused() -> [Visit; 9] {
    let (customers, financials) = (("support.cedar", 0), ("finance.cedar", 0));
    let order = json!({"table": "orders", "row": {"item": "lamp"}});
    let every = json!({"sql": "select * from orders"});
    [
        visit(SUPPORT, Ask::List, Promise::Allow(None, Sight::Tools(&["read_table", "write_table"]))),
        visit(FINANCE, Ask::List, Promise::Allow(None, Sight::Tools(&["read_table", "run_sql"]))),
        visit(SUPPORT, read("customers"), Promise::Allow(Some(customers), Sight::Rows)),
        visit(SUPPORT, read("orders"), Promise::Allow(Some(customers), Sight::Rows)),
        visit(SUPPORT, read("financials"), Promise::Deny("no_rule", None, DENIED)),
        visit(
            SUPPORT,
            Ask::Call("run_sql", every.clone()),
            Promise::Deny("forbidden", Some(("support.cedar", 2)), UNKNOWN),
        ),
        visit(SUPPORT, Ask::Call("write_table", order), Promise::Deny("forbidden", Some(("hours.cedar", 0)), DENIED)),
        visit(FINANCE, read("financials"), Promise::Allow(Some(financials), Sight::Rows)),
        visit(FINANCE, Ask::Call("run_sql", every), Promise::Allow(Some(financials), Sight::Rows)),
    ]
}

fn strangers() -> [Visit; 3] {
    let refused = |agent, reason, sight| visit(agent, Ask::Connect, Promise::Deny(reason, None, sight));
    [
        refused(NOBODY, "no_credentials", Sight::Unauthorized("")),
        refused(STRANGER, "token_agent_unknown", Sight::Forbidden),
        refused(YESTERDAY, "token_expired", Sight::Unauthorized("the access token expired")),
    ]
}

/// Takes `orders` out of the list, applies, and asks again on the connection that is open.
fn change_a_rule(scene: &mut Scene, face: &Face) -> Result<u32> {
    let (before, after) = (r#"["customers", "orders"]"#, r#"["customers"]"#);
    let file = scene.folder.join("policies/support.cedar");
    let text = fs::read_to_string(&file)?;
    if !text.contains(before) {
        bail!("`{}` does not hold `{before}`", file.display());
    }
    fs::write(&file, text.replace(before, after))?;
    println!("{}", face.paint(Tone::Dim, &format!("policies/support.cedar: {before} becomes {after}")));
    operate(scene, face, &["policy", "apply"])?;
    let mut broken = show(scene, face, &visit(SUPPORT, read("orders"), Promise::Deny("no_rule", None, DENIED)))?;
    let customers = Promise::Allow(Some(("support.cedar", 0)), Sight::Rows);
    broken += show(scene, face, &visit(SUPPORT, read("customers"), customers))?;
    Ok(broken)
}

fn suspend(scene: &mut Scene, face: &Face) -> Result<u32> {
    operate(scene, face, &["agent", "suspend", SUPPORT])?;
    let refused = Promise::Deny("agent_suspended", None, Sight::Forbidden);
    let mut broken = show(scene, face, &visit(SUPPORT, read("customers"), refused))?;
    operate(scene, face, &["agent", "resume", SUPPORT])?;
    let customers = Promise::Allow(Some(("support.cedar", 0)), Sight::Rows);
    broken += show(scene, face, &visit(SUPPORT, read("customers"), customers))?;
    Ok(broken)
}

/// Runs a verb of the command line and shows what was typed and said.
fn operate(scene: &Scene, face: &Face, verb: &[&str]) -> Result<()> {
    println!("{}", face.paint(Tone::Dim, &format!("$ portcullis {}", verb.join(" "))));
    let done = scene.operate(verb)?;
    for line in String::from_utf8_lossy(&done.stdout).lines() {
        println!("{}", face.paint(Tone::Dim, &format!("  {line}")));
    }
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        bail!("`portcullis {}` failed with {}: {}", verb.join(" "), done.status, words.trim_end());
    }
    Ok(())
}

/// The two agents open their sessions; what they ask later goes through these.
fn open(scene: &mut Scene) -> Result<()> {
    for agent in [SUPPORT, FINANCE] {
        let saw = act(scene, agent, &Ask::Connect)?;
        if !matches!(saw, Saw::Open { .. }) {
            bail!("`{agent}` could not connect: {}", lines::came_back(&saw));
        }
    }
    scene.log.news().map(|_| ())
}

/// Asks, looks the answer up in the log, prints the line; 1 where it is not as promised.
fn show(scene: &mut Scene, face: &Face, visit: &Visit) -> Result<u32> {
    scene.log.news()?;
    let saw = act(scene, visit.agent, &visit.ask)?;
    scene.check()?;
    let record = scene.log.news()?.into_iter().find(|record| is_of(record, visit));
    let Some(record) = record else {
        println!("{}", wrong(face, &format!("{} {}: nothing was recorded", visit.agent, asked(&visit.ask))));
        println!("    {}", lines::came_back(&saw));
        return Ok(1);
    };
    println!("{}", face.line(shown(visit.agent), &asked(&visit.ask), &record, &saw));
    match fault(scene, visit, &record, &saw)? {
        None => Ok(0),
        Some(promised) => {
            println!("{}", wrong(face, &promised));
            Ok(1)
        }
    }
}

fn wrong(face: &Face, words: &str) -> String {
    format!("    {} {words}", face.paint(Tone::Wrong, "NOT AS PROMISED"))
}

/// A refusal of somebody unproven names no agent and no method; everything else is found by both.
fn is_of(record: &Record, visit: &Visit) -> bool {
    let method = match &visit.ask {
        Ask::Connect => None,
        Ask::List => Some("tools/list"),
        Ask::Call(..) => Some("tools/call"),
    };
    match &*record.event {
        "refusal" => true,
        "decision" => {
            record.agent.as_deref() == Some(visit.agent) && method.is_some() && record.method.as_deref() == method
        }
        _ => false,
    }
}

/// What was promised, where it is not what came.
fn fault(scene: &Scene, visit: &Visit, record: &Record, saw: &Saw) -> Result<Option<String>> {
    let (word, cause, rule, sight) = match visit.promise {
        Promise::Allow(rule, sight) => ("ALLOW", None, rule, sight),
        Promise::Deny(cause, rule, sight) => ("DENY", Some(cause), rule, sight),
    };
    let rule = rule.map(|rule| named(scene, rule)).transpose()?;
    let right = record.allows() == (word == "ALLOW")
        && record.cause.as_deref() == cause
        && rule.as_ref().is_none_or(|rule| record.rules.as_slice() == std::slice::from_ref(rule))
        && seen(sight, saw);
    let words = [Some(word.to_owned()), cause.map(str::to_owned), rule, Some(format!("{sight:?}"))];
    Ok((!right).then(|| words.into_iter().flatten().collect::<Vec<_>>().join(" ")))
}

fn seen(sight: Sight, saw: &Saw) -> bool {
    match (sight, saw) {
        (Sight::Rows, Saw::Answer { content, error: false }) => content.get("count").and_then(Value::as_u64) > Some(0),
        (Sight::Tools(expected), Saw::Tools { names }) => names == expected,
        (Sight::Told(words), Saw::Refused { message, .. }) => message.starts_with(words),
        (Sight::Unauthorized(words), Saw::Unauthorized { challenge }) => challenge.contains(words),
        (Sight::Forbidden, Saw::Forbidden { .. }) => true,
        (Sight::Rows | Sight::Tools(_) | Sight::Told(_) | Sight::Unauthorized(_) | Sight::Forbidden, _) => false,
    }
}

/// A rule as records name it: `support.cedar:4`, the line on which it begins.
fn named(scene: &Scene, (file, position): Rule) -> Result<String> {
    let text = fs::read_to_string(scene.folder.join("policies").join(file))?;
    let begins = |line: &str| line.starts_with("permit (") || line.starts_with("forbid (");
    let found = text.lines().enumerate().filter(|(_, line)| begins(line)).nth(position);
    let (line, _) = found.with_context(|| format!("`{file}` has no rule {position}"))?;
    Ok(format!("{file}:{}", line + 1))
}

fn act(scene: &mut Scene, agent: &str, ask: &Ask) -> Result<Saw> {
    let certificate = scene.folder.join("finance-bot.pem");
    let step = match ask {
        Ask::Connect => {
            let (era, token, certificate) = match agent {
                SUPPORT => (Era::Modern, Some(&*scene.tokens.support), None),
                FINANCE => (Era::Legacy, None, Some(&*certificate)),
                STRANGER => (Era::Modern, Some(&*scene.tokens.stranger), None),
                YESTERDAY => (Era::Modern, Some(&*scene.tokens.expired), None),
                _ => (Era::Modern, None, None),
            };
            Step::Open { agent, era, token, certificate }
        }
        Ask::List => Step::List { agent },
        Ask::Call(tool, arguments) => Step::Call { agent, tool, arguments: arguments.clone() },
    };
    scene.agents.act(&step)
}

/// What was asked, as in the log's own lines.
fn asked(ask: &Ask) -> String {
    match ask {
        Ask::Connect => "connect to crm".to_owned(),
        Ask::List => "list the tools of crm".to_owned(),
        Ask::Call(tool, arguments) => format!("crm.{tool} {arguments}"),
    }
}

fn heading(face: &Face, words: &str) {
    println!("\n{}", face.paint(Tone::Head, words));
}

fn shown(agent: &'static str) -> &'static str {
    if agent == YESTERDAY { SUPPORT } else { agent }
}

fn visit(agent: &'static str, ask: Ask, promise: Promise) -> Visit {
    Visit { agent, ask, promise }
}

fn read(table: &str) -> Ask {
    Ask::Call("read_table", json!({ "table": table }))
}

const SUPPORT: &str = "support-bot";
const FINANCE: &str = "finance-bot";
/// Without any proof.
const NOBODY: &str = "nobody";
/// With a good token, and in no registry.
const STRANGER: &str = "stranger";
/// `support-bot` with the token of yesterday.
const YESTERDAY: &str = "yesterday";

/// What an agent hears of a tool that it sees in its list.
const DENIED: Sight = Sight::Told("denied");

/// What it hears of one that is hidden from it: the same as of one that does not exist.
const UNKNOWN: Sight = Sight::Told("Unknown tool");
