//! Checks that a rule means something. In: one parsed rule, the columns, the registry's names. Out: findings with place, cause and cure. Never here: evaluation.

use ahash::AHashSet;

use super::obligation::KEYS;
use super::reads::{Argument, Reads};
use super::scope::{self, Columns, PrincipalScope};
use super::source::Parsed;
use super::surface::{Column, Face, Subject, Surface};
use super::types::{Field, Record, Type};
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};

mod special;

/// The names a rule can use for whom it is about.
#[derive(Clone, Debug, Default)]
pub struct KnownNames<'a> {
    /// Every agent of the registry.
    pub agents: AHashSet<&'a str>,
    /// Every group of the registry.
    pub groups: AHashSet<&'a str>,
    /// Every calendar.
    pub calendars: AHashSet<&'a str>,
}

/// What the checks look at.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The columns of all servers.
    pub surface: &'a Surface,
    /// The registry's names.
    pub names: &'a KnownNames<'a>,
    /// The text of the file that the rule stands in.
    pub text: &'a str,
}

/// All that is wrong with the names and arguments of a rule; an empty list where nothing is.
pub fn rule(rule: &Parsed, covered: &Columns, place: Place<'_>) -> Diagnostics {
    let mut findings = names(rule, place);
    findings.extend(annotations(rule, place.text));
    findings.extend(facts(rule, place.text));
    findings.extend(special::facts(rule, covered, place));
    if findings.is_empty() { arguments(rule, covered, place) } else { findings }
}

/// A rule that covers nothing is refused. Asked last: a misspelt type has a better finding of its own.
pub fn covers_nothing(rule: &Parsed, covered: &Columns) -> Option<Diagnostic> {
    let nobody = rule.scope.principal == PrincipalScope::Nobody;
    (nobody || covered.matching.is_empty()).then(|| {
        let message = "this rule can never match: no action in its scope exists for its principal and resource";
        Diagnostic::error(&*rule.file, Some(rule.line), message)
            .help("name a tool of that server, or leave out the resource")
    })
}

/// Annotations that speak to readers, beside `@id`.
const SPOKEN: [&str; 6] = ["description", "doc", "note", "owner", "reason", "ticket"];

/// Every annotation must be one that means what it says.
fn annotations(rule: &Parsed, text: &str) -> Diagnostics {
    let known = || SPOKEN.into_iter().chain(KEYS).chain(["id"]);
    let strange = rule.annotations.iter().map(|(name, _)| &**name).filter(|name| !known().any(|own| own == *name));
    strange
        .map(|name| {
            let line = rule.line_of(&format!("@{name}"), text);
            let shown = |names: &[&str]| listed(names.iter().map(|name| format!("`@{name}`")).collect());
            let remove = || {
                format!(
                    "remove it: beside `@id`, a rule takes what obliges, {}, and what speaks to readers, {}",
                    shown(&KEYS),
                    shown(&SPOKEN)
                )
            };
            Diagnostic::error(&*rule.file, Some(line), format!("unknown annotation `@{name}`"))
                .help(did_you_mean(name, known()).unwrap_or_else(remove))
        })
        .collect()
}

/// Every member of the context that the rule reads, even by `has`, must be one that some action has.
fn facts(rule: &Parsed, text: &str) -> Diagnostics {
    let told = |name: &str| match name {
        // A value that is read is left to the validator, which knows the action; a `has` it takes for false.
        unknown if !rule.text.contains(&format!("has {unknown}")) => None,
        unknown => Some((
            format!("no context has a fact `{unknown}`"),
            did_you_mean(unknown, Reads::context_names()).unwrap_or_else(|| {
                format!("the facts are {}", listed(Reads::context_names().map(|name| format!("`{name}`")).collect()))
            }),
        )),
    };
    let unknown = rule.reads.unknown.iter().filter_map(|name| Some((name, told(name)?)));
    unknown
        .map(|(name, (message, cure))| {
            Diagnostic::error(&*rule.file, Some(rule.line_of_member(name, text)), message).help(cure)
        })
        .collect()
}

