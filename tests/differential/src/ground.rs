//! Lays out what rules are about. In: chance. Out: servers with their tools, agents with their groups, tokens, and every action there is. Never here: rules.

use serde_json::{Value, json};

use crate::calendars::{self, Calendar};
use crate::chance::Chance;
use crate::pools::Pools;
use crate::shape::{self, Field, Presence, Record, Ty};
use crate::statements::Sql;

/// What one world has before its rules.
#[derive(Debug)]
pub struct Ground {
    /// The servers.
    pub servers: Vec<Server>,
    /// The registry.
    pub agents: Vec<Agent>,
    /// Groups that some agent is in.
    pub groups: Vec<String>,
    /// The users that tokens name.
    pub users: Vec<Option<String>>,
    /// The claims that tokens hold.
    pub tokens: Vec<Vec<(String, Claim)>>,
    /// Values that meet.
    pub pools: Pools,
    /// Calendars, sorted by name.
    pub calendars: Vec<Calendar>,
    /// Every action of every server.
    pub columns: Vec<Column>,
}

/// One server.
#[derive(Debug)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its tools.
    pub tools: Vec<Tool>,
    /// Its methods beyond MCP.
    pub extensions: Vec<String>,
}

/// One tool.
#[derive(Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its arguments; a member that got its type from the configuration has it here.
    pub input: Record,
    /// Its groups beside `call`.
    pub groups: Vec<String>,
    /// The path of the argument that names the account.
    pub account: Option<Vec<String>>,
    /// How it takes SQL.
    pub sql: Option<Sql>,
    /// Types that the configuration gives: pointer and name.
    pub types: Vec<(String, &'static str)>,
    /// The element of the live list.
    pub definition: Value,
    /// Whether its live definition changed.
    pub drifted: bool,
}

/// One agent.
#[derive(Debug)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its accounts.
    pub accounts: Vec<String>,
}

/// One claim of a token.
#[derive(Clone, Debug)]
pub enum Claim {
    /// A string.
    Text(String),
    /// A number.
    Number(i64),
    /// A truth value.
    Truth(bool),
    /// A list, which no rule can read.
    List,
    /// Any other shape, which no rule can read.
    Odd,
}

/// What an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of the fixed actions without facts of its own.
    Plain,
    /// `connect`
    Connect,
    /// `resource.read`
    Resource,
    /// `prompt.get`
    Prompt,
    /// `complete`
    Complete,
    /// `task`
    Task,
    /// A method beyond MCP.
    Extension,
    /// A tool, by its position.
    Tool(usize),
}

/// One action on one server.
#[derive(Debug)]
pub struct Column {
    /// The server, by its position.
    pub server: usize,
    /// What it is about.
    pub kind: Kind,
    /// The action's id.
    pub action: String,
    /// The groups it is in.
    pub groups: Vec<String>,
}

const FIXED: [(&str, Kind); 8] = [
    ("connect", Kind::Connect),
    ("resource.read", Kind::Resource),
    ("prompt.get", Kind::Prompt),
    ("complete", Kind::Complete),
    ("task", Kind::Task),
    ("upstream.sample", Kind::Plain),
    ("upstream.elicit", Kind::Plain),
    ("upstream.roots", Kind::Plain),
];

/// The names of claims.
pub const CLAIMS: [&str; 4] = ["level", "dept", "c1", "a b"];

impl Ground {
    /// A ground by chance.
    pub fn new(chance: &mut Chance) -> Self {
        let pools = Pools::new(chance);
        let shared = shared(chance);
        let names = chance.some(&["crm", "pg", "s \"q\""], 1, 2);
        let servers: Vec<Server> = names.into_iter().map(|name| server(name, &shared, chance)).collect();
        let agents = agents(&pools, chance);
        let mut groups: Vec<String> = agents.iter().flat_map(|agent| agent.groups.iter().cloned()).collect();
        groups.sort();
        groups.dedup();
        let user = chance.pick(&pools.texts).clone();
        let tokens = (0..3).map(|_| token(&pools, chance)).collect();
        let columns = columns(&servers);
        let users = vec![None, Some("eve".to_owned()), Some(user)];
        Self { servers, agents, groups, users, tokens, pools, calendars: calendars::some(chance), columns }
    }

    /// The column of a kind on a server.
    pub fn column(&self, server: usize, wanted: impl Fn(&Column) -> bool) -> Option<usize> {
        self.columns.iter().position(|column| column.server == server && wanted(column))
    }

    /// The tool of a column.
    pub fn tool(&self, column: usize) -> Option<&Tool> {
        match self.columns[column].kind {
            Kind::Tool(tool) => Some(&self.servers[self.columns[column].server].tools[tool]),
            _ => None,
        }
    }
}

/// Arguments that several tools have, with one type each, so that a rule can read them on all.
fn shared(chance: &mut Chance) -> Vec<(String, Option<Ty>)> {
    let names = chance.some(&shape::NAMES, 4, 8).into_iter();
    names.map(|name| (name.to_owned(), (!chance.percent(6)).then(|| shape::ty(chance, 2)))).collect()
}

fn server(name: &str, shared: &[(String, Option<Ty>)], chance: &mut Chance) -> Server {
    let tools = chance.some(&["read", "write", "run_sql", "überweisen", "x\", y"], 1, 4).into_iter();
    let extensions = chance.some(&["skills/list", "ext.do"], 0, 1).into_iter().map(String::from).collect();
    Server { name: name.to_owned(), tools: tools.map(|name| tool(name, shared, chance)).collect(), extensions }
}

