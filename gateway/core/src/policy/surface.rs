//! Lists all that can be asked of every server. In: reviewed catalogues and what the configuration says of tools. Out: one column per action. Never here: rules.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use serde_json::Value;

use super::catalogue::{Catalogue, ToolIndex};
use super::sql::SqlRules;
use super::types::{AssignError, Field, Record, Type};
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};

/// A server's position in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIndex(pub u16);

/// What the configuration says of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolRules {
    /// Action groups the tool belongs to, such as `customerTools`.
    pub groups: Vec<Box<str>>,
    /// Types of arguments by JSON pointer, where the schema gives none: `/amount` = `decimal`.
    pub types: BTreeMap<Box<str>, Box<str>>,
    /// Types of members of the result in the same way, where `outputSchema` gives none.
    pub output_types: BTreeMap<Box<str>, Box<str>>,
    /// The pointer of the argument that names the customer account; without it the account comes from the token.
    pub account: Option<Box<str>>,
    /// The argument that holds SQL, and how it is read.
    pub sql: Option<Arc<SqlRules>>,
}

/// One server as the policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct ServerSource<'a> {
    /// Its name, the `crm` of `Server::"crm"`.
    pub name: &'a str,
    /// Its reviewed tools.
    pub catalogue: &'a Catalogue,
    /// What the configuration says of its tools, by tool name.
    pub tools: &'a BTreeMap<Box<str>, ToolRules>,
    /// Methods beyond MCP that the configuration lets through to the rules.
    pub extension_methods: &'a [Box<str>],
}

/// What one column is about. The fixed ones are the same for every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The handshake, `ping` and the lists.
    Connect,
    /// Reading or subscribing to a resource by its URI.
    ResourceRead,
    /// Getting a prompt by its name.
    PromptGet,
    /// Completing an argument of a prompt or of a resource template.
    Complete,
    /// Asking for, feeding or cancelling a task that an earlier call made.
    Task,
    /// The upstream asks the agent's model (`sampling/createMessage`).
    Sample,
    /// The upstream asks the agent's user (`elicitation/create`).
    Elicit,
    /// The upstream asks for the agent's folders (`roots/list`).
    Roots,
    /// A method beyond MCP, by its position in the server's configuration.
    Extension(u16),
    /// Calling a tool.
    Tool(ToolIndex),
}

/// The fixed subjects in the order of their columns, with their action ids.
pub const FIXED: [(Subject, &str); 8] = [
    (Subject::Connect, "connect"),
    (Subject::ResourceRead, "resource.read"),
    (Subject::PromptGet, "prompt.get"),
    (Subject::Complete, "complete"),
    (Subject::Task, "task"),
    (Subject::Sample, "upstream.sample"),
    (Subject::Elicit, "upstream.elicit"),
    (Subject::Roots, "upstream.roots"),
];

/// The group that every tool belongs to.
pub const CALL: &str = "call";

/// One action on one server.
#[derive(Clone, Debug)]
pub struct Column {
    /// The server.
    pub server: ServerIndex,
    /// What is asked of it.
    pub subject: Subject,
    /// The action id, the `crm.read_table` of `Action::"crm.read_table"`.
    pub action: Box<str>,
    /// Action groups it is a member of.
    pub groups: Box<[Box<str>]>,
    /// A tool's arguments; empty and open for everything else.
    pub input: Record,
    /// The pointer of the argument that names the account.
    pub account: Option<Box<str>>,
    /// The argument that holds SQL; with it the column has `context.sql`.
    pub sql: Option<Arc<SqlRules>>,
    /// A tool's `outputSchema`, where it has one.
    pub output: Option<Box<Value>>,
    /// What its results hold by that, as rules read it.
    pub result: Option<Record>,
}

/// Names what a column, or a set of columns, offers to rules beside names of actions and servers. Where it is the same, a rule means the same: what
/// was checked and lowered for one holds for the other, before and after a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape([u8; 32]);