/// `a, b and c`.
fn listed(names: Vec<String>) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// Every entity that the rule names must exist.
pub(super) fn names(rule: &Parsed, place: Place<'_>) -> Diagnostics {
    let mut findings = Diagnostics::new();
    for uid in &rule.entities {
        let (ty, id) = scope::named(uid);
        let problem = match ty {
            "Agent" if !place.names.agents.contains(id) => {
                Some((format!("unknown agent `{id}`"), did_you_mean(id, place.names.agents.iter().copied())))
            }
            "Group" if !place.names.groups.contains(id) => {
                Some((format!("unknown group `{id}`"), did_you_mean(id, place.names.groups.iter().copied())))
            }
            "Server" if place.surface.server(id).is_none() => {
                let known = place.surface.faces.iter().map(|face| &*face.name);
                Some((format!("unknown server `{id}`"), did_you_mean(id, known)))
            }
            "Action" if place.surface.of_action(id).is_none() => Some(unknown_action(id, place.surface)),
            "Claims" => Some((
                "a rule cannot name a set of claims".to_owned(),
                Some("read them with `context.claims.hasTag` and `getTag`".to_owned()),
            )),
            // What is none of ours is left to the validator, which knows every type.
            _ => None,
        };
        if let Some((message, cure)) = problem {
            let line = rule.line_of(&format!("\"{id}\""), place.text);
            let finding = Diagnostic::error(&*rule.file, Some(line), message);
            findings.push(match cure {
                Some(cure) => finding.help(cure),
                None => finding,
            });
        }
    }
    findings
}

fn unknown_action(id: &str, surface: &Surface) -> (String, Option<String>) {
    let owner = surface.faces.iter().filter_map(|face| Some((face, id.strip_prefix(&*face.name)?.strip_prefix('.')?)));
    // The longest server name wins, as in `crm.eu` beside `crm`.
    if let Some((face, tool)) = owner.max_by_key(|(face, _)| face.name.len()) {
        let prefix = format!("{}.", face.name);
        let known = surface.action_ids().filter_map(|action| action.strip_prefix(&*prefix));
        let cure = did_you_mean(tool, known).or_else(|| Some(offered(face)));
        return (format!("unknown tool `{tool}` on server `{}`", face.name), cure);
    }
    let cure = did_you_mean(id, surface.action_ids().chain(surface.group_ids()));
    (format!("unknown action `{id}`"), cure)
}

/// How to see what a server offers.
fn offered(face: &Face) -> String {
    match face.tools {
        0 => format!("its tools are not known: list them with `portcullis tools learn {}` first", face.name),
        _ => format!("`portcullis tools diff {}` shows what it offers", face.name),
    }
}

/// Where a path of member names leads in a tool's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved<'r> {
    /// To a typed value, or below one that has no members.
    Typed,
    /// To a member that has no single type; the members up to it.
    Untyped(usize),
    /// To a member that this record does not declare; the members before it.
    Undeclared(&'r Record, usize),
}

/// Follows `path` through the arguments of a tool.
pub fn resolve<'r>(input: &'r Record, path: &[Box<str>]) -> Resolved<'r> {
    let mut at = input;
    for (depth, step) in path.iter().enumerate() {
        match at.field(step) {
            None => return Resolved::Undeclared(at, depth),
            Some(Field { ty: None, name: _, presence: _ }) => return Resolved::Untyped(depth + 1),
            Some(Field { ty: Some(Type::Record(inner)), name: _, presence: _ }) => at = inner,
            Some(Field {
                ty: Some(Type::String | Type::Long | Type::Bool | Type::Decimal | Type::Set(_)),
                name: _,
                presence: _,
            }) => return Resolved::Typed,
        }
    }
    Resolved::Typed
}

