//! Drafts rules. In: calls that were seen, the tools' types. Out: Cedar that permits these calls and as little else as it can say. Never here: judgement whether they ought to be permitted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::engine::Engine;
use super::surface::{ServerIndex, Subject};
use super::trial::{Target, Trial};
use super::types::{Field, Presence, Record, Type};

/// Different values of an argument that are listed; where more were seen, a list would only grow from day to day.
pub const VALUES_MAX: usize = 8;

/// A call that was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    agent: Box<str>,
    target: Target,
    /// Nothing where they were not captured.
    arguments: Option<Value>,
    trial: Option<Trial>,
}

impl Observed {
    /// A call of which everything is known.
    pub fn of(trial: Trial) -> Self {
        let read = |raw: &[u8]| serde_json::from_slice(raw).ok();
        let arguments = trial.arguments.as_deref().map_or(Some(Value::Object(serde_json::Map::new())), read);
        Self { agent: trial.agent.clone(), target: trial.target.clone(), arguments, trial: Some(trial) }
    }

    /// A call of a tool whose arguments were not captured.
    pub fn blind(agent: &str, tool: &str) -> Self {
        Self { agent: agent.into(), target: Target::Tool(tool.into()), arguments: None, trial: None }
    }

    /// The call, where all of it is known.
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }
}

/// What some agents did with one thing, and the narrowest condition that all of it meets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Drafted {
    principals: Vec<String>,
    who: Vec<Box<str>>,
    action: String,
    conditions: Vec<String>,
    remarks: Vec<String>,
    calls: usize,
}

/// Rules that were drafted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    server: Box<str>,
    rules: Vec<Drafted>,
}

/// Conditions and remarks of what one agent did.
type Narrowed = (Vec<String>, Vec<String>);

impl Draft {
    /// Drafts from `calls` on `server`; `agents` are those of the registry with their groups, for a group is named where all of it did alike.
    pub fn of<'a>(
        engine: &Engine,
        server: ServerIndex,
        agents: impl Iterator<Item = (&'a str, &'a [Box<str>])>,
        calls: &[Observed],
    ) -> Self {
        let name = engine.surface.faces.get(usize::from(server.0)).map(|face| face.name.clone()).unwrap_or_default();
        let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (agent, groups) in agents {
            groups.iter().for_each(|group| {
                members.entry(group).or_default().insert(agent);
            });
        }
        // Tools first, then resources, then prompts; of those each action is one.
        let mut seen: BTreeMap<(u8, String), BTreeMap<&str, Vec<&Observed>>> = BTreeMap::new();
        for call in calls {
            let Some(action) = action(&name, &call.target) else { continue };
            seen.entry(action).or_default().entry(&call.agent).or_default().push(call);
        }
        let mut rules = Vec::new();
        for ((_, action), by_agent) in seen {
            let mut alike: BTreeMap<Narrowed, (Vec<&str>, usize)> = BTreeMap::new();
            for (agent, calls) in by_agent {
                let entry = alike.entry(narrowed(engine, server, &calls)).or_default();
                entry.0.push(agent);
                entry.1 += calls.len();
            }
            for ((conditions, remarks), (who, calls)) in alike {
                rules.push(Drafted {
                    principals: principals(&who, &members),
                    who: who.into_iter().map(Box::from).collect(),
                    action: action.clone(),
                    conditions,
                    remarks,
                    calls,
                });
            }
        }
        Self { server: name, rules }
    }

    /// The rules as a policy file.
    pub fn to_cedar(&self) -> String {
        let mut out = String::new();
        for rule in &self.rules {
            let calls = if rule.calls == 1 { "1 call".to_owned() } else { format!("{} calls", rule.calls) };
            let _infallible = writeln!(out, "// {calls} by {}.", shown(&rule.who));
            for remark in &rule.remarks {
                let _infallible = writeln!(out, "// {remark}");
            }
            for principal in &rule.principals {
                let _infallible = write!(
                    out,
                    "permit ({principal}, action == Action::{}, resource == Server::{})",
                    quoted(&rule.action),
                    quoted(&self.server)
                );
                if !rule.conditions.is_empty() {
                    let _infallible = write!(out, "\nwhen {{ {} }}", rule.conditions.join(" &&\n       "));
                }
                out.push_str(";\n");
            }
            out.push('\n');
        }
        out
    }
}