impl Shape {
    fn of(column: &Column) -> Self {
        // Taken apart without a rest: what a column gains later must be looked at here.
        let Column { server: _, subject, action: _, groups, input, account, sql, output, result } = column;
        let kind = match subject {
            Subject::Tool(_) => "tool",
            Subject::Extension(_) => "extension",
            Subject::Connect => "connect",
            Subject::ResourceRead => "resource.read",
            Subject::PromptGet => "prompt.get",
            Subject::Complete => "complete",
            Subject::Task => "task",
            Subject::Sample => "sample",
            Subject::Elicit => "elicit",
            Subject::Roots => "roots",
        };
        let mut digest = Digest::default();
        (kind, groups, input, account, sql, result).hash(&mut digest);
        output.as_ref().map(|schema| schema.to_string()).hash(&mut digest);
        digest.shape()
    }

    /// Of two sets, in their order.
    pub fn of_both(&self, other: &Self) -> Self {
        let mut digest = Digest::default();
        (self, other).hash(&mut digest);
        digest.shape()
    }
}

/// Digests what hashes itself: equal digests mean equal values, whoever chose them.
#[derive(Default)]
pub(super) struct Digest(blake3::Hasher);

impl Digest {
    /// What it came to.
    pub(super) fn shape(&self) -> Shape {
        Shape(self.bytes())
    }