fn tool(name: &str, shared: &[(String, Option<Ty>)], chance: &mut Chance) -> Tool {
    let mut fields: Vec<Field> = Vec::new();
    for (name, ty) in chance.some(shared, 0, 6) {
        fields.push(Field { name, presence: shape::presence(chance, ty.as_ref()), ty });
    }
    if chance.percent(30) {
        let ty = shape::ty(chance, 1);
        fields.push(Field {
            name: format!("own_{}", name.len()),
            presence: shape::presence(chance, Some(&ty)),
            ty: Some(ty),
        });
    }
    if chance.percent(4) {
        // Go's decoder takes one for the other.
        fields.push(Field { name: "Table".to_owned(), ty: Some(Ty::Text), presence: Presence::Optional });
    }
    let takes_sql = chance.percent(40);
    if takes_sql && chance.percent(75) {
        let presence = shape::presence(chance, Some(&Ty::Text));
        fields.push(Field { name: "sql".to_owned(), ty: Some(Ty::Text), presence });
    }
    let mut input = Record { fields, closed: chance.percent(15) };
    let mut schema = input.schema(chance);
    schema["$defs"] = shape::definitions();
    let mut types = Vec::new();
    for field in input.fields.iter_mut().filter(|field| field.ty.is_none()) {
        let (name, ty) = match chance.below(6) {
            0 => ("string", Ty::Text),
            1 => ("integer", Ty::Long),
            2 => ("boolean", Ty::Bool),
            3 => ("decimal", Ty::Decimal),
            4 => ("set of string", Ty::Set(Box::new(Ty::Text))),
            _ => continue,
        };
        types.push((pointer(std::slice::from_ref(&field.name)), name));
        field.ty = Some(ty);
    }
    let definition = match (input.fields.is_empty() && !input.closed, chance.percent(50)) {
        (true, true) => json!({"name": name, "description": "does something"}),
        _ => json!({"name": name, "description": "does something", "inputSchema": schema}),
    };
    let account = account(&input, chance);
    let mut texts = if takes_sql { texts(&input, &[]) } else { Vec::new() };
    let sql = (!texts.is_empty()).then(|| Sql::new(texts.swap_remove(chance.below(texts.len())), chance));
    let groups = chance.some(&["customerTools", "risky \u{1F4A3}"], 0, 2).into_iter().map(String::from).collect();
    Tool { name: name.to_owned(), input, groups, account, sql, types, definition, drifted: chance.percent(2) }
}

/// The paths of all arguments that are texts.
fn texts(input: &Record, upto: &[String]) -> Vec<Vec<String>> {
    let below = input.fields.iter().flat_map(|field| {
        let path: Vec<String> = upto.iter().chain([&field.name]).cloned().collect();
        match &field.ty {
            Some(Ty::Text) => vec![path],
            Some(Ty::Record(inner)) => texts(inner, &path),
            Some(Ty::Long | Ty::Bool | Ty::Decimal | Ty::Set(_)) | None => Vec::new(),
        }
    });
    below.collect()
}

/// Any argument may name the account, declared or not.
fn account(input: &Record, chance: &mut Chance) -> Option<Vec<String>> {
    match chance.below(10) {
        0 => Some(vec!["customer_id".to_owned()]),
        1 | 2 if !input.fields.is_empty() => {
            let field = chance.pick(&input.fields);
            match &field.ty {
                Some(Ty::Record(inner)) => Some(vec![field.name.clone(), chance.pick(&inner.fields).name.clone()]),
                _ => Some(vec![field.name.clone()]),
            }
        }
        _ => None,
    }
}

/// The JSON pointer (RFC 6901) of a path.
pub fn pointer(path: &[String]) -> String {
    path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
}

fn agents(pools: &Pools, chance: &mut Chance) -> Vec<Agent> {
    let ids = chance.some(&["ann", "bob", "cat", "spiffe://x/agent/dan", "e\"v\\e", "ßö"], 3, 6);
    let make = |id: &str, chance: &mut Chance| Agent {
        id: id.to_owned(),
        groups: chance.some(&["support", "finance", "g \u{1F600}"], 0, 3).into_iter().map(String::from).collect(),
        accounts: chance.some(&pools.texts, 0, 3),
    };
    ids.into_iter().map(|id| make(id, chance)).collect()
}

fn token(pools: &Pools, chance: &mut Chance) -> Vec<(String, Claim)> {
    let names = chance.some(&CLAIMS, 0, 4).into_iter();
    let claim = |chance: &mut Chance| match chance.below(20) {
        0 => Claim::List,
        1 => Claim::Odd,
        2..=4 => Claim::Number(*chance.pick(&[42, 1, -1, i64::MAX])),
        5 | 6 => Claim::Truth(chance.percent(60)),
        _ => Claim::Text(chance.pick(&pools.texts).clone()),
    };
    names.map(|name| (name.to_owned(), claim(chance))).collect()
}

fn columns(servers: &[Server]) -> Vec<Column> {
    let mut all = Vec::new();
    for (position, server) in servers.iter().enumerate() {
        let mut add = |action: String, kind, groups| all.push(Column { server: position, kind, action, groups });
        for (action, kind) in FIXED {
            add(action.to_owned(), kind, Vec::new());
        }
        for method in &server.extensions {
            add(method.clone(), Kind::Extension, Vec::new());
        }
        for (index, tool) in server.tools.iter().enumerate() {
            let groups = ["call".to_owned()].into_iter().chain(tool.groups.iter().cloned()).collect();
            add(format!("{}.{}", server.name, tool.name), Kind::Tool(index), groups);
        }
    }
    all
}