/// What a rule is about; the number keeps kinds together.
fn action(server: &str, target: &Target) -> Option<(u8, String)> {
    match target {
        Target::Tool(name) => Some((0, format!("{server}.{name}"))),
        Target::ResourceRead(_) => Some((1, "resource.read".into())),
        Target::PromptGet(_) => Some((2, "prompt.get".into())),
        Target::Connect | Target::CompletePrompt(_) | Target::CompleteResource(_) | Target::Task(_) => None,
        Target::Sample | Target::Elicit | Target::Roots | Target::Extension(_) => None,
    }
}

/// Names for a comment: no line of it may end the comment.
fn shown(who: &[Box<str>]) -> String {
    let names: Vec<&str> = who.iter().take(VALUES_MAX).map(|name| &**name).collect();
    let more = who.len().saturating_sub(VALUES_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    super::names::visible(&format!("{}{more}", names.join(", ")))
}

/// A group where it is exactly these agents, else each by itself.
fn principals(who: &[&str], members: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let all: BTreeSet<&str> = who.iter().copied().collect();
    match members.iter().find(|(_, members)| **members == all) {
        Some((group, _)) => vec![format!("principal in Group::{}", quoted(group))],
        None => who.iter().map(|agent| format!("principal == Agent::{}", quoted(agent))).collect(),
    }
}

fn narrowed(engine: &Engine, server: ServerIndex, calls: &[&Observed]) -> Narrowed {
    let first = calls.first().map(|call| &call.target);
    match first {
        Some(Target::Tool(name)) => {
            let column = engine.tool(server, name).ok();
            let column = column.and_then(|tool| engine.surface.column(server, Subject::Tool(tool)));
            let input =
                column.and_then(|column| engine.surface.columns.get(column as usize)).map(|column| &column.input);
            input.map_or_else(Default::default, |input| of_arguments(input, calls))
        }
        Some(Target::ResourceRead(_)) => of_names("context.uri", calls),
        Some(Target::PromptGet(_)) => of_names("context.name", calls),
        Some(_) | None => Narrowed::default(),
    }
}

/// The URIs or names that were asked for: a list, or what they begin with.
fn of_names(attribute: &str, calls: &[&Observed]) -> Narrowed {
    let names: BTreeSet<&str> = calls
        .iter()
        .filter_map(|call| match &call.target {
            Target::ResourceRead(name) | Target::PromptGet(name) => Some(&**name),
            Target::Connect | Target::Tool(_) | Target::CompletePrompt(_) | Target::CompleteResource(_) => None,
            Target::Task(_) | Target::Sample | Target::Elicit | Target::Roots | Target::Extension(_) => None,
        })
        .collect();
    if names.len() <= VALUES_MAX {
        return (vec![among(attribute, names.iter().map(|name| quoted(name)).collect())], Vec::new());
    }
    let mut common = names.first().copied().unwrap_or_default();
    for name in &names {
        let same = common.char_indices().zip(name.chars()).find(|((_, one), other)| one != other);
        let end = same.map_or(common.len().min(name.len()), |((at, _), _)| at);
        common = common.get(..end).unwrap_or_default();
    }
    let folder = common.rfind('/').and_then(|at| common.get(..=at)).unwrap_or_default();
    let remark = format!("{} different ones were asked for, too many to list.", names.len());
    if folder.is_empty() {
        return (Vec::new(), vec![remark]);
    }
    // A star in a pattern means any text unless it is escaped.
    let pattern = quoted(folder).replace('*', "\\*");
    let pattern = pattern.strip_suffix('"').unwrap_or(&pattern);
    (vec![format!("{attribute} like {pattern}*\"")], vec![remark])
}

fn of_arguments(input: &Record, calls: &[&Observed]) -> Narrowed {
    let known: Option<Vec<&serde_json::Map<String, Value>>> =
        calls.iter().map(|call| call.arguments.as_ref().and_then(Value::as_object)).collect();
    let Some(known) = known else {
        return (Vec::new(), vec!["Arguments of some of them were not captured, so any are permitted.".into()]);
    };
    let (mut conditions, mut remarks) = Narrowed::default();
    for field in &input.fields {
        let values: Vec<&Value> =
            known.iter().filter_map(|arguments| arguments.get(&*field.name)).filter(|value| !value.is_null()).collect();
        match condition(field, &values) {
            Ok(Some(held)) => conditions.push(optional(field, held, values.len() == known.len())),
            Ok(None) if values.is_empty() && field.presence != Presence::Required => {
                conditions.push(format!("!(context.input has {})", member(&field.name)));
            }
            Ok(None) => {}
            Err(remark) => remarks.push(remark),
        }
    }
    let undeclared: BTreeSet<&String> =
        known.iter().flat_map(|arguments| arguments.keys()).filter(|name| input.field(name).is_none()).collect();
    if !undeclared.is_empty() {
        let names = undeclared.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        remarks.push(super::names::visible(&format!("Carried but not declared, so no rule can read them: {names}.")));
    }
    (conditions, remarks)
}

/// A condition on an argument that may be absent must say so.
fn optional(field: &Field, held: String, always: bool) -> String {
    let name = member(&field.name);
    match (field.presence, always) {
        (Presence::Required, _) => held,
        (Presence::Optional | Presence::Nullable, true) => format!("context.input has {name} && {held}"),
        (Presence::Optional | Presence::Nullable, false) => {
            format!("(if context.input has {name} then {held} else true)")
        }
    }
}

/// What all values of an argument have in common; an error says why nothing is told of it.
fn condition(field: &Field, values: &[&Value]) -> Result<Option<String>, String> {
    if values.is_empty() {
        return Ok(None);
    }
    let attribute = attribute(&field.name);
    let untold = |why: &str| super::names::visible(&format!("`{}` {why}, so any value is permitted.", field.name));
    match &field.ty {
        Some(Type::String) => {
            let texts: Option<BTreeSet<&str>> = values.iter().map(|value| value.as_str()).collect();
            let texts = texts.ok_or_else(|| untold("was not always a text"))?;
            if texts.len() > VALUES_MAX {
                return Err(untold(&format!("had {} different values", texts.len())));
            }
            Ok(Some(among(&attribute, texts.into_iter().map(quoted).collect())))
        }
        Some(Type::Bool) => {
            let truths: BTreeSet<bool> = values.iter().filter_map(|value| value.as_bool()).collect();
            match truths.first() {
                Some(truth) if truths.len() == 1 => Ok(Some(format!("{attribute} == {truth}"))),
                Some(_) | None => Err(untold("was both true and false")),
            }
        }
        Some(Type::Long) => {
            let numbers: Option<BTreeSet<i64>> = values.iter().map(|value| value.as_i64()).collect();
            let numbers = numbers.ok_or_else(|| untold("was not always a whole number"))?;
            match (numbers.first(), numbers.last()) {
                (Some(least), Some(most)) if least == most => Ok(Some(format!("{attribute} == {least}"))),
                (Some(least), Some(most)) => Ok(Some(format!("{attribute} >= {least} && {attribute} <= {most}"))),
                (None, _) | (_, None) => Ok(None),
            }
        }
        Some(Type::Decimal | Type::Set(_) | Type::Record(_)) => Err(untold("is no plain text, number or truth value")),
        None => Err(untold("has no single type in the tool's schema")),
    }
}

fn among(attribute: &str, values: Vec<String>) -> String {
    match values.as_slice() {
        [only] => format!("{attribute} == {only}"),
        several => format!("[{}].contains({attribute})", several.join(", ")),
    }
}

/// `context.input.table`, `context.input["odd name"]`.
fn attribute(name: &str) -> String {
    if is_identifier(name) { format!("context.input.{name}") } else { format!("context.input[{}]", quoted(name)) }
}

/// The same after `has`.
fn member(name: &str) -> String {
    if is_identifier(name) { name.to_owned() } else { quoted(name) }
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
        && !RESERVED.contains(&name)
}

/// Words of Cedar's own, which name nothing.
const RESERVED: [&str; 10] = ["true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"];

/// A text as Cedar writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            plain if plain.is_control() || super::names::hidden(plain.encode_utf8(&mut [0; 4])).is_some() => {
                let _infallible = write!(out, "\\u{{{:x}}}", u32::from(plain));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}