    /// The same as bytes.
    pub(super) fn bytes(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// The columns of one server.
#[derive(Clone, Debug)]
pub struct Face {
    /// The server's name.
    pub name: Box<str>,
    /// Position of its first column.
    pub base: u32,
    /// Its extension methods.
    pub extensions: Box<[Box<str>]>,
    /// How many tools it has.
    pub tools: u32,
}

/// All servers, all columns.
#[derive(Clone, Debug, Default)]
pub struct Surface {
    /// By [`ServerIndex`].
    pub faces: Vec<Face>,
    /// Each server's in one run: fixed, extensions, tools.
    pub columns: Vec<Column>,
    by_action: AHashMap<Box<str>, Vec<u32>>,
    groups: AHashMap<Box<str>, Vec<u32>>,
    by_name: AHashMap<Box<str>, ServerIndex>,
    shapes: Vec<Shape>,
    whole: Shape,
}

impl Column {
    /// One of which nothing is configured and nothing declared.
    pub(super) fn plain(server: ServerIndex, subject: Subject, action: &str) -> Self {
        Self {
            server,
            subject,
            action: action.into(),
            groups: Box::new([]),
            input: Record::open(),
            account: None,
            sql: None,
            output: None,
            result: None,
        }
    }
}

impl Surface {
    /// Lays out the columns of `servers`; `file` is where the configuration of the tools stands.
    pub fn build(servers: &[ServerSource<'_>], file: &str) -> Result<Self, Diagnostics> {
        let mut surface = Self::default();
        let mut findings = Diagnostics::new();
        for (position, server) in servers.iter().enumerate() {
            let Ok(index) = u16::try_from(position) else {
                findings.push(Diagnostic::error(file, None, format!("more than {} servers", u16::MAX)));
                break;
            };
            if surface.by_name.contains_key(server.name) {
                findings.push(Diagnostic::error(file, None, format!("server `{}` is named twice", server.name)));
            }
            for unknown in server.tools.keys().filter(|name| server.catalogue.find(name).is_none()) {
                let known = server.catalogue.tools().iter().map(|tool| &*tool.name);
                let finding =
                    Diagnostic::error(file, None, format!("unknown tool `{unknown}` on server `{}`", server.name));
                findings.push(match did_you_mean(unknown, known) {
                    Some(cure) => finding.help(cure),
                    None => finding.help(format!("`portcullis tools learn {}` lists its tools", server.name)),
                });
            }
            surface.add(ServerIndex(index), server, file, &mut findings);
        }
        surface.collisions(file, &mut findings);
        surface.shape();
        if findings.is_empty() { Ok(surface) } else { Err(findings) }
    }

    fn add(&mut self, index: ServerIndex, server: &ServerSource<'_>, file: &str, findings: &mut Diagnostics) {
        let plain = |subject, action: &str| Column::plain(index, subject, action);
        self.by_name.entry(server.name.into()).or_insert(index);
        self.faces.push(Face {
            name: server.name.into(),
            base: self.next(),
            extensions: server.extension_methods.into(),
            tools: u32::try_from(server.catalogue.tools().len()).unwrap_or(u32::MAX),
        });
        for (subject, action) in FIXED {
            self.push(plain(subject, action));
        }
        for (position, method) in server.extension_methods.iter().enumerate() {
            self.push(plain(Subject::Extension(u16::try_from(position).unwrap_or(u16::MAX)), method));
        }
        let standard = ToolRules::default();
        for (position, tool) in server.catalogue.tools().iter().enumerate() {
            let rules = server.tools.get(&tool.name).unwrap_or(&standard);
            let mut input = Record::of_schema(tool.definition.get("inputSchema"));
            let output = tool.definition.get("outputSchema");
            let mut result = output.map(|schema| Record::of_schema(Some(schema)));
            let action = format!("{}.{}", server.name, tool.name);
            let mut typed = |record: &mut Record, types: &BTreeMap<Box<str>, Box<str>>| {
                for (pointer, ty) in types {
                    if let Err(error) = record.assign(pointer, ty) {
                        findings.push(bad_type(file, &action, (pointer, ty), error));
                    }
                }
            };
            typed(&mut input, &rules.types);
            match &mut result {
                Some(result) => typed(result, &rules.output_types),
                None if rules.output_types.is_empty() => {}
                None => findings.push(
                    Diagnostic::error(file, None, format!("tool `{action}` declares no results that could have types"))
                        .help("take out its `output_types`: without an `outputSchema` no rule reads its results"),
                ),
            }
            if let Some(sql) = &rules.sql
                && !may_hold_text(&input, &sql.argument)
            {
                let message = format!("tool `{action}` has no text argument `{}`, which its `sql` names", sql.argument);
                findings
                    .push(Diagnostic::error(file, None, message).help("correct `argument`, a pointer such as `/sql`"));
            }
            self.push(Column {
                server: index,
                subject: Subject::Tool(ToolIndex(u32::try_from(position).unwrap_or(u32::MAX))),
                action: action.into(),
                groups: [Box::from(CALL)].into_iter().chain(rules.groups.iter().cloned()).collect(),
                input,
                account: rules.account.clone(),
                sql: rules.sql.clone(),
                output: output.cloned().map(Box::new),
                result,
            });
        }
    }

    fn next(&self) -> u32 {
        u32::try_from(self.columns.len()).unwrap_or(u32::MAX)
    }

    fn push(&mut self, column: Column) {
        let next = self.next();
        self.by_action.entry(column.action.clone()).or_default().push(next);
        for group in &column.groups {
            self.groups.entry(group.clone()).or_default().push(next);
        }
        self.columns.push(column);
    }

    fn shape(&mut self) {
        self.shapes = self.columns.iter().map(Shape::of).collect();
        let mut digest = Digest::default();
        let mut groups: Vec<&str> = self.group_ids().collect();
        groups.sort_unstable();
        groups.hash(&mut digest);
        for face in &self.faces {
            (&face.name, face.base, &face.extensions, face.tools).hash(&mut digest);
        }
        for (column, shape) in self.columns.iter().zip(&self.shapes) {
            (column.server.0, &column.action, shape).hash(&mut digest);
        }
        self.whole = digest.shape();
    }

    /// How many columns there are.
    pub fn count(&self) -> u32 {
        self.next()
    }

    /// The shape of one column.
    pub fn shape_of(&self, column: u32) -> Shape {
        self.shapes.get(column as usize).copied().unwrap_or_default()
    }

    /// Names the shapes of some columns, whatever their order and number.
    pub fn shapes_of(&self, columns: impl Iterator<Item = u32>) -> Shape {
        let mut shapes: Vec<Shape> = columns.map(|column| self.shape_of(column)).collect();
        shapes.sort_unstable();
        shapes.dedup();
        let mut digest = Digest::default();
        shapes.hash(&mut digest);
        digest.shape()
    }

    /// Of some columns one of each shape.
    pub fn one_of_each(&self, columns: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut seen = AHashSet::new();
        columns.filter(|column| seen.insert(self.shape_of(*column))).collect()
    }

    /// Names everything: every server, every action, every shape, every group.
    pub fn whole(&self) -> Shape {
        self.whole
    }

    /// Names one column with its action and its server.
    pub fn exactly(&self, column: u32) -> Shape {
        let mut digest = Digest::default();
        let of = self.columns.get(column as usize);
        let server = of.and_then(|column| self.faces.get(usize::from(column.server.0)));
        (server.map(|face| &face.name), of.map(|column| &column.action), self.shape_of(column)).hash(&mut digest);
        digest.shape()
    }

    /// An action id must mean one thing: fixed actions and extension methods are shared by servers, tools and groups stand alone.
    fn collisions(&self, file: &str, findings: &mut Diagnostics) {
        let fixed: AHashSet<&str> = FIXED.iter().map(|(_, action)| *action).collect();
        for column in &self.columns {
            let others = self.by_action.get(&column.action).map_or(0, Vec::len);
            let clash = match column.subject {
                Subject::Tool(_) => others > 1 || fixed.contains(&*column.action),
                Subject::Extension(_) => fixed.contains(&*column.action),
                Subject::Connect | Subject::ResourceRead | Subject::PromptGet | Subject::Complete | Subject::Task => {
                    false
                }
                Subject::Sample | Subject::Elicit | Subject::Roots => false,
            };
            if clash {
                let message = format!("the action `{}` would mean two things", column.action);
                findings.push(
                    Diagnostic::error(file, None, message)
                        .help("rename the server or leave the method out of its extension methods"),
                );
            }
        }
        for group in self.groups.keys().filter(|group| self.by_action.contains_key(*group)) {
            let message = format!("the tool group `{group}` has the name of an action");
            findings.push(Diagnostic::error(file, None, message).help("rename the group"));
        }
    }

    /// The column of a subject on a server; none where the server or the tool does not exist.
    pub fn column(&self, server: ServerIndex, subject: Subject) -> Option<u32> {
        let face = self.faces.get(usize::from(server.0))?;
        let fixed = |offset: u32| Some(face.base + offset);
        let extensions = u32::try_from(face.extensions.len()).ok()?;
        match subject {
            Subject::Connect => fixed(0),
            Subject::ResourceRead => fixed(1),
            Subject::PromptGet => fixed(2),
            Subject::Complete => fixed(3),
            Subject::Task => fixed(4),
            Subject::Sample => fixed(5),
            Subject::Elicit => fixed(6),
            Subject::Roots => fixed(7),
            Subject::Extension(position) => {
                (u32::from(position) < extensions).then(|| face.base + 8 + u32::from(position))
            }
            Subject::Tool(tool) => (tool.0 < face.tools).then(|| face.base + 8 + extensions + tool.0),
        }
    }

    /// The columns whose action has this id, or is a member of this group; none where neither exists.
    pub fn of_action(&self, id: &str) -> Option<(&[u32], &[u32])> {
        let own = self.by_action.get(id);
        let members = self.groups.get(id);
        if own.is_none() && members.is_none() && id != CALL {
            return None;
        }
        Some((own.map_or(&[], Vec::as_slice), members.map_or(&[], Vec::as_slice)))
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> Option<ServerIndex> {
        self.by_name.get(name).copied()
    }

    /// Every action id and every group, for suggestions and for the schema.
    pub fn action_ids(&self) -> impl Iterator<Item = &str> {
        self.by_action.keys().map(|id| &**id)
    }

    /// Every action group; `call` exists even where no tool does.
    pub fn group_ids(&self) -> impl Iterator<Item = &str> {
        let call = (!self.groups.contains_key(CALL)).then_some(CALL);
        self.groups.keys().map(|id| &**id).chain(call)
    }
}

/// Whether the schema declares something at the pointer that can be a text.
fn may_hold_text(input: &Record, pointer: &str) -> bool {
    let mut at = Some(input);
    let mut steps = pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).peekable();
    while let Some(step) = steps.next() {
        let Some(Field { ty, name: _, presence: _ }) = at.and_then(|record| record.field(&step)) else { return false };
        at = match ty {
            Some(Type::Record(inner)) => Some(inner),
            Some(Type::String) | None => return steps.peek().is_none(),
            Some(Type::Long | Type::Bool | Type::Decimal | Type::Set(_)) => return false,
        };
    }
    false
}

fn bad_type(file: &str, tool: &str, (pointer, ty): (&str, &str), error: AssignError) -> Diagnostic {
    match error {
        AssignError::NotAPointer => {
            Diagnostic::error(file, None, format!("`{pointer}` is no argument pointer in the types of tool `{tool}`"))
                .help("a pointer begins with `/`, as in `/amount`")
        }
        AssignError::UnknownType => {
            Diagnostic::error(file, None, format!("unknown type `{ty}` for `{pointer}` of tool `{tool}`"))
                .help("the types are `string`, `integer`, `decimal`, `boolean` and `set of` one of these")
        }
    }
}