/// The JSON pointer (RFC 6901) of a path.
pub fn pointer<'p>(path: impl IntoIterator<Item = &'p Box<str>>) -> String {
    path.into_iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
}

/// What is wrong with a member that a rule reads.
pub(super) enum Fault<'a> {
    /// It has no single type in this tool's schema.
    Untyped(&'a Column),
    /// No tool declares it. The nearest, and the record in which it is missing.
    Undeclared(&'a Column, &'a Record),
}

/// Every member that the rule reads, even by `has`, must be declared by one of the tools and typed by all that do. Each path is reported once.
pub(super) fn members<'a>(
    reads: &'a [Argument],
    tools: &[(&'a Column, &'a Record)],
    mut finding: impl FnMut(Fault<'a>, &'a [Box<str>]) -> Diagnostic,
) -> Diagnostics {
    let mut findings = Diagnostics::new();
    let mut reported: AHashSet<&[Box<str>]> = AHashSet::new();
    for read in reads {
        let mut nearest: Option<(&Column, &Record, usize)> = None;
        let mut declared = tools.is_empty();
        for (column, record) in tools {
            match resolve(record, &read.path) {
                Resolved::Typed => declared = true,
                Resolved::Untyped(depth) => {
                    declared = true;
                    let upto = read.path.get(..depth).unwrap_or_default();
                    if reported.insert(upto) {
                        findings.push(finding(Fault::Untyped(column), upto));
                    }
                }
                Resolved::Undeclared(record, depth) => {
                    if nearest.is_none_or(|(_, _, deepest)| depth > deepest) {
                        nearest = Some((column, record, depth));
                    }
                }
            }
        }
        if let (false, Some((column, record, depth))) = (declared, nearest) {
            let upto = read.path.get(..=depth).unwrap_or_default();
            if reported.insert(upto) {
                findings.push(finding(Fault::Undeclared(column, record), upto));
            }
        }
    }
    findings
}

/// Every argument that the rule reads.
fn arguments(rule: &Parsed, covered: &Columns, place: Place<'_>) -> Diagnostics {
    let columns = covered.matching.iter().filter_map(|column| place.surface.columns.get(*column as usize));
    let tools = columns.filter(|column| matches!(column.subject, Subject::Tool(_)));
    let tools: Vec<(&Column, &Record)> = tools.map(|column| (column, &column.input)).collect();
    members(&rule.reads.arguments, &tools, |fault, path| match fault {
        Fault::Untyped(column) => untyped(rule, column, path, place.text),
        Fault::Undeclared(column, record) => undeclared(rule, (column, tools.len()), record, path, place.text),
    })
}

fn untyped(rule: &Parsed, column: &Column, path: &[Box<str>], text: &str) -> Diagnostic {
    let pointer = pointer(path);
    let line = rule.line_of_member(path.last().map_or("", |name| name), text);
    let message = format!("argument `{pointer}` of tool `{}` has no single type in its schema", column.action);
    Diagnostic::error(&*rule.file, Some(line), message)
        .help(format!("say which with `types = {{ \"{pointer}\" = \"string\" }}` under `[tool.\"{}\"]`", column.action))
}

fn undeclared(
    rule: &Parsed,
    (column, tools): (&Column, usize),
    record: &Record,
    path: &[Box<str>],
    text: &str,
) -> Diagnostic {
    let name = path.last().map_or("", |name| &**name);
    let line = rule.line_of_member(name, text);
    let message = match tools {
        1 => format!("unknown argument `{}` of tool `{}`", pointer(path), column.action),
        many => format!("none of the {many} tools that this rule covers has an argument `{}`", pointer(path)),
    };
    let finding = Diagnostic::error(&*rule.file, Some(line), message);
    match did_you_mean(name, record.fields.iter().map(|field| &*field.name)) {
        Some(cure) => finding.help(cure),
        None => finding.help("a rule can read only what the tool's schema declares"),
    }
}
